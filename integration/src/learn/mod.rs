//! The learning table: what the platform learns by each rule, against hostile clients, with compression, and how soon when some
//! clients are slow. Real jobs on real processes; `cargo xtask learn` runs it and writes docs/learning.md. Judges one thing: the
//! cells of which the specification has a figure.

mod byzantine;
mod compression;
mod figure;
mod ground;
mod job;
mod rules;
mod speed;
mod spread;
mod test_part;

pub use figure::Figure;
pub use ground::{DataSet, Ground, Trained};
pub use rules::{Split, known_rules};
pub use spread::Spread;

use serde_json::Value;

/// What is wanted of the table.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Rules of the first section.
    pub rules: Vec<String>,
    /// Its divisions of the data.
    pub splits: Vec<Split>,
    /// Seeds, from 1, of its cells.
    pub seeds: u64,
}

/// Seeds of the other sections' cells.
const SEEDS: u64 = 3;

/// A part of the table.
pub struct Section {
    /// Its name on the command line and in the document.
    pub name: &'static str,
    /// Data sets that its jobs use.
    pub data: fn(&Choice) -> Vec<DataSet>,
    /// Runs its jobs.
    pub run: fn(&Ground, &Choice) -> anyhow::Result<Findings>,
}

/// What came of a section.
pub struct Findings {
    /// Heads of the columns.
    pub head: Vec<String>,
    /// A cell a column.
    pub rows: Vec<Vec<String>>,
    /// The same for machines.
    pub json: Value,
    /// Cells that are not what they must be, in words.
    pub wrong: Vec<String>,
    /// Pictures, with their files' names.
    pub figures: Vec<(&'static str, Figure)>,
}

/// All parts, in order.
#[must_use]
pub fn sections() -> Vec<Section> {
    vec![rules::section(), byzantine::section(), compression::section(), speed::section()]
}

impl Findings {
    /// For docs/learning.md, the figures below the table.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|{}\n", "---|".repeat(self.head.len()));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        let shown = |(file, figure): &(&str, Figure)| format!("\n![{}](learning/{file})\n", figure.title);
        let figures: String = self.figures.iter().map(shown).collect();
        format!("\n{}{rule}{rows}{figures}\n", line(&self.head))
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let all = || [&self.head].into_iter().chain(&self.rows);
        let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        };
        all().map(line).collect()
    }
}
