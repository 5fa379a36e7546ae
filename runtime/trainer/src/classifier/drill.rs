//! A drill: a site that is slow, or sends what it did not learn, to see how a job takes it. Only the site itself can order
//! one, by a file `drill.json` in the folder of its own data set; no job and no server can.
//!
//! ```json
//! {"delay_ms": 500, "attack": "sign_flip", "factor": 10}
//! ```
//!
//! `delay_ms`: training takes so much longer. `attack`: what becomes of the change Δ of the weights, with `factor` F (1):
//! `sign_flip` −FΔ, `scale` FΔ, `noise` normal numbers of F times the root mean square of Δ in its place.
//! What the site reports beside it stays true.

use super::network::Network;
use crate::TaskError;
use crate::dataset::{DRILL, DatasetError};
use nsfl_optimizer::Noise;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// What the site's file says, and the weights that training begins with.
#[derive(Debug)]
pub(super) struct Drill {
    orders: Orders,
    global: Vec<f32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Orders {
    #[serde(default)]
    delay_ms: u64,
    attack: Option<Attack>,
    #[serde(default = "one")]
    factor: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Attack {
    SignFlip,
    Scale,
    Noise,
}

fn one() -> f64 {
    1.0
}

impl Drill {
    /// That of the data set at this path, if there is one.
    pub(super) fn of(dataset: &Path, network: &Network) -> Result<Option<Self>, TaskError> {
        let path = dataset.join(DRILL);
        if !path.is_file() {
            return Ok(None);
        }
        let bad = |problem: String| DatasetError::new(path.display(), problem);
        let text = std::fs::read(&path).map_err(|e| bad(e.to_string()))?;
        let orders: Orders = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
        if !(orders.factor.is_finite() && orders.factor >= 0.0) {
            return Err(bad("factor: must be a finite number ≥ 0".to_owned()).into());
        }
        Ok(Some(Self { orders, global: network.weights()? }))
    }

    /// Waits, and puts into the network what the site is to send.
    #[allow(clippy::cast_possible_truncation, reason = "rounded to the precision of weights")]
    pub(super) fn disturb(self, network: &Network, seed: u64) -> Result<(), TaskError> {
        let Orders { delay_ms, attack, factor } = self.orders;
        std::thread::sleep(Duration::from_millis(delay_ms));
        let Some(attack) = attack else { return Ok(()) };
        let mut change = network.weights()?;
        change.iter_mut().zip(&self.global).for_each(|(y, x)| *y -= x);
        match attack {
            Attack::SignFlip => change.iter_mut().for_each(|d| *d *= -factor as f32),
            Attack::Scale => change.iter_mut().for_each(|d| *d *= factor as f32),
            Attack::Noise => {
                let deviation = factor * root_mean_square(&change);
                let mut key = [0; 32];
                key[..8].copy_from_slice(&seed.to_le_bytes());
                change.fill(0.0);
                Noise::new(key).add(deviation, &mut change);
            }
        }
        change.iter_mut().zip(&self.global).for_each(|(d, x)| *d += x);
        Ok(network.set(&change)?)
    }
}

#[allow(clippy::cast_precision_loss, reason = "a number of weights")]
fn root_mean_square(values: &[f32]) -> f64 {
    let squares: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
    (squares / values.len() as f64).sqrt()
}
