//! What came of the rows, for people and for machines.

use super::{Outcome, Row};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// A row that was run.
#[derive(Debug, Clone, Serialize)]
pub struct Finished {
    /// What was failed.
    pub group: &'static str,
    /// Where and how.
    pub name: String,
    /// `same`: the final model is the undisturbed run's; `different`; `failed`, with `note`; `skipped`, with `note`.
    pub outcome: &'static str,
    /// To the job's next event, in milliseconds.
    pub recovery_ms: Option<u128>,
    /// The final model's digest.
    pub sha256: Option<String>,
    /// Why.
    pub note: String,
    /// How long the row took, in milliseconds.
    pub took_ms: u128,
}

/// Begins the note of a row that cannot be run on this machine.
pub(super) const SKIPPED: &str = "skipped: ";

impl Finished {
    /// The row and what came of it.
    #[must_use]
    pub fn new(row: &Row, result: anyhow::Result<Outcome>, took: Duration) -> Self {
        let (group, name, took_ms) = (row.group, row.name.clone(), took.as_millis());
        let nothing =
            |outcome, note| Self { group, name: name.clone(), outcome, recovery_ms: None, sha256: None, note, took_ms };
        match result {
            Ok(o) => Self {
                outcome: if o.sha256 == o.expected { "same" } else { "different" },
                recovery_ms: o.recovery.map(|d| d.as_millis()),
                sha256: Some(o.sha256),
                note: o.note,
                ..nothing("", String::new())
            },
            Err(error) => match error.to_string().strip_prefix(SKIPPED) {
                Some(why) => nothing("skipped", why.to_owned()),
                None => nothing("failed", format!("{error:#}")),
            },
        }
    }

    /// Whether nothing was lost, as far as it could be tried.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self.outcome, "same" | "skipped")
    }
}

/// All rows that were run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Rows in order.
    pub rows: Vec<Finished>,
}

/// The table of docs/reliability.md: a line a group with its counts and recovery times, then a line a row.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut text = String::from(
        "| what fails | rows | same model | other | recovery, median | slowest |\n|---|---|---|---|---|---|\n",
    );
    let mut groups: Vec<&str> = Vec::new();
    for row in &report.rows {
        if !groups.contains(&row.group) {
            groups.push(row.group);
        }
    }
    for group in groups {
        let rows: Vec<&Finished> = report.rows.iter().filter(|row| row.group == group).collect();
        let same = rows.iter().filter(|row| row.outcome == "same").count();
        let mut times: Vec<u128> = rows.iter().filter_map(|row| row.recovery_ms).collect();
        times.sort_unstable();
        let time = |at: Option<&u128>| at.map_or("–".to_owned(), |ms| format!("{ms} ms"));
        let (median, slowest) = (time(times.get(times.len() / 2)), time(times.last()));
        let other = rows.len() - same;
        let _ = writeln!(text, "| {group} | {} | {same} | {other} | {median} | {slowest} |", rows.len());
    }
    text.push_str("\n| what fails | where and how | outcome | recovery | |\n|---|---|---|---|---|\n");
    for row in &report.rows {
        let recovery = row.recovery_ms.map_or(String::new(), |ms| format!("{ms} ms"));
        let note = row.note.replace('|', "\\|").replace('\n', " ");
        let _ = writeln!(text, "| {} | {} | {} | {recovery} | {note} |", row.group, row.name, row.outcome);
    }
    text
}
