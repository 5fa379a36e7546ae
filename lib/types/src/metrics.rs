//! Numbers a trainer reports beside its weights.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Metric name to value. Known names: `sample_num`, `spend_time` (s), `loss`, `accuracy`, `precision`, `recall_rate`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metrics(pub BTreeMap<String, f64>);

impl Metrics {
    /// The value of a metric, if it was reported.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// The weight of an update in averaging: `sample_num`, or 1 when it was not reported.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.get("sample_num").unwrap_or(1.0)
    }

    /// Mean of each metric over `items`, weighted by `weight()`; `sample_num` is summed.
    /// A metric that only some report is averaged over those. Sums run in the order given.
    #[must_use]
    pub fn weighted_mean<'a>(items: impl IntoIterator<Item = &'a Metrics>) -> Metrics {
        let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for item in items {
            let weight = item.weight();
            for (name, value) in &item.0 {
                let (sum, total) = sums.entry(name).or_default();
                if name == "sample_num" {
                    (*sum, *total) = (*sum + value, 1.0);
                } else {
                    (*sum, *total) = (*sum + weight * value, *total + weight);
                }
            }
        }
        Metrics(sums.into_iter().filter(|(_, (_, t))| *t > 0.0).map(|(n, (s, t))| (n.to_owned(), s / t)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_weighted_by_sample_count() {
        let m = |n: f64, a: f64| Metrics([("sample_num".into(), n), ("accuracy".into(), a)].into());
        let mean = Metrics::weighted_mean([&m(30.0, 0.5), &m(10.0, 0.9)]);
        assert_eq!(mean.get("sample_num"), Some(40.0));
        assert!((mean.get("accuracy").unwrap() - 0.6).abs() < 1e-12);
    }
}
