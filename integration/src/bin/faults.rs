//! `cargo xtask faults` runs this: the fault matrix on real processes, as a table, as JSON, and in docs/reliability.md.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool that talks to the terminal")]

use clap::Parser;
use nsfl_integration::faults::{Expected, Finished, Ground, Report, markdown, rows};
use nsfl_integration::marks::write_between;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Fails every part of a running federation at every step and compares the final model")]
struct Cli {
    /// A build of nsfl-node with the feature `fault-points`.
    #[arg(long)]
    program: PathBuf,
    /// Only rows whose group or name contains one of these.
    #[arg(long, num_args = 1.., value_name = "TEXT")]
    only: Vec<String>,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
    /// Replaces what stands in this file between the lines `<!-- faults -->` and `<!-- end -->`.
    #[arg(long)]
    write: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let ground = Ground { expected: Expected::new(cli.program.clone()), program: cli.program };
    let mut report = Report { rows: Vec::new() };
    for row in rows() {
        let wanted = |text: &String| row.group.contains(text.as_str()) || row.name.contains(text.as_str());
        if !cli.only.is_empty() && !cli.only.iter().any(wanted) {
            continue;
        }
        let start = Instant::now();
        let finished = Finished::new(&row, row.run(&ground), start.elapsed());
        let recovery = finished.recovery_ms.map_or(String::new(), |ms| format!("{ms} ms"));
        let line = format!("{:9} {recovery:>8}  {:12} {}", finished.outcome, finished.group, finished.name);
        if cli.json {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
        if !finished.note.is_empty() {
            eprintln!("          {}", finished.note);
        }
        report.rows.push(finished);
    }
    let bad = report.rows.iter().filter(|row| !row.is_good()).count();
    if cli.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{} rows, {} not with the model of the undisturbed run", report.rows.len(), bad);
    }
    if let Some(file) = cli.write {
        write_between(&file, "faults", &markdown(&report))?;
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
