//! The module's named tensors, parameters and buffers alike, and their safetensors files.

use crate::error::TorchError;
use crate::module::Module;
use nsfl_tensor::{DType, Layout, WeightsView};
use nsfl_trainer::TaskError;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use tch::{Kind, Tensor};

/// Names of SCAFFOLD's global control variate, beside the model's own.
pub(crate) const CONTROL: &str = "scaffold.c/";

/// The tensors share memory with the module: what is copied into them, it computes with.
pub(crate) struct State {
    layout: Layout,
    tensors: BTreeMap<String, Tensor>,
    /// Those that are trained, in the order of their names.
    trainable: Vec<String>,
}

impl State {
    pub(crate) fn of(module: &Module, path: &Path) -> Result<Self, TorchError> {
        let parameters = module.parameters()?;
        let mut trainable: Vec<_> =
            parameters.iter().filter(|(_, t)| t.requires_grad()).map(|(name, _)| name.clone()).collect();
        trainable.sort_unstable();
        let tensors: BTreeMap<_, _> = parameters.into_iter().chain(module.buffers()?).collect();
        if tensors.is_empty() {
            let problem = "has no parameters: save it as torch.jit.script gives it, not frozen".to_owned();
            return Err(TorchError::Module { path: path.to_owned(), problem });
        }
        let layout = layout(&tensors).map_err(|problem| TorchError::Module { path: path.to_owned(), problem })?;
        Ok(Self { layout, tensors, trainable })
    }

    pub(crate) fn trainable(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.trainable.iter().map(|name| (name.as_str(), &self.tensors[name]))
    }

    /// The type of the module's numbers: that of its first float tensor.
    pub(crate) fn float(&self) -> Kind {
        let kinds = self.tensors.values().map(Tensor::kind);
        kinds
            .into_iter()
            .find(|k| matches!(k, Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double))
            .unwrap_or(Kind::Float)
    }

    /// Copies a file's weights into the module; gives the control tensors that lie beside them, under the names of
    /// the tensors they belong to.
    pub(crate) fn read(&self, path: &Path) -> Result<BTreeMap<String, Tensor>, TorchError> {
        let unfit = |source| TaskError::Weights { path: path.to_owned(), source };
        let bytes = bytes(path)?;
        let view = WeightsView::parse(&bytes).map_err(unfit)?;
        let own = view.layout().tensors().iter().filter(|t| !t.name.starts_with(CONTROL));
        let own = Layout::new(own.map(|t| (t.name.clone(), t.dtype, t.shape.clone()))).map_err(unfit)?;
        self.layout.check_same(&own).map_err(unfit)?;
        let mut controls = BTreeMap::new();
        for (i, spec) in view.layout().tensors().iter().enumerate() {
            let value = tensor(&view, i)?;
            if let Some(bare) = spec.name.strip_prefix(CONTROL) {
                controls.insert(bare.to_owned(), value);
            } else {
                tch::no_grad(|| self.tensors[&spec.name].shallow_clone().f_copy_(&value))?;
            }
        }
        Ok(controls)
    }

    /// Writes the module's tensors, and `more`, whole or not at all.
    pub(crate) fn write(&self, path: &Path, more: BTreeMap<String, Tensor>) -> Result<(), TorchError> {
        let own = self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        write(path, &own.chain(more).collect())
    }
}

/// The tensors of a safetensors file.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, TorchError> {
    let bytes = bytes(path)?;
    let view = WeightsView::parse(&bytes).map_err(|source| TaskError::Weights { path: path.to_owned(), source })?;
    tensors(&view)
}

fn bytes(path: &Path) -> Result<Vec<u8>, TaskError> {
    std::fs::read(path).map_err(|source| TaskError::File { path: path.to_owned(), action: "read", source })
}

/// Copies of a file's tensors.
pub(crate) fn tensors(view: &WeightsView<'_>) -> Result<BTreeMap<String, Tensor>, TorchError> {
    let specs = view.layout().tensors().iter().enumerate();
    specs.map(|(i, spec)| Ok((spec.name.clone(), tensor(view, i)?))).collect()
}

fn tensor(view: &WeightsView<'_>, index: usize) -> Result<Tensor, TorchError> {
    let spec = &view.layout().tensors()[index];
    let Some((_, kind)) = KINDS.iter().find(|(dtype, _)| *dtype == spec.dtype) else {
        let problem = format!("tensor '{}' has the data type {}, which libtorch lacks", spec.name, spec.dtype);
        return Err(TorchError::Computation(problem));
    };
    let shape: Vec<i64> = spec.shape.iter().map(|n| i64::try_from(*n).unwrap_or(i64::MAX)).collect();
    Ok(Tensor::f_from_data_size(view.tensor(index), &shape, *kind)?)
}

/// Writes a safetensors file beside its place, then renames it.
pub(crate) fn write(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), TorchError> {
    let layout = layout(tensors).map_err(TorchError::Computation)?;
    let failed = |source| TaskError::File { path: path.to_owned(), action: "written", source };
    let partial = path.with_extension("partial");
    let mut file = BufWriter::with_capacity(256 * 1024, File::create(&partial).map_err(failed)?);
    file.write_all(&layout.header_bytes()).map_err(failed)?;
    for spec in layout.tensors() {
        let tensor = tensors[&spec.name].f_detach()?.f_to(tch::Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0; spec.range.len()];
        tensor.f_copy_data_u8(&mut bytes, spec.elements())?;
        file.write_all(&bytes).map_err(failed)?;
    }
    file.flush().and_then(|()| std::fs::rename(&partial, path)).map_err(failed)?;
    Ok(())
}

const KINDS: [(DType, Kind); 10] = [
    (DType::Bool, Kind::Bool),
    (DType::U8, Kind::Uint8),
    (DType::I8, Kind::Int8),
    (DType::I16, Kind::Int16),
    (DType::F16, Kind::Half),
    (DType::Bf16, Kind::BFloat16),
    (DType::I32, Kind::Int),
    (DType::F32, Kind::Float),
    (DType::F64, Kind::Double),
    (DType::I64, Kind::Int64),
];

/// Names, types and shapes; the problem names the tensor.
fn layout(tensors: &BTreeMap<String, Tensor>) -> Result<Layout, String> {
    let mut items = Vec::new();
    for (name, tensor) in tensors {
        let kind = tensor.kind();
        let Some((dtype, _)) = KINDS.iter().find(|(_, k)| *k == kind) else {
            return Err(format!("has a tensor '{name}' of type {kind:?}, which weights files do not carry"));
        };
        let shape = tensor.size().into_iter().map(|n| usize::try_from(n).unwrap_or(0));
        items.push((name.clone(), *dtype, shape.collect()));
    }
    Layout::new(items).map_err(|e| e.to_string())
}
