//! `cargo xtask ci`: every check in order, each timed, all of them run even when one fails; the tests' closing line last.

use crate::{apt, console, example, layers, metadata, orphans, python, sim, tidy, torch};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Installed when cargo has no nextest.
const NEXTEST: &str = "0.9.143";
/// What the quickstart must reach on the digits it trains on.
const QUICKSTART_ACCURACY: f64 = 0.95;

/// `cargo xtask ci`.
pub(crate) fn run() -> Result<()> {
    let mut closing = None;
    let mut steps: Vec<(&str, Result<()>, Duration)> = Vec::new();
    let mut step = |name: &'static str, work: &mut dyn FnMut() -> Result<()>| {
        println!("\n==> {name}");
        let start = Instant::now();
        let done = work();
        if let Err(e) = &done {
            println!("{name} failed: {e:#}");
        }
        steps.push((name, done, start.elapsed()));
    };
    step("bubblewrap", &mut bubblewrap);
    step("format", &mut || cargo(&["fmt", "--all", "--check"]));
    step("layers", &mut layers::run);
    step("tidy", &mut tidy::run);
    step("clippy", &mut || cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]));
    step("build", &mut || cargo(&["build", "--workspace", "--all-targets", "--locked"]));
    step("tests", &mut || {
        let tests = tests(&[])?;
        closing = Some(tests.closing);
        tests.done
    });
    step("doctests", &mut || cargo(&["test", "--workspace", "--doc", "--locked", "--quiet"]));
    step("console", &mut console::in_ci);
    step("simulation", &mut sim::ci);
    step("torch", &mut torch::run);
    step("quickstart", &mut quickstart);
    step("python", &mut || python::environment().map(drop));
    step("python sdk", &mut || python::tests(&python::environment()?, &[]));
    step("examples", &mut example::in_ci);

    println!("\n==> summary");
    // a full disk shows in the strangest places
    let _ = Command::new("df").arg("-h").arg(metadata::root()).status();
    for (name, done, took) in &steps {
        println!("{:8.1} s  {}  {name}", took.as_secs_f64(), if done.is_ok() { "ok    " } else { "FAILED" });
    }
    let failed: Vec<&str> = steps.iter().filter(|(_, done, _)| done.is_err()).map(|(name, ..)| *name).collect();
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
    }
    println!("{}", closing.unwrap_or_else(|| "no test ran".to_owned()));
    if failed.is_empty() { Ok(()) } else { std::process::exit(1) }
}

/// `cargo xtask test`.
pub(crate) fn test(only: &[String]) -> Result<()> {
    // Integration tests start the programs; cargo does not build those for them. The whole workspace, as the tests
    // are built: the same artefacts.
    cargo(&["build", "--workspace", "--bins", "--locked"])?;
    let tests = tests(only)?;
    println!("{}", tests.closing);
    tests.done
}

struct Tests {
    /// The runner's own last words: how many ran, passed, failed.
    closing: String,
    done: Result<()>,
}

fn tests(only: &[String]) -> Result<Tests> {
    let (mut packages, filters) = selection(&metadata::load()?, only);
    if packages.is_empty() {
        packages.push("--workspace".to_owned());
    }
    let (mut args, with_nextest) = if have_nextest() {
        (vec!["nextest".to_owned(), "run".to_owned()], true)
    } else {
        (["test", "--all-targets", "--no-fail-fast"].map(str::to_owned).to_vec(), false)
    };
    args.push("--locked".to_owned());
    args.extend(packages);
    if !with_nextest && !filters.is_empty() {
        args.push("--".to_owned());
    }
    args.extend(filters);
    let before = orphans::now();
    let (lines, done) = echoed("cargo", &args)?;
    let done = done.and_then(|()| orphans::none_but(&before));
    let closing = if with_nextest { nextest_closing(&lines) } else { libtest_closing(&lines) };
    Ok(Tests { closing: closing.unwrap_or_else(|| "no test ran".to_owned()), done })
}

/// `--only` names packages, by name or folder, and parts of test names: `-p` arguments and filters.
fn selection(graph: &metadata::Graph, only: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut packages, mut filters) = (Vec::new(), Vec::new());
    for word in only {
        let named = |p: &metadata::Package| p.name == *word || p.folder.as_ref() == Some(word);
        match graph.members().find(|(_, p)| named(p)) {
            Some((_, package)) => packages.extend(["-p".to_owned(), package.name.clone()]),
            None => filters.push(word.clone()),
        }
    }
    (packages, filters)
}

/// For the tests of sandboxes, which are passed over without it.
fn bubblewrap() -> Result<()> {
    let works = || {
        let trial = ["--ro-bind", "/", "/", "--unshare-all", "true"];
        Command::new("bwrap").args(trial).output().is_ok_and(|o| o.status.success())
    };
    if works() {
        println!("bubblewrap works");
        return Ok(());
    }
    if !apt::install("bubblewrap") || !works() {
        println!("bubblewrap cannot be installed or does not work here: tests of sandboxes are skipped");
    }
    Ok(())
}

pub(crate) fn have_nextest() -> bool {
    let answers = || Command::new("cargo").args(["nextest", "--version"]).output().is_ok_and(|o| o.status.success());
    if answers() {
        return true;
    }
    println!("cargo-nextest is missing: cargo install cargo-nextest --locked --version {NEXTEST}");
    let installed = cargo(&["install", "cargo-nextest", "--locked", "--version", NEXTEST]).is_ok() && answers();
    if !installed {
        println!("cargo-nextest cannot be installed; cargo test runs the tests instead, without time limits");
    }
    installed
}

