//! Sorting networks: which pairs to compare and exchange, in which order, to sort any column of n values.
//!
//! Batcher's merge exchange, as Knuth gives it for any n (The Art of Computer Programming 3, 5.2.2, algorithm M). Comparisons
//! do not depend on the values, so a whole tile of columns is sorted at once with minima and maxima of vectors.

/// The comparators for `n` values, in order: the lower value goes to the first index.
pub(crate) fn comparators(n: usize) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    if n < 2 {
        return pairs;
    }
    let top = n.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            pairs.extend((0..n.saturating_sub(d)).filter(|i| i & p == r).map(|i| (i, i + d)));
            if q == p {
                break;
            }
            (d, q, r) = (q - p, q / 2, p);
        }
        p /= 2;
    }
    pairs
}

/// A float.
pub(crate) trait Sortable: Copy + PartialOrd {
    /// Of two values the one that is not `one` of them.
    fn other(self, second: Self, one: Self) -> Self;
}

macro_rules! sortable {
    ($($float:ty),*) => {$(
        impl Sortable for $float {
            #[inline(always)]
            fn other(self, second: Self, one: Self) -> Self {
                Self::from_bits(self.to_bits() ^ second.to_bits() ^ one.to_bits())
            }
        }
    )*};
}
sortable!(f32, f64);

/// Sorts every column of `rows`, none of them NaN.
#[inline(always)]
pub(crate) fn sort<T: Sortable, const N: usize>(rows: &mut [[T; N]], comparators: &[(usize, usize)]) {
    for (a, b) in comparators {
        let (mut x, mut y) = (rows[*a], rows[*b]);
        for (x, y) in x.iter_mut().zip(&mut y) {
            let high = if *y < *x { *x } else { *y };
            // a second selection would become a store under a mask, which is slow
            (*x, *y) = (x.other(*y, high), high);
        }
        (rows[*a], rows[*b]) = (x, y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network that sorts all zeros and ones sorts everything.
    #[test]
    fn every_column_of_zeros_and_ones_is_sorted() {
        for n in 0..=14_usize {
            let network = comparators(n);
            for bits in 0..1_u32 << n {
                let mut rows: Vec<[f64; 1]> = (0..n).map(|i| [f64::from(bits >> i & 1)]).collect();
                sort(&mut rows, &network);
                assert!(rows.is_sorted(), "{n} values of {bits:b}");
            }
        }
    }

    #[test]
    fn larger_columns_are_sorted_too() {
        let mut state = 1_u64;
        for n in [20, 33, 100, 257] {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                [(state >> 40) as f32, -((state >> 33) as f32)]
            };
            let mut rows: Vec<[f32; 2]> = (0..n).map(|_| next()).collect();
            let mut expected = rows.clone();
            sort(&mut rows, &comparators(n));
            for lane in 0..2 {
                expected.sort_by(|a, b| a[lane].total_cmp(&b[lane]));
                assert!(rows.iter().zip(&expected).all(|(a, b)| a[lane] == b[lane]));
            }
        }
    }
}
