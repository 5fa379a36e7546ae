//! Results to stdout, talk to stderr, tables and structured text.

use crate::fault::Fault;
use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// Writes text that a script may read.
pub(crate) fn result(text: &str) -> Result<(), Fault> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        done => Ok(done?),
    }
}

/// Writes a line for people. Nobody can be told when even this fails.
pub(crate) fn talk(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What clap has to say, and 0 for help that was asked for, 2 for a mistake.
pub(crate) fn usage(talk: &clap::Error) -> ExitCode {
    let _ = talk.print();
    if talk.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// The body as asked for with `-o`.
pub(crate) fn structured(body: &impl Serialize, output: Output) -> Result<String, Fault> {
    let unwritable = |e: String| Fault::Refused(format!("the answer cannot be shown: {e}"));
    match output {
        Output::Yaml => serde_yaml_ng::to_string(body).map_err(|e| unwritable(e.to_string())),
        Output::Json => {
            serde_json::to_string_pretty(body).map(|text| text + "\n").map_err(|e| unwritable(e.to_string()))
        }
    }
}

/// Columns under their names, without lines, never wrapped: easy to read and to cut.
pub(crate) fn table<const N: usize>(names: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(names);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Something that may be absent.
pub(crate) fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

/// A number to four digits, or a dash.
pub(crate) fn number(value: Option<f64>) -> String {
    or_dash(value.map(|value| format!("{value:.4}")))
}
