//! Where members' updates lie to each other: their inner products, from which come norms and distances.

use crate::mix::Mix;

/// What must be seen of the updates before a round can be planned. Later ones hold the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// Nothing: weights and facts are enough.
    None,
    /// The norm of each.
    Norms,
    /// The inner products of all pairs.
    Products,
}

/// Inner products of a round's updates as vectors of all their floating-point tensors, in canonical order of the members;
/// after them that of the previous aggregate, when the rule keeps one.
///
/// A distance is taken from products, so it is off by about 2^-50 of the longer vector. Equal vectors have the distance 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Geometry {
    /// How many vectors.
    vectors: usize,
    /// `vectors` squared products, or with norms alone `vectors` of them. Of the vectors over `unit`.
    products: Vec<f64>,
    /// A power of two, 1 unless values are so large or small that their squares would leave the range.
    unit: f64,
}

impl Geometry {
    pub(crate) fn new(vectors: usize, products: Vec<f64>, unit: f64) -> Self {
        debug_assert!(products.len() == vectors || products.len() == vectors * vectors, "a square or its diagonal");
        Self { vectors, products, unit }
    }

    /// How many vectors there are: the members, and the previous aggregate if there is one.
    #[must_use]
    pub fn vectors(&self) -> usize {
        self.vectors
    }

    /// What norms, distances and products here are in: a length is so many units, a product so many squares of it.
    #[must_use]
    pub fn unit(&self) -> f64 {
        self.unit
    }

    /// The inner product of two vectors. With norms alone only of a vector with itself.
    #[must_use]
    pub fn product(&self, a: usize, b: usize) -> f64 {
        if self.products.len() == self.vectors { self.products[a] } else { self.products[a * self.vectors + b] }
    }

    /// The norm of a vector, not in units; infinite if that is beyond the range.
    #[must_use]
    pub fn norm(&self, a: usize) -> f64 {
        self.product(a, a).sqrt() * self.unit
    }

    /// The squared distance of two vectors, in squared units.
    #[must_use]
    pub fn squared_distance(&self, a: usize, b: usize) -> f64 {
        ((self.product(a, a) - self.product(a, b)) + (self.product(b, b) - self.product(a, b))).max(0.0)
    }

    /// The squared distance of a vector to Σ cᵢ·vectorᵢ, in squared units; `image` is what `image` gives for c.
    pub(crate) fn squared_distance_to(&self, a: usize, image: &Image) -> f64 {
        ((self.product(a, a) - image.products[a]) + (image.square - image.products[a])).max(0.0)
    }

    /// The products of all vectors with Σ cᵢ·vectorᵢ.
    pub(crate) fn image(&self, coefficients: &[f64]) -> Image {
        let dot = |a: usize| (0..self.vectors).map(|b| coefficients[b] * self.product(a, b)).sum::<f64>();
        let products: Vec<f64> = (0..self.vectors).map(dot).collect();
        let square = coefficients.iter().zip(&products).map(|(c, p)| c * p).sum();
        Image { products, square }
    }

    /// The geometry of other vectors made from these. What lies behind the mixed ones stays as it is.
    pub(crate) fn mixed(&self, mix: &Mix) -> Geometry {
        let mix = mix.padded(self.vectors - mix.inputs());
        let n = mix.outputs();
        if self.products.len() == self.vectors {
            // norms alone are asked for only while each new vector is made of one
            let square = |a: usize| mix.row(a).iter().map(|(i, c)| c * c * self.products[*i]).sum();
            return Geometry::new(n, (0..n).map(square).collect(), self.unit);
        }
        let mut products = vec![0.0; n * n];
        for a in 0..n {
            for b in a..n {
                let with = |j: usize| mix.row(a).iter().map(|(i, c)| c * self.product(*i, j)).sum::<f64>();
                let product: f64 = mix.row(b).iter().map(|(j, c)| c * with(*j)).sum();
                (products[a * n + b], products[b * n + a]) = (product, product);
            }
        }
        Geometry::new(n, products, self.unit)
    }
}

/// The products of all vectors with a combination of them, and of that with itself.
pub(crate) struct Image {
    products: Vec<f64>,
    square: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of (3, 0), (0, 4) and (1, 1).
    fn three() -> Geometry {
        Geometry::new(3, vec![9.0, 0.0, 3.0, 0.0, 16.0, 4.0, 3.0, 4.0, 2.0], 1.0)
    }

    #[test]
    fn distances_are_those_of_the_vectors() {
        let g = three();
        assert_eq!((g.norm(0), g.squared_distance(0, 1), g.squared_distance(2, 2)), (3.0, 25.0, 0.0));
        // (3, 0)/3 + (0, 4)/2 = (1, 2)
        let image = g.image(&[1.0 / 3.0, 0.5, 0.0]);
        assert!((g.squared_distance_to(2, &image) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn mixed_vectors_have_the_products_of_what_they_are_made_of_and_the_last_is_left_alone() {
        let mix = Mix::new(2, vec![vec![(0, 0.5), (1, 0.5)]]);
        let mixed = three().mixed(&mix);
        // (1.5, 2) and (1, 1)
        assert_eq!((mixed.product(0, 0), mixed.product(0, 1), mixed.product(1, 1)), (6.25, 3.5, 2.0));
    }
}
