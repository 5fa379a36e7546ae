//! Samples from a CSV file: numbers, the label last.

use super::{DatasetError, Expected, Samples, check_label, error, open, unreadable};
use std::path::Path;

pub(super) fn load(path: &Path, expected: Expected) -> Result<Samples, DatasetError> {
    let mut reader =
        ::csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(::csv::Trim::All).from_reader(open(path)?);
    let mut samples = Samples { shape: Vec::new(), values: Vec::new(), labels: Vec::new() };
    let mut record = ::csv::StringRecord::new();
    let mut first = true;
    while reader.read_record(&mut record).map_err(|e| unreadable(path, e.into()))? {
        let header = std::mem::take(&mut first) && record.get(0).is_some_and(|field| field.parse::<f32>().is_err());
        if !header {
            add(&record, path, expected, &mut samples)?;
        }
    }
    Ok(samples)
}

fn add(
    record: &::csv::StringRecord,
    path: &Path,
    expected: Expected,
    samples: &mut Samples,
) -> Result<(), DatasetError> {
    let place = || format!("{}, line {}", path.display(), record.position().map_or(0, ::csv::Position::line));
    if samples.shape.is_empty() {
        samples.shape.push(expected.features.unwrap_or(record.len().saturating_sub(1)));
    }
    let n = samples.shape[0];
    if record.len() != n + 1 {
        let got = record.len();
        return Err(error(place(), format!("{got} columns; {} are expected: {n} features and the label", n + 1)));
    }
    for field in record.iter().take(n) {
        match field.parse::<f32>() {
            Ok(value) if value.is_finite() => samples.values.push(value / expected.scale),
            _ => return Err(error(place(), format!("'{field}' is not a finite number"))),
        }
    }
    let field = &record[n];
    let label =
        field.parse().map_err(|_| error(place(), format!("the label '{field}' is not a whole number from 0")))?;
    samples.labels.push(check_label(place, label, expected)?);
    Ok(())
}
