//! Runs the program as the daemon does, and reads and writes its files.
#![allow(dead_code, reason = "each test file uses a part")]

use nsfl_tensor::{DType, Layout, WeightsView};
use nsfl_trainer::{TrainerCommand, TrainerError, TrainerTask, Work, spawn};
use nsfl_types::Metrics;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Tensors of F32: shape and values.
pub(crate) type Floats = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A task's folder, and what its tasks have in common.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) task: TrainerTask,
}

impl Bench {
    /// With one of the modules beside the tests.
    pub(crate) fn new(module: &str, parameters: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let entry = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modules").join(module);
        let task = TrainerTask {
            work: Work::Init { out_weights: "base.safetensors".into() },
            task_entry: entry.to_str().unwrap().to_owned(),
            parameters: serde_json::from_str(parameters).unwrap(),
            optimizer: None,
            gpu: false,
            seed: 1,
            datasets: [("data".to_owned(), dir.path().join("data"))].into(),
            result: "result.json".into(),
        };
        Self { dir, task }
    }

    /// Also writes its initial weights to `base.safetensors`.
    pub(crate) fn begun(module: &str, parameters: &str) -> Self {
        let mut bench = Self::new(module, parameters);
        bench.run(Work::Init { out_weights: "base.safetensors".into() }).unwrap();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn set(&mut self, parameter: &str, value: impl Into<serde_json::Value>) -> &mut Self {
        self.task.parameters.insert(parameter.to_owned(), value.into());
        self
    }

    pub(crate) fn optimizer(&mut self, object: &str) -> &mut Self {
        self.task.optimizer = Some(serde_json::from_str(object).unwrap());
        self
    }

    pub(crate) fn data(&mut self, name: &str) -> PathBuf {
        let path = self.path(name);
        self.task.datasets = [("data".to_owned(), path.clone())].into();
        path
    }

    pub(crate) fn run(&mut self, work: Work) -> Result<Metrics, TrainerError> {
        self.task.work = work;
        let command = TrainerCommand { program: env!("CARGO_BIN_EXE_nsfl-trainer-torch").into(), args: vec![] };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut child = spawn(&command, self.dir.path(), &self.task, Duration::from_secs(600))?;
            child.wait().await.map(|result| result.metrics)
        })
    }

    /// Trains `base.safetensors`; the weights go to `out`.
    pub(crate) fn train(&mut self, out: &str) -> Result<Metrics, TrainerError> {
        self.run(Work::Train { base: "base.safetensors".into(), out_weights: out.into() })
    }

    pub(crate) fn evaluate(&mut self, base: &str) -> Result<Metrics, TrainerError> {
        self.run(Work::Evaluate { base: base.into() })
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn floats(&self, name: &str) -> Floats {
        let bytes = self.bytes(name);
        let view = WeightsView::parse(&bytes).unwrap();
        let tensor = |(i, spec): (usize, &nsfl_tensor::TensorSpec)| {
            let values = view.tensor(i).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            (spec.dtype == DType::F32).then(|| (spec.name.clone(), (spec.shape.clone(), values)))
        };
        view.layout().tensors().iter().enumerate().filter_map(tensor).collect()
    }

    pub(crate) fn write(&self, name: &str, tensors: &Floats) {
        let bytes = |(name, (shape, values)): (&String, &(Vec<usize>, Vec<f32>))| {
            (name.clone(), DType::F32, shape.clone(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
        };
        self.write_any(name, tensors.iter().map(bytes).collect());
    }

    pub(crate) fn write_any(&self, name: &str, tensors: Vec<(String, DType, Vec<usize>, Vec<u8>)>) {
        let layout = Layout::new(tensors.iter().map(|t| (t.0.clone(), t.1, t.2.clone()))).unwrap();
        let mut file = layout.header_bytes();
        for spec in layout.tensors() {
            file.extend_from_slice(&tensors.iter().find(|t| t.0 == spec.name).unwrap().3);
        }
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
}
