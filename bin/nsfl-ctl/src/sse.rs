//! Server-sent events (WHATWG HTML, 9.2), as far as our server sends them.

use std::io::{self, BufRead};

/// One event of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Its id, if it has one.
    pub(crate) id: Option<u64>,
    /// Its kind.
    pub(crate) kind: String,
    /// Its data.
    pub(crate) data: String,
}

/// The next event; none when the stream ends, however far the last one had come.
pub(crate) fn next(stream: &mut impl BufRead) -> io::Result<Option<Sent>> {
    let mut sent = Sent::default();
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let text = line.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            match sent == Sent::default() {
                true => continue,
                false => return Ok(Some(sent)),
            }
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => sent.id = value.parse().ok(),
            "event" => value.clone_into(&mut sent.kind),
            "data" if sent.data.is_empty() => value.clone_into(&mut sent.data),
            "data" => sent.data.extend(["\n", value]),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_comments_are_skipped_and_a_cut_one_is_not_delivered() {
        let text = ": hello\n\nid: 7\nevent: round-opened\ndata: {\"a\":1}\n\n:\n\nevent: end\r\ndata: x\r\ndata:y\r\n\r\nid: 9\nda";
        let mut stream = text.as_bytes();
        let first = next(&mut stream).unwrap().unwrap();
        assert_eq!((first.id, first.kind.as_str(), first.data.as_str()), (Some(7), "round-opened", "{\"a\":1}"));
        let end = next(&mut stream).unwrap().unwrap();
        assert_eq!((end.id, end.kind.as_str(), end.data.as_str()), (None, "end", "x\ny"));
        assert_eq!(next(&mut stream).unwrap(), None);
    }
}
