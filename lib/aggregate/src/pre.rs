//! Pre-aggregators: what is done to the members' updates before a rule sees them. Each is a [`Mix`], so that several in a
//! row cost the coordinates nothing, and the geometry of the new vectors follows from that of the old.

use crate::mix::Mix;
use crate::robust::at_least;
use crate::{AggregateError, Geometry, Pass};
use nsfl_types::seed_for;

/// A pre-aggregator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pre {
    /// Means of buckets of s members drawn by the round's seed (Karimireddy et al. 2022, arXiv 2006.09365). Default: s 2.
    Bucketing {
        /// Members of a bucket; the last may have fewer.
        s: usize,
    },
    /// Nearest-neighbour mixing: each update becomes the mean of the n − f nearest to it, itself among them (Allouah et al.
    /// 2023, arXiv 2302.01772). n ≥ 2f + 1.
    Mixing {
        /// How many members may be Byzantine.
        f: usize,
    },
    /// Adaptive robust clipping: the ⌊2f(n − f)/n⌋ longest updates are clipped to the norm of the next (Allouah et al. 2025,
    /// arXiv 2405.14432). n ≥ 2f + 1.
    Adaptive {
        /// How many members may be Byzantine.
        f: usize,
    },
    /// Each update is clipped to this norm.
    Clipping {
        /// The longest norm that stays as it is.
        max_norm: f64,
    },
}

impl Pre {
    /// Its name in a job document.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bucketing { .. } => "bucketing",
            Self::Mixing { .. } => "nnm",
            Self::Adaptive { .. } => "arc",
            Self::Clipping { .. } => "clipping",
        }
    }

    pub(crate) fn pass(&self) -> Pass {
        match self {
            Self::Bucketing { .. } => Pass::None,
            Self::Mixing { .. } => Pass::Products,
            Self::Adaptive { .. } | Self::Clipping { .. } => Pass::Norms,
        }
    }

    /// Whether its vectors are no longer those of single members.
    pub(crate) fn mixes(&self) -> bool {
        matches!(self, Self::Bucketing { .. } | Self::Mixing { .. })
    }

    /// How many vectors come out of so many.
    pub(crate) fn vectors(&self, members: usize) -> Result<usize, AggregateError> {
        match self {
            Self::Bucketing { s } => Ok(members.div_ceil(*s)),
            Self::Mixing { f } | Self::Adaptive { f } => {
                at_least(self.name(), 2 * f + 1, members, || format!("n ≥ 2f + 1 with f = {f}"))?;
                Ok(members)
            }
            Self::Clipping { .. } => Ok(members),
        }
    }

    /// What becomes of `n` vectors.
    pub(crate) fn mix(&self, n: usize, geometry: Option<&Geometry>, seed: u64) -> Result<Mix, AggregateError> {
        let seen = || geometry.ok_or(AggregateError::Mismatch("the rule was planned without the survey it asks for"));
        Ok(match self {
            Self::Bucketing { s } => Mix::means(n, shuffled(n, seed).chunks(*s).map(<[usize]>::to_vec)),
            Self::Mixing { f } => {
                let geometry = seen()?;
                Mix::means(n, (0..n).map(|member| nearest(geometry, member, n, n - f)))
            }
            Self::Adaptive { f } => {
                let lengths = lengths(seen()?, n);
                let mut sorted = lengths.clone();
                sorted.sort_by(|a, b| b.total_cmp(a));
                let clipped = 2 * f * (n - f) / n;
                Mix::scaled(lengths.iter().map(|length| shrink(*length, sorted[clipped.min(n - 1)])))
            }
            Self::Clipping { max_norm } => {
                let geometry = seen()?;
                Mix::scaled(lengths(geometry, n).iter().map(|length| shrink(*length, max_norm / geometry.unit())))
            }
        })
    }
}

/// Norms in units.
fn lengths(geometry: &Geometry, n: usize) -> Vec<f64> {
    (0..n).map(|i| geometry.product(i, i).sqrt()).collect()
}

/// The factor that brings a length to the most it may be.
fn shrink(length: f64, most: f64) -> f64 {
    if length > most { most / length } else { 1.0 }
}

