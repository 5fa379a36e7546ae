//! Divisions of the digits as papers have them: to all alike, or a few shards of the sorted digits to each. The same fifth
//! is held out for testing whatever the seed, so that results of several seeds are of one test.

use super::{SplitError, allowed, by_digit, held_out, unpacked, write};
use crate::rng::Rng;
use std::path::{Path, PathBuf};

/// How the training samples are dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deal {
    /// At random: independent and identically distributed.
    Alike,
    /// So many shards to each client of the samples sorted by digit and cut into equal ones (McMahan et al. 2017, arXiv
    /// 1602.05629, which has two).
    Shards(usize),
}

/// Decides what is held out.
const TEST_SEED: u64 = 0;

/// Writes the same folders as [`super::split`]; the seed decides which client has which training samples.
///
/// # Errors
/// As [`super::split`].
pub fn deal(csv_gz: &[u8], how: Deal, clients: usize, seed: u64, dir: &Path) -> Result<Vec<PathBuf>, SplitError> {
    allowed(clients)?;
    let text = unpacked(csv_gz)?;
    let (mut rng, mut fixed) = (Rng::new(seed), Rng::new(TEST_SEED));
    let mut parts = vec![(Vec::new(), Vec::new()); clients];
    let (mut sorted, mut test_turn) = (Vec::new(), 0);
    for mut lines in by_digit(&text)? {
        fixed.shuffle(&mut lines);
        for line in held_out(&mut lines) {
            parts[test_turn % clients].1.push(line);
            test_turn += 1;
        }
        rng.shuffle(&mut lines);
        sorted.extend(lines);
    }
    let each = match how {
        Deal::Alike => {
            rng.shuffle(&mut sorted);
            1
        }
        Deal::Shards(each) => each.max(1),
    };
    let count = clients * each;
    let mut order: Vec<usize> = (0..count).collect();
    rng.shuffle(&mut order);
    for (place, shard) in order.into_iter().enumerate() {
        let range = sorted.len() * shard / count..sorted.len() * (shard + 1) / count;
        parts[place / each].0.extend(&sorted[range]);
    }
    write(parts, dir, &mut rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const DIGITS: &[u8] = include_bytes!("../../../../data/digits/digits.csv.gz");

    fn parts(how: Deal, seed: u64) -> Vec<[Vec<String>; 2]> {
        let dir = tempfile::tempdir().unwrap();
        let read = |folder: &Path, name: &str| -> Vec<String> {
            std::fs::read_to_string(folder.join(name)).unwrap().lines().map(str::to_owned).collect()
        };
        let folders = deal(DIGITS, how, 20, seed, dir.path()).unwrap();
        folders.iter().map(|folder| ["train.csv", "test.csv"].map(|name| read(folder, name))).collect()
    }

    fn digits(lines: &[String]) -> BTreeSet<u8> {
        lines.iter().map(|line| line.as_bytes()[line.len() - 1] - b'0').collect()
    }

    #[test]
    fn every_sample_is_at_one_client_once_in_parts_of_one_size() {
        for how in [Deal::Alike, Deal::Shards(2)] {
            let parts = parts(how, 1);
            assert!(parts.iter().all(|[train, test]| train.len().abs_diff(72) <= 1 && test.len().abs_diff(17) <= 1));
            let mut all: Vec<String> = parts.into_iter().flatten().flatten().collect();
            let text = unpacked(DIGITS).unwrap();
            let mut expected: Vec<&str> = text.lines().collect();
            all.sort();
            expected.sort_unstable();
            assert!(all == expected);
        }
    }

    #[test]
    fn dealt_alike_each_client_has_about_every_digit_and_by_two_shards_at_most_four() {
        assert!(parts(Deal::Alike, 1).iter().all(|[train, _]| digits(train).len() >= 9));
        let shards = parts(Deal::Shards(2), 1);
        assert!(shards.iter().all(|[train, _]| (1..=4).contains(&digits(train).len())));
        let few = shards.iter().filter(|[train, _]| digits(train).len() <= 3).count();
        assert!(few >= 15, "a shard is half of a digit: {few}");
    }

    #[test]
    fn the_seed_decides_the_training_parts_and_not_the_test() {
        let (one, two) = (parts(Deal::Shards(2), 1), parts(Deal::Shards(2), 2));
        let tests = |parts: &[[Vec<String>; 2]]| -> BTreeSet<String> {
            parts.iter().flat_map(|[_, test]| test.clone()).collect()
        };
        assert!(tests(&one) == tests(&two) && tests(&one) == tests(&parts(Deal::Alike, 3)));
        assert!(one[0][0] != two[0][0]);
        assert!(one == parts(Deal::Shards(2), 1));
    }
}
