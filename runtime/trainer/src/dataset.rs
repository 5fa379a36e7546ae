//! Labelled samples from files on the client. Reads all of them; sends nothing anywhere.
//!
//! A data set's path is one of
//! - a folder with `train.csv` and `test.csv`, or with the four IDX files of MNIST (`train-images-idx3-ubyte`,
//!   `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`), each also with `.gz`;
//! - a CSV file (`.csv` or `.csv.gz`), which then serves both for training and for testing.
//!
//! CSV: one sample a line, numbers separated by commas, the label last; a first line that does not begin with a
//! number is taken as a header. IDX: unsigned bytes, images of any shape. Labels count from 0.

mod csv;
mod idx;

use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

/// In the folder of a data set: what a site orders of itself for a drill. See `classifier/drill.rs`.
pub const DRILL: &str = "drill.json";

/// A data set that is not configured, not readable or not what the task expects.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct DatasetError {
    place: String,
    problem: String,
    source: Option<std::io::Error>,
}

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// What is trained on.
    Train,
    /// What is measured on.
    Test,
}

/// What the model expects of each sample.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Values of a sample; `None`: as many as the first has.
    pub features: Option<usize>,
    /// Labels are below; `None`: any.
    pub classes: Option<u32>,
    /// Every value is divided by this.
    pub scale: f32,
}

/// Samples in memory.
#[derive(Debug, PartialEq)]
pub struct Samples {
    /// Of one sample: its columns, or its extents.
    pub shape: Vec<usize>,
    /// Row-major, sample after sample.
    pub values: Vec<f32>,
    /// One a sample.
    pub labels: Vec<u32>,
}

/// The data set of this name, or the only one; `parameter` is where the name stands.
///
/// # Errors
/// None of that name, none at all, or several to choose from.
pub fn choose<'a>(
    datasets: &'a BTreeMap<String, PathBuf>,
    name: Option<&str>,
    parameter: &str,
) -> Result<&'a Path, DatasetError> {
    let names = || datasets.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let found = match name {
        Some(name) => datasets.get(name).ok_or_else(|| {
            error(format!("data set '{name}'"), format!("is not among those of the task ({})", names()))
        }),
        None if datasets.len() > 1 => {
            Err(error("data sets", format!("there are several ({}): name one in parameters.{parameter}", names())))
        }
        None => datasets.values().next().ok_or_else(|| error("data sets", "the task has none, and needs one")),
    };
    found.map(PathBuf::as_path)
}

/// Loads one part of the data set at `path`.
///
/// # Errors
/// Files that are not there, not readable or not what is expected, with file and line.
pub fn load(path: &Path, split: Split, expected: Expected) -> Result<Samples, DatasetError> {
    let (csv_name, idx_name) = match split {
        Split::Train => ("train.csv", "train"),
        Split::Test => ("test.csv", "t10k"),
    };
    let samples = if !path.is_dir() {
        csv::load(path, expected)
    } else if let Some(file) = existing(path, csv_name) {
        csv::load(&file, expected)
    } else {
        let images = existing(path, &format!("{idx_name}-images-idx3-ubyte"));
        let labels = existing(path, &format!("{idx_name}-labels-idx1-ubyte"));
        match (images, labels) {
            (Some(images), Some(labels)) => idx::load(&images, &labels, expected),
            _ => {
                let problem =
                    format!("has neither {csv_name}[.gz] nor {idx_name}-images-idx3-ubyte[.gz] with its labels");
                Err(error(path.display(), problem))
            }
        }
    }?;
    if samples.labels.is_empty() {
        return Err(error(path.display(), format!("there is no sample in the {csv_name} part")));
    }
    Ok(samples)
}

/// How many training samples there are, for ranking sites: counted, not checked. `None` when it cannot be told.
#[must_use]
pub fn sample_count(path: &Path) -> Option<u64> {
    let labels = existing(path, "train-labels-idx1-ubyte").filter(|_| path.is_dir());
    if let Some(labels) = labels {
        let mut head = [0; 8];
        open(&labels).ok()?.read_exact(&mut head).ok()?;
        let [.., a, b, c, d] = head;
        return Some(u32::from_be_bytes([a, b, c, d]).into());
    }
    let file = if path.is_dir() { existing(path, "train.csv")? } else { path.to_owned() };
    let lines = BufReader::new(open(&file).ok()?).lines().map_while(Result::ok);
    let is_sample =
        |line: &String| line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | ' '));
    Some(lines.filter(is_sample).count() as u64)
}