/// nextest closes with `Summary [ 1.2s] 12 tests run: 12 passed, 0 skipped`.
fn nextest_closing(lines: &[String]) -> Option<String> {
    lines.iter().rev().map(|l| l.trim()).find(|l| l.starts_with("Summary [")).map(str::to_owned)
}

/// cargo test closes each binary with `test result: ok. 3 passed; 0 failed; …`: summed.
fn libtest_closing(lines: &[String]) -> Option<String> {
    let results = lines.iter().filter(|l| l.starts_with("test result:"));
    let number = |line: &str, word: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let at = words.iter().position(|w| w.trim_end_matches(';') == word)?;
        words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
    };
    let sums = results.fold(None, |sums: Option<(u64, u64)>, line| {
        let (passed, failed) = sums.unwrap_or_default();
        Some((passed + number(line, "passed").unwrap_or(0), failed + number(line, "failed").unwrap_or(0)))
    });
    sums.map(|(passed, failed)| format!("{passed} passed, {failed} failed"))
}

/// What README tells a new user to type, checked by what it prints.
fn quickstart() -> Result<()> {
    let args = ["run", "--release", "--locked", "--", "quickstart", "--json"];
    let output = Command::new("cargo").args(args).current_dir(metadata::root()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{}", text.trim_end());
    ensure!(output.status.success(), "cargo {}: {}", args.join(" "), output.status);
    let accuracy = accuracy(&text).context("the quickstart printed no JSON object with a number 'accuracy'")?;
    ensure!(accuracy >= QUICKSTART_ACCURACY, "accuracy {accuracy}, at least {QUICKSTART_ACCURACY} expected");
    Ok(())
}

/// From a JSON object: the whole output, or its last line.
fn accuracy(text: &str) -> Option<f64> {
    let last = text.trim_end().lines().next_back()?;
    let object = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    object(text).or_else(|| object(last))?.get("accuracy")?.as_f64()
}

fn cargo(args: &[&str]) -> Result<()> {
    cargo_with(args, &[])
}

/// With these variables in its environment.
pub(crate) fn cargo_with(args: &[&str], environment: &[(&str, OsString)]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(args).envs(environment.iter().map(|(name, value)| (name, value))).current_dir(metadata::root());
    let status = command.status().context("cargo")?;
    if !status.success() {
        bail!("cargo {}: {status}", args.join(" "));
    }
    Ok(())
}

/// Runs a command and shows what it prints while keeping the lines.
fn echoed(program: &str, args: &[String]) -> Result<(Vec<String>, Result<()>)> {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(metadata::root())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| program.to_owned())?;
    let stderr = child.stderr.take().context("stderr is piped")?;
    let reader = std::thread::spawn(move || shown(BufReader::new(stderr)));
    let mut lines = shown(BufReader::new(child.stdout.take().context("stdout is piped")?));
    lines.extend(reader.join().map_err(|_| anyhow::anyhow!("the reader of stderr panicked"))?);
    let status = child.wait()?;
    let done = if status.success() { Ok(()) } else { Err(anyhow::anyhow!("{program} {}: {status}", args.join(" "))) };
    Ok((lines, done))
}

fn shown(mut reader: impl BufRead) -> Vec<String> {
    let (mut lines, mut bytes) = (Vec::new(), Vec::new());
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        println!("{line}");
        lines.push(line);
        bytes.clear();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Graph, Package};

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_closing_line_is_found_in_what_each_runner_prints() {
        let text = "------------\n     Summary [   0.011s] 3 tests run: 2 passed, 1 failed, 0 skipped\n        FAIL [   0.003s] x\nerror: test run failed";
        let closing = nextest_closing(&lines(text)).unwrap();
        assert_eq!(closing, "Summary [   0.011s] 3 tests run: 2 passed, 1 failed, 0 skipped");
        let text =
            "test result: ok. 3 passed; 0 failed; 0 ignored\nx\ntest result: FAILED. 4 passed; 2 failed; 1 ignored";
        assert_eq!(libtest_closing(&lines(text)).unwrap(), "7 passed, 2 failed");
        assert_eq!(nextest_closing(&lines("error: could not compile")), None);
        assert_eq!(libtest_closing(&lines("error: could not compile")), None);
    }

    #[test]
    fn a_selection_is_packages_by_name_or_folder_and_else_parts_of_test_names() {
        let package =
            Package { name: "nsfl-config".to_owned(), folder: Some("runtime/config".to_owned()), ..Package::default() };
        let graph = Graph { packages: vec![package] };
        let only = ["runtime/config", "nsfl-config", "restart"].map(str::to_owned);
        let (packages, filters) = selection(&graph, &only);
        assert_eq!(packages, ["-p", "nsfl-config", "-p", "nsfl-config"]);
        assert_eq!(filters, ["restart"]);
    }

    #[test]
    fn the_accuracy_is_read_from_the_whole_output_or_its_last_line() {
        assert_eq!(accuracy("{\n \"accuracy\": 0.97\n}\n"), Some(0.97));
        assert_eq!(accuracy("round 1\n{\"accuracy\": 0.5}\n"), Some(0.5));
        assert_eq!(accuracy("{\"accuracy\": \"high\"}"), None);
        assert_eq!(accuracy(""), None);
    }
}
