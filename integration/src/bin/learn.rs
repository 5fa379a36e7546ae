//! `cargo xtask learn` runs this: the learning table on real processes, on the terminal, as JSON, and in docs/learning.md.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool that talks to the terminal")]

use anyhow::{Context as _, ensure};
use clap::Parser;
use nsfl_integration::learn::{Choice, Findings, Ground, Split, known_rules, sections};
use nsfl_integration::marks::write_between;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Trains digits by each rule, against hostile clients, compressed, and with slow clients")]
struct Cli {
    /// A build of nsfl-node.
    #[arg(long)]
    program: PathBuf,
    /// Only these sections: rules, byzantine, compression, speed.
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "SECTION")]
    only: Vec<String>,
    /// Only the section `rules`, and of it these.
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "RULE")]
    rules: Vec<String>,
    /// Only the section `rules`, and of it these divisions of the data: iid, shards.
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "SPLIT")]
    splits: Vec<Split>,
    /// Seeds of each cell of the section `rules`; the specification's figures are of five.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: Option<u64>,
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// The folder of learning.md, whose tables and pictures of the sections that are run are written anew. With `--rules`, `--splits` or
    /// `--seeds` nothing is.
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let part = !cli.rules.is_empty() || !cli.splits.is_empty() || cli.seeds.is_some();
    let only = if part && cli.only.is_empty() { vec!["rules".to_owned()] } else { cli.only };
    let choice = Choice {
        rules: or_all(cli.rules, || known_rules().into_iter().map(str::to_owned).collect()),
        splits: or_all(cli.splits, || Split::ALL.to_vec()),
        seeds: cli.seeds.unwrap_or(5),
    };
    for rule in &choice.rules {
        ensure!(known_rules().contains(&rule.as_str()), "--rules: '{rule}' is none of {}", known_rules().join(", "));
    }
    let mut sections = sections();
    let names: Vec<&str> = sections.iter().map(|section| section.name).collect();
    for name in &only {
        ensure!(names.contains(&name.as_str()), "--only: '{name}' is none of {}", names.join(", "));
    }
    sections.retain(|section| only.is_empty() || only.iter().any(|name| name == section.name));

    let sets: BTreeMap<String, _> =
        sections.iter().flat_map(|section| (section.data)(&choice)).map(|set| (set.name.clone(), set)).collect();
    let ground = Ground::start(cli.program, &sets.into_values().collect::<Vec<_>>())?;
    let (mut report, mut wrong) = (Map::new(), Vec::new());
    for section in sections {
        let found = (section.run)(&ground, &choice).with_context(|| format!("section {}", section.name))?;
        if !cli.json {
            println!("\n{}\n\n{}", section.name, found.text());
        }
        if let Some(docs) = cli.write.as_deref().filter(|_| !part) {
            write(docs, section.name, &found)?;
        }
        report.insert(section.name.to_owned(), found.json);
        wrong.extend(found.wrong);
    }
    if cli.json {
        println!("{}", Value::Object(report));
    }
    wrong.iter().for_each(|cell| eprintln!("not within two deviations of the specification's: {cell}"));
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn or_all<T>(chosen: Vec<T>, all: impl FnOnce() -> Vec<T>) -> Vec<T> {
    if chosen.is_empty() { all() } else { chosen }
}

fn write(docs: &Path, section: &str, found: &Findings) -> anyhow::Result<()> {
    write_between(&docs.join("learning.md"), section, &found.markdown())?;
    std::fs::create_dir_all(docs.join("learning"))?;
    found.figures.iter().try_for_each(|(file, figure)| figure.draw(&docs.join("learning").join(file)))
}
