//! Why a task failed, in full: what a person needs to mend a script they cannot log in to. Bounded, as it travels.

use serde::{Deserialize, Serialize};

/// What is known of a failed trainer beside code and reason. Made by the client, shown by `describe` and `logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// How its process ended: `exit code 1`, `signal 9 (SIGKILL)`.
    #[serde(default)]
    pub exit: Option<String>,
    /// The limit it ran into: `memory 512 MB`.
    #[serde(default)]
    pub limit: Option<String>,
    /// The exception's traceback.
    #[serde(default)]
    pub traceback: Option<String>,
    /// Its last lines of output.
    #[serde(default)]
    pub log: String,
    /// Which of several workers it was, from 0.
    #[serde(default)]
    pub worker: Option<u32>,
}

impl Cause {
    /// Bytes that are kept of a text: the last ones, where the error stands.
    pub const MAX_TEXT: usize = 8000;

    /// With every text cut to its last `MAX_TEXT` bytes, at the beginning of a line where there is one.
    #[must_use]
    pub fn bounded(self) -> Self {
        let bound = |text: Option<String>| text.map(|text| last_bytes(&text).to_owned());
        Self {
            exit: bound(self.exit),
            limit: bound(self.limit),
            traceback: bound(self.traceback),
            log: last_bytes(&self.log).to_owned(),
            worker: self.worker,
        }
    }
}

fn last_bytes(text: &str) -> &str {
    let Some(cut) = text.len().checked_sub(Cause::MAX_TEXT).filter(|cut| *cut > 0) else { return text };
    let start = (cut..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let tail = &text[start..];
    match tail.find('\n') {
        Some(end_of_line) if end_of_line + 1 < tail.len() => &tail[end_of_line + 1..],
        _ => tail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_last_whole_lines_and_a_short_one_all() {
        let log = format!("{}\nlast line", "ü".repeat(Cause::MAX_TEXT));
        let cause = Cause { log, traceback: Some("short".into()), ..Cause::default() }.bounded();
        assert_eq!(cause.log, "last line");
        assert_eq!(cause.traceback.as_deref(), Some("short"));
        let one_line = Cause { log: "ü".repeat(Cause::MAX_TEXT), ..Cause::default() }.bounded();
        assert!(one_line.log.len() <= Cause::MAX_TEXT && one_line.log.ends_with('ü'));
    }
}
