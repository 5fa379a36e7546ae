//! House rules that no compiler checks: what every file opens with, how long it may be, what must not stand in it,
//! and that ARCHITECTURE.md names every crate. It reads what git tracks or would track.

use crate::metadata::{self, Graph};
use anyhow::{Context, Result, bail};
use std::process::Command;

const MAX_CODE_LINES: usize = 500;
const MAX_MEDIAN: usize = 120;
const MAX_ARCHITECTURE_LINES: usize = 250;

/// `cargo xtask tidy`.
pub(crate) fn run() -> Result<()> {
    let files = files()?;
    let graph = metadata::load()?;
    let mut findings: Vec<String> = files.iter().flat_map(|(path, text)| text_findings(path, text)).collect();
    findings.extend(length_findings(&files));
    findings.extend(name_findings(&graph));
    let architecture = files.iter().find(|(path, _)| path == "ARCHITECTURE.md").map(|(_, text)| text.as_str());
    findings.extend(architecture_findings(architecture, &graph));
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} things to tidy", findings.len());
    }
    for (path, reason) in files.iter().flat_map(|(path, text)| passed_over(path, text)) {
        println!("not among the tests that run by themselves: {path}: {reason}");
    }
    println!("tidy: {} files", files.len());
    Ok(())
}

/// Path from the root and text of every text file that is tracked, or untracked and not ignored.
fn files() -> Result<Vec<(String, String)>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(metadata::root())
        .output()
        .context("git ls-files")?;
    if !listed.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim());
    }
    let names = String::from_utf8(listed.stdout).context("a file name is not UTF-8")?;
    let mut files = Vec::new();
    for name in names.split('\0').filter(|n| !n.is_empty() && *n != "Cargo.lock") {
        let Ok(bytes) = std::fs::read(metadata::root().join(name)) else { continue }; // deleted, not yet committed
        if let Ok(text) = String::from_utf8(bytes) {
            files.push((name.to_owned(), text));
        }
    }
    Ok(files)
}

/// Why tests of this file are ignored, each with its place.
fn passed_over(path: &str, text: &str) -> Vec<(String, String)> {
    let reason = |line: &str| Some(line.trim().strip_prefix("#[ignore = \"")?.strip_suffix("\"]")?.to_owned());
    let lines = text.lines().enumerate().filter(|_| is_rust(path));
    lines.filter_map(|(number, line)| Some((format!("{path}:{}", number + 1), reason(line)?))).collect()
}

/// What must or must not stand in one file.
fn text_findings(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if is_rust(path) {
        if !text.starts_with("//!") {
            findings.push(format!("{path}:1: does not open with //!: what is it for, and what is it not?"));
        }
        for mark in [concat!("to", "do!"), concat!("unimplemen", "ted!"), concat!("FIX", "ME")] {
            let at = text.lines().position(|line| line.contains(mark));
            findings.extend(at.map(|line| format!("{path}:{}: {mark}: finish it", line + 1)));
        }
        let lines = code_lines(text);
        if lines > MAX_CODE_LINES {
            findings.push(format!("{path}: {lines} lines of code, at most {MAX_CODE_LINES}: split it"));
        }
    }
    let at = text.lines().position(has_machine_path);
    findings.extend(at.map(|line| format!("{path}:{}: a path of one machine", line + 1)));
    findings
}

fn length_findings(files: &[(String, String)]) -> Option<String> {
    let mut lengths: Vec<usize> =
        files.iter().filter(|(path, _)| is_rust(path)).map(|(_, text)| code_lines(text)).collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or(0);
    (median > MAX_MEDIAN).then(|| format!("the median file has {median} lines of code, at most {MAX_MEDIAN}"))
}

/// `lib/types` holds `nsfl-types`, `bin/nsfl-node` holds `nsfl-node`.
fn name_findings(graph: &Graph) -> Vec<String> {
    let expected = |folder: &str| match folder.rsplit('/').next().unwrap_or(folder) {
        "xtask" => "xtask".to_owned(),
        name if name.starts_with("nsfl-") => name.to_owned(),
        name => format!("nsfl-{name}"),
    };
    let of = |folder: &str, name: &str| {
        let expected = expected(folder);
        (expected != name).then(|| format!("{folder}: holds crate {name}, should be {expected}"))
    };
    graph.members().filter_map(|(_, p)| of(p.folder.as_deref()?, &p.name)).collect()
}

/// ARCHITECTURE.md is short, and its section "Code map" has a line for each crate: its folder or its name.
fn architecture_findings(text: Option<&str>, graph: &Graph) -> Vec<String> {
    let Some(text) = text else { return vec!["ARCHITECTURE.md: is missing".to_owned()] };
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_ARCHITECTURE_LINES {
        findings.push(format!("ARCHITECTURE.md: {lines} lines, at most {MAX_ARCHITECTURE_LINES}"));
    }
    let is_heading = |line: &str| line.starts_with('#');
    let map: Vec<&str> = text
        .lines()
        .skip_while(|line| !(is_heading(line) && line.to_ascii_lowercase().contains("code map")))
        .skip(1)
        .take_while(|line| !is_heading(line))
        .collect();
    for (_, package) in graph.members() {
        let folder = package.folder.as_deref().unwrap_or_default();
        if !map.iter().any(|line| has_word(line, folder) || has_word(line, &package.name)) {
            findings.push(format!("ARCHITECTURE.md: its code map has no line for {folder} ({})", package.name));
        }
    }
    findings
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

/// Lines that are neither blank nor a comment alone.
fn code_lines(text: &str) -> usize {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

/// A folder that exists on a developer's machine only.
fn has_machine_path(line: &str) -> bool {
    const FOLDERS: [&str; 5] = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/fa", "rm/"),
        concat!("/Us", "ers/"),
    ];
    FOLDERS.iter().any(|folder| {
        line.match_indices(folder).any(|(at, _)| {
            !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '}' | '*'))
        })
    })
}

/// `word` stands in `line`, and not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

#[cfg(test)]
mod tests;
