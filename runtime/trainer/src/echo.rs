//! A trainer that does not learn: weights of any size, and noise added to them. For measuring the platform.

use crate::rng::Rng;
use crate::{TaskError, TrainerTask, Work, weights};
use nsfl_tensor::{DType, Layout, WeightsView};
use nsfl_types::Metrics;
use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// Size of the initial weights, in 10^6 bytes.
    #[serde(default = "ten")]
    size_mb: f64,
    /// Standard deviation of what training adds to each weight (uniform, mean 0).
    #[serde(default = "thousandth")]
    noise: f32,
    /// The sample count to report: from 1 to 1000 by the seed when not given.
    sample_num: Option<u32>,
    #[serde(rename = "seed")]
    _seed: Option<IgnoredAny>,
}

fn ten() -> f64 {
    10.0
}

fn thousandth() -> f32 {
    1e-3
}

/// Elements of one tensor at most.
const TENSOR: usize = 4_000_000;
/// Initial weights are uniform in ± this.
const INITIAL: f32 = 0.05;
const MAX_SIZE_MB: f64 = 100_000.0;

pub(crate) fn run(task: &TrainerTask) -> Result<Metrics, TaskError> {
    let parameters: Parameters = crate::parameters(task)?;
    if task.optimizer.is_some() {
        return Err(TaskError::BadParameters("optimizer: echo does not train".to_owned()));
    }
    if !(parameters.size_mb > 0.0 && parameters.size_mb <= MAX_SIZE_MB) {
        let problem = format!("parameters.size_mb: must be above 0 and at most {MAX_SIZE_MB}");
        return Err(TaskError::BadParameters(problem));
    }
    if !(parameters.noise.is_finite() && parameters.noise >= 0.0) {
        return Err(TaskError::BadParameters("parameters.noise: must be a finite number ≥ 0".to_owned()));
    }
    let mut rng = Rng::new(task.seed);
    match &task.work {
        Work::Init { out_weights } => {
            weights::write(out_weights, &layout(parameters.size_mb)?, |block| fill(&mut rng, block))?;
            return Ok(Metrics::default());
        }
        Work::Train { base, out_weights } => {
            let mut bytes = weights::read(base)?;
            let view =
                WeightsView::parse(&bytes).map_err(|source| TaskError::Weights { path: base.clone(), source })?;
            let floats = view.layout().tensors().iter().enumerate().filter(|(_, t)| t.dtype == DType::F32);
            let ranges: Vec<_> = floats.map(|(i, t)| view.start(i)..view.start(i) + t.range.len()).collect();
            ranges.into_iter().for_each(|range| disturb(&mut rng, parameters.noise, &mut bytes[range]));
            std::fs::write(out_weights, &bytes).map_err(|source| TaskError::File {
                path: out_weights.clone(),
                action: "written",
                source,
            })?;
        }
        Work::Evaluate { base } => {
            let bytes = weights::read(base)?;
            WeightsView::parse(&bytes).map_err(|source| TaskError::Weights { path: base.clone(), source })?;
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "at most 1000")]
    let samples = parameters.sample_num.map_or_else(|| Rng::new(!task.seed).below(1000) as f64 + 1.0, f64::from);
    Ok(Metrics([("sample_num".to_owned(), samples)].into()))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the size was checked")]
fn layout(size_mb: f64) -> Result<Layout, TaskError> {
    let elements = ((size_mb * 1e6 / 4.0).round() as usize).max(1);
    let lengths = (0..elements).step_by(TENSOR).map(|start| TENSOR.min(elements - start));
    let tensors = lengths.enumerate().map(|(i, n)| (format!("echo.{i:05}"), DType::F32, vec![n]));
    Layout::new(tensors).map_err(|e| TaskError::BadParameters(e.to_string()))
}

fn fill(rng: &mut Rng, block: &mut [f32]) {
    for pair in block.chunks_mut(2) {
        pair.copy_from_slice(&rng.uniform_pair(INITIAL)[..pair.len()]);
    }
}

fn disturb(rng: &mut Rng, std_dev: f32, bytes: &mut [u8]) {
    let half_width = std_dev * 3.0_f32.sqrt();
    for pair in bytes.as_chunks_mut::<4>().0.chunks_mut(2) {
        for (value, noise) in pair.iter_mut().zip(rng.uniform_pair(half_width)) {
            *value = (f32::from_le_bytes(*value) + noise).to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn task(dir: &Path, work: Work, seed: u64, parameters: &str) -> TrainerTask {
        TrainerTask {
            work,
            task_entry: "echo".into(),
            parameters: serde_json::from_str(parameters).unwrap(),
            optimizer: None,
            gpu: false,
            seed,
            datasets: [].into(),
            result: dir.join("result.json"),
        }
    }

    #[test]
    fn training_adds_seeded_noise_of_the_given_deviation() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        run(&task(dir.path(), Work::Init { out_weights: path("base") }, 1, r#"{"size_mb": 17}"#)).unwrap();
        let train = |seed, out: &str| {
            let work = Work::Train { base: path("base"), out_weights: path(out) };
            run(&task(dir.path(), work, seed, r#"{"noise": 0.01, "size_mb": 17}"#)).unwrap()
        };
        assert_eq!(train(2, "a"), train(2, "b"));
        train(3, "c");
        let read = |name: &str| std::fs::read(path(name)).unwrap();
        let (base, a) = (read("base"), read("a"));
        assert!(a == read("b") && a != read("c"));
        let (base, a) = (WeightsView::parse(&base).unwrap(), WeightsView::parse(&a).unwrap());
        assert_eq!(
            base.layout().tensors().iter().map(nsfl_tensor::TensorSpec::elements).collect::<Vec<_>>(),
            [4_000_000, 250_000]
        );
        let floats = |view: &WeightsView<'_>| -> Vec<f32> {
            view.tensor(1).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        };
        let squares: f32 = floats(&a).iter().zip(floats(&base)).map(|(a, b)| (a - b) * (a - b)).sum();
        assert!(((squares / 250_000.0).sqrt() - 0.01).abs() < 1e-4);
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_the_list_of_known_ones() {
        let dir = tempfile::tempdir().unwrap();
        let work = Work::Init { out_weights: dir.path().join("w") };
        let e = run(&task(dir.path(), work.clone(), 1, r#"{"size": 1}"#)).unwrap_err();
        assert_eq!(
            e.to_string(),
            "parameters.size: unknown field `size`, expected one of `size_mb`, `noise`, `sample_num`, `seed`"
        );
        let e = run(&task(dir.path(), work, 1, r#"{"size_mb": -1}"#)).unwrap_err();
        assert_eq!(e.code(), nsfl_types::Code::BadDocument);
    }
}
