//! A record's bytes: one byte of version, then bincode. `golden/` holds one of each version.

use nsfl_store::TaskRecord;

const VERSION: u8 = 1;

/// Bytes that are no record of a known version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("it is empty")]
    Empty,
    #[error("it has version {0}; this program knows {VERSION}")]
    Version(u8),
    #[error("it cannot be decoded")]
    Content(#[from] bincode::error::DecodeError),
    #[error("{0} bytes follow it")]
    Trailing(usize),
}

pub(crate) fn encode(record: &TaskRecord) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    let encoded = bincode::serde::encode_into_std_write(record, &mut bytes, bincode::config::standard());
    encoded.expect("a record has only names, numbers and bytes, and a vector takes them all");
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Result<TaskRecord, FormatError> {
    let (version, content) = bytes.split_first().ok_or(FormatError::Empty)?;
    if *version != VERSION {
        return Err(FormatError::Version(*version));
    }
    let (record, read) = bincode::serde::decode_from_slice(content, bincode::config::standard())?;
    if read == content.len() { Ok(record) } else { Err(FormatError::Trailing(content.len() - read)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsfl_store::conformance::sample;

    #[test]
    fn the_golden_record_is_read_and_written_byte_for_byte() {
        let golden = include_bytes!("../golden/1.bin");
        let record = sample::task("digits", "site-1", 3);
        assert_eq!(encode(&record), golden);
        assert_eq!(decode(golden).unwrap(), record);
    }

    #[test]
    fn no_cut_or_lengthened_record_is_taken_for_one() {
        let whole = encode(&sample::task("digits", "site-1", 300));
        for len in 0..whole.len() {
            assert!(decode(&whole[..len]).is_err(), "{len} bytes");
        }
        assert!(matches!(decode(&[&whole[..], &[0]].concat()), Err(FormatError::Trailing(1))));
        assert!(matches!(decode(&[&[2], &whole[1..]].concat()), Err(FormatError::Version(2))));
    }
}
