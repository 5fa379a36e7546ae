//! Vectors made from others by fixed coefficients: what every pre-aggregator comes down to.

/// A sparse matrix: a row for each new vector, of (old vector, coefficient).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mix {
    inputs: usize,
    rows: Vec<Vec<(usize, f64)>>,
}

impl Mix {
    #[cfg(test)]
    pub(crate) fn new(inputs: usize, rows: Vec<Vec<(usize, f64)>>) -> Self {
        Self { inputs, rows }
    }

    /// Each vector times a factor of its own.
    pub(crate) fn scaled(factors: impl IntoIterator<Item = f64>) -> Self {
        let rows: Vec<_> = factors.into_iter().enumerate().map(|(i, factor)| vec![(i, factor)]).collect();
        Self { inputs: rows.len(), rows }
    }

    /// New vectors that are each the mean of some old ones.
    pub(crate) fn means(inputs: usize, groups: impl IntoIterator<Item = Vec<usize>>) -> Self {
        let row = |group: Vec<usize>| {
            let share = 1.0 / crate::member::real(group.len());
            group.into_iter().map(|i| (i, share)).collect()
        };
        Self { inputs, rows: groups.into_iter().map(row).collect() }
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(crate) fn outputs(&self) -> usize {
        self.rows.len()
    }

    /// What the new vector is made of.
    pub(crate) fn row(&self, output: usize) -> &[(usize, f64)] {
        &self.rows[output]
    }

    /// This one after `first`.
    pub(crate) fn after(&self, first: &Mix) -> Mix {
        let rows = (0..self.outputs()).map(|output| {
            let mut dense = vec![0.0; first.inputs];
            for (middle, c) in self.row(output) {
                first.row(*middle).iter().for_each(|(input, d)| dense[*input] += c * d);
            }
            dense.into_iter().enumerate().filter(|(_, c)| *c != 0.0).collect()
        });
        Mix { inputs: first.inputs, rows: rows.collect() }
    }

    /// The coefficients of the old vectors in Σ wᵢ·newᵢ.
    pub(crate) fn folded(&self, weights: &[f64]) -> Vec<f64> {
        let mut folded = vec![0.0; self.inputs];
        for (row, weight) in self.rows.iter().zip(weights) {
            row.iter().for_each(|(input, c)| folded[*input] += weight * c);
        }
        folded
    }

    /// With so many more vectors that stay as they are.
    pub(crate) fn padded(&self, more: usize) -> Mix {
        let mut rows = self.rows.clone();
        rows.extend((0..more).map(|i| vec![(self.inputs + i, 1.0)]));
        Mix { inputs: self.inputs + more, rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_after_the_other_is_their_product() {
        let halves = Mix::means(4, [vec![0, 1], vec![2, 3]]);
        let doubled = Mix::scaled([2.0, 4.0]);
        let both = doubled.after(&halves);
        assert_eq!(both, Mix::new(4, vec![vec![(0, 1.0), (1, 1.0)], vec![(2, 2.0), (3, 2.0)]]));
        assert_eq!(both.folded(&[1.0, 10.0]), [1.0, 1.0, 20.0, 20.0]);
        assert_eq!(halves.padded(1).row(2), [(4, 1.0)]);
    }
}
