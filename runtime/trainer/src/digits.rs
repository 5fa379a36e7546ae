//! Divides the handwritten digits over clients, so that a first federated job has data. Real jobs bring their own.

mod deal;

pub use deal::{Deal, deal};

use crate::rng::Rng;
use flate2::read::GzDecoder;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Most clients: beyond, a client would have too few samples of each.
pub const MAX_CLIENTS: usize = 100;

/// Why the digits could not be divided.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// Number of clients out of range.
    #[error("the digits cannot be divided over {0} clients: 1 to {MAX_CLIENTS} are allowed")]
    Clients(usize),
    /// Not the expected CSV.
    #[error("line {0} of the digits is not 64 pixels and a label")]
    Line(usize),
    /// A file could not be read or written.
    #[error("the digits could not be divided")]
    Io(#[from] std::io::Error),
}

const CLASSES: usize = 10;
/// One sample of this many is held out for testing.
const TEST_EVERY: usize = 5;
/// Digits of which a client has more than others, at least.
const DOMINANT: usize = 2;
/// Per cent of a digit's training samples that go to the clients where it is dominant; the rest to all alike.
const SKEW_PER_CENT: usize = 60;

/// Writes `client-1/` … `client-N/` into `dir`, each with `train.csv` and `test.csv`; returns the folders.
///
/// A fifth of each digit is held out and dealt evenly: together the clients' tests are one fair test. The rest is
/// not alike: each client has a few dominant digits. All parts are disjoint; the seed decides who has what.
///
/// # Errors
/// Too few or too many clients, bytes that are not the digits, and the disk's own.
pub fn split(csv_gz: &[u8], clients: usize, seed: u64, dir: &Path) -> Result<Vec<PathBuf>, SplitError> {
    allowed(clients)?;
    let text = unpacked(csv_gz)?;
    let mut rng = Rng::new(seed);
    let dominant = dominant(clients, &mut rng);
    let mut parts = vec![(Vec::new(), Vec::new()); clients];
    let mut test_turn = 0;
    for (digit, mut lines) in by_digit(&text)?.into_iter().enumerate() {
        rng.shuffle(&mut lines);
        let test = held_out(&mut lines);
        let common = lines.split_off(lines.len() * SKEW_PER_CENT / 100);
        for line in test {
            parts[test_turn % clients].1.push(line);
            test_turn += 1;
        }
        common.into_iter().enumerate().for_each(|(i, line)| parts[(digit + i) % clients].0.push(line));
        let homes = &dominant[digit];
        lines.into_iter().enumerate().for_each(|(i, line)| parts[homes[i % homes.len()]].0.push(line));
    }
    write(parts, dir, &mut rng)
}

fn allowed(clients: usize) -> Result<(), SplitError> {
    if (1..=MAX_CLIENTS).contains(&clients) { Ok(()) } else { Err(SplitError::Clients(clients)) }
}

fn unpacked(csv_gz: &[u8]) -> Result<String, SplitError> {
    let mut text = String::new();
    GzDecoder::new(csv_gz).read_to_string(&mut text)?;
    Ok(text)
}

/// Takes a fifth of a digit's samples, the last ones.
fn held_out<'a>(lines: &mut Vec<&'a str>) -> Vec<&'a str> {
    lines.split_off(lines.len() - lines.len() / TEST_EVERY)
}

/// Training and test samples of each client as files, in its folder.
fn write(parts: Vec<(Vec<&str>, Vec<&str>)>, dir: &Path, rng: &mut Rng) -> Result<Vec<PathBuf>, SplitError> {
    let mut folders = Vec::new();
    for (i, (mut train, test)) in parts.into_iter().enumerate() {
        rng.shuffle(&mut train);
        let folder = dir.join(format!("client-{}", i + 1));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("train.csv"), train.join("\n") + "\n")?;
        std::fs::write(folder.join("test.csv"), test.join("\n") + "\n")?;
        folders.push(folder);
    }
    Ok(folders)
}

/// For each digit, the clients where it is dominant: never none.
fn dominant(clients: usize, rng: &mut Rng) -> Vec<Vec<usize>> {
    let mut digits: Vec<usize> = (0..CLASSES).collect();
    rng.shuffle(&mut digits);
    let each = DOMINANT.max(CLASSES.div_ceil(clients));
    let mut homes = vec![Vec::new(); CLASSES];
    for slot in 0..clients * each {
        homes[digits[slot % CLASSES]].push(slot / each);
    }
    homes
}

fn by_digit(text: &str) -> Result<Vec<Vec<&str>>, SplitError> {
    let mut lines = vec![Vec::new(); CLASSES];
    for (i, line) in text.lines().enumerate() {
        let label = line.rsplit_once(',').and_then(|(_, label)| label.trim().parse::<usize>().ok());
        match label {
            Some(digit) if digit < CLASSES && line.split(',').count() == 65 => lines[digit].push(line),
            _ => return Err(SplitError::Line(i + 1)),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &[u8] = include_bytes!("../../../data/digits/digits.csv.gz");

    fn lines(folder: &Path, name: &str) -> Vec<String> {
        std::fs::read_to_string(folder.join(name)).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_sample_is_at_one_client_once_and_a_fifth_is_for_testing() {
        for clients in [1, 3, 4, 10, MAX_CLIENTS] {
            let dir = tempfile::tempdir().unwrap();
            let folders = split(DIGITS, clients, 1, dir.path()).unwrap();
            let train: Vec<Vec<String>> = folders.iter().map(|f| lines(f, "train.csv")).collect();
            let test: Vec<Vec<String>> = folders.iter().map(|f| lines(f, "test.csv")).collect();
            assert!(
                train.iter().all(|t| t.len() >= 1440 / clients / 2),
                "{:?}",
                train.iter().map(Vec::len).collect::<Vec<_>>()
            );
            assert!(test.iter().all(|t| (354 / clients..=360 / clients + 1).contains(&t.len())));
            let mut all: Vec<String> = train.into_iter().chain(test).flatten().collect();
            let mut text = String::new();
            GzDecoder::new(DIGITS).read_to_string(&mut text).unwrap();
            let mut expected: Vec<&str> = text.lines().collect();
            all.sort();
            expected.sort_unstable();
            assert!(all == expected);
        }
    }

    #[test]
    fn a_client_has_dominant_digits_and_all_others_too() {
        let dir = tempfile::tempdir().unwrap();
        for folder in split(DIGITS, 4, 1, dir.path()).unwrap() {
            let mut counts = [0; 10];
            lines(&folder, "train.csv").iter().for_each(|l| counts[usize::from(l.as_bytes()[l.len() - 1] - b'0')] += 1);
            counts.sort_unstable();
            assert!(counts[0] >= 10 && counts[9] >= 3 * counts[0], "{counts:?}");
        }
    }

    #[test]
    fn the_seed_decides_and_nonsense_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = |seed| lines(&split(DIGITS, 4, seed, dir.path()).unwrap()[0], "train.csv");
        assert!(first(1) == first(1) && first(1) != first(2));
        assert!(matches!(split(DIGITS, 0, 1, dir.path()), Err(SplitError::Clients(0))));
        assert!(matches!(split(b"no gzip", 4, 1, dir.path()), Err(SplitError::Io(_))));
    }
}