fn existing(folder: &Path, name: &str) -> Option<PathBuf> {
    [name.to_owned(), format!("{name}.gz")].into_iter().map(|n| folder.join(n)).find(|p| p.is_file())
}

fn open(path: &Path) -> Result<Box<dyn Read>, DatasetError> {
    let file = File::open(path).map_err(|e| unreadable(path, e))?;
    let gz = path.extension().is_some_and(|e| e == "gz");
    Ok(if gz { Box::new(GzDecoder::new(BufReader::new(file))) } else { Box::new(file) })
}

fn check_label(place: impl FnOnce() -> String, label: u32, expected: Expected) -> Result<u32, DatasetError> {
    match expected.classes {
        Some(classes) if label >= classes => {
            Err(error(place(), format!("the label {label} is not below classes ({classes})")))
        }
        _ => Ok(label),
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> DatasetError {
    DatasetError { place: path.display().to_string(), problem: "cannot be read".to_owned(), source: Some(source) }
}

fn error(place: impl ToString, problem: impl Into<String>) -> DatasetError {
    DatasetError { place: place.to_string(), problem: problem.into(), source: None }
}

impl DatasetError {
    /// What is wrong, and where.
    pub fn new(place: impl ToString, problem: impl Into<String>) -> Self {
        error(place, problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const TWO: Expected = Expected { features: Some(2), classes: Some(3), scale: 2.0 };

    fn problem(path: &Path, split: Split) -> String {
        let text = load(path, split, TWO).unwrap_err().to_string();
        text.replace(&format!("{}", path.display()), "D")
    }

    #[test]
    fn csv_with_and_without_header_and_packed_gives_the_same_samples() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("train.csv"), "x,y,label\n1,2,0\n\n 3 ,4.5,2\n").unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"1,2,0\n3,4.5,2").unwrap();
        std::fs::write(dir.path().join("test.csv.gz"), gz.finish().unwrap()).unwrap();
        let samples = load(dir.path(), Split::Train, TWO).unwrap();
        assert_eq!(samples, Samples { shape: vec![2], values: vec![0.5, 1.0, 1.5, 2.25], labels: vec![0, 2] });
        assert_eq!(load(dir.path(), Split::Test, TWO).unwrap(), samples);
        assert_eq!(load(&dir.path().join("train.csv"), Split::Test, TWO).unwrap(), samples);
    }

    #[test]
    fn wrong_data_is_told_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let says = |text: &str| {
            std::fs::write(dir.path().join("train.csv"), text).unwrap();
            problem(dir.path(), Split::Train)
        };
        assert_eq!(says("1,2,0\n1,2\n"), "D/train.csv, line 2: 2 columns; 3 are expected: 2 features and the label");
        assert_eq!(says("1,2,0\n1,x,0\n"), "D/train.csv, line 2: 'x' is not a finite number");
        assert_eq!(says("1,2,0\n1,inf,0\n"), "D/train.csv, line 2: 'inf' is not a finite number");
        assert_eq!(says("1,2,3\n"), "D/train.csv, line 1: the label 3 is not below classes (3)");
        assert_eq!(says("1,2,1.5\n"), "D/train.csv, line 1: the label '1.5' is not a whole number from 0");
        assert_eq!(says("a,b,c\n"), "D: there is no sample in the train.csv part");
        assert!(problem(dir.path(), Split::Test).starts_with("D: has neither test.csv[.gz] nor t10k-images"));
        assert_eq!(problem(&dir.path().join("no.csv"), Split::Test), "D: cannot be read");
    }

    #[test]
    fn a_data_set_is_named_or_the_only_one() {
        let one: BTreeMap<_, _> = [("a".to_owned(), PathBuf::from("pa"))].into();
        let two: BTreeMap<_, _> = [("a".to_owned(), PathBuf::from("pa")), ("b".to_owned(), PathBuf::from("pb"))].into();
        assert_eq!(choose(&one, None, "p").unwrap(), Path::new("pa"));
        assert_eq!(choose(&two, Some("b"), "p").unwrap(), Path::new("pb"));
        assert_eq!(
            choose(&two, Some("c"), "p").unwrap_err().to_string(),
            "data set 'c': is not among those of the task (a, b)"
        );
        assert!(choose(&two, None, "p").unwrap_err().to_string().ends_with("name one in parameters.p"));
        assert!(choose(&[].into(), None, "p").is_err());
    }
}