/// The `count` vectors nearest to one, itself first; equal distances in order.
fn nearest(geometry: &Geometry, member: usize, n: usize, count: usize) -> Vec<usize> {
    let key = |other: usize| if other == member { -1.0 } else { geometry.squared_distance(member, other) };
    let mut others: Vec<(f64, usize)> = (0..n).map(|other| (key(other), other)).collect();
    others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut nearest: Vec<usize> = others[..count].iter().map(|(_, other)| *other).collect();
    nearest.sort_unstable();
    nearest
}

/// 0 to n − 1 in an order drawn from the seed.
fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut drawn: Vec<(u64, usize)> = (0..n).map(|i| (seed_for(seed, &["bucketing", &i.to_string()]), i)).collect();
    drawn.sort_unstable();
    drawn.into_iter().map(|(_, i)| i).collect()
}

/// What several in a row make of `n` members: the mix, `None` when there are none, and the geometry behind it.
pub(crate) fn chain(
    stages: &[Pre],
    members: usize,
    geometry: Option<&Geometry>,
    seed: u64,
) -> Result<(Option<Mix>, Option<Geometry>), AggregateError> {
    let (mut whole, mut n, mut geometry): (Option<Mix>, usize, Option<Geometry>) = (None, members, geometry.cloned());
    for (i, stage) in stages.iter().enumerate() {
        let mix = stage.mix(n, geometry.as_ref(), seed.wrapping_add(stage_seed(i)))?;
        n = stage.vectors(n)?;
        geometry = geometry.map(|geometry| geometry.mixed(&mix));
        whole = Some(whole.map_or_else(|| mix.clone(), |first| mix.after(&first)));
    }
    Ok((whole, geometry))
}

/// Two stages of one round do not draw alike.
fn stage_seed(stage: usize) -> u64 {
    (stage as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors on a line.
    fn line(at: &[f64]) -> Geometry {
        let products = at.iter().flat_map(|a| at.iter().map(move |b| a * b)).collect();
        Geometry::new(at.len(), products, 1.0)
    }

    #[test]
    fn mixing_takes_the_nearest_and_leaves_the_far_one_out() {
        let mix = Pre::Mixing { f: 1 }.mix(4, Some(&line(&[1.0, 2.0, 3.0, 100.0])), 0).unwrap();
        let third = 1.0 / 3.0;
        assert_eq!(mix.row(0), [(0, third), (1, third), (2, third)]);
        assert_eq!(mix.row(3), [(1, third), (2, third), (3, third)]);
    }

    #[test]
    fn adaptive_clipping_brings_the_longest_to_the_norm_of_the_next() {
        // ⌊2·1·4/5⌋ = 1 is clipped
        let mix = Pre::Adaptive { f: 1 }.mix(5, Some(&line(&[1.0, -2.0, 3.0, -4.0, 100.0])), 0).unwrap();
        let factors: Vec<f64> = (0..5).map(|i| mix.row(i)[0].1).collect();
        assert_eq!(factors, [1.0, 1.0, 1.0, 1.0, 0.04]);
        let none = Pre::Adaptive { f: 0 }.mix(2, Some(&line(&[0.0, 0.0])), 0).unwrap();
        assert_eq!(none, Mix::scaled([1.0, 1.0]));
    }

    #[test]
    fn buckets_hold_every_member_once_and_are_drawn_by_the_seed() {
        let mix = |seed| Pre::Bucketing { s: 2 }.mix(7, None, seed).unwrap();
        assert_eq!(mix(1).outputs(), 4);
        assert_eq!(mix(1), mix(1));
        assert!((2..20).any(|seed| mix(seed) != mix(1)));
        let mut members: Vec<usize> =
            (0..4).flat_map(|i| mix(1).row(i).iter().map(|(m, _)| *m).collect::<Vec<_>>()).collect();
        members.sort_unstable();
        assert_eq!(members, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn clipping_shortens_the_long_and_leaves_the_short() {
        let mix = Pre::Clipping { max_norm: 2.0 }.mix(2, Some(&line(&[1.0, 8.0])), 0).unwrap();
        assert_eq!(mix, Mix::scaled([1.0, 0.25]));
    }
}
