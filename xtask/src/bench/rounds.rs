//! `bench rounds`: an echo job for each size of model and number of clients, each on a federation of its own.

use super::RoundsArgs;
use super::federation::{Federation, Settings};
use super::report::{self, Figures};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) fn run(args: &RoundsArgs) -> Result<()> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => super::node()?,
    };
    let dir =
        args.dir.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("nsfl-bench-{}", std::process::id())));
    ensure!(!dir.exists(), "{} is there already", dir.display());
    if !args.json {
        report::head();
    }
    for &size_mb in &args.models {
        for &clients in &args.clients {
            let measured = measured(&program, &dir, size_mb, clients, args.rounds, &[])?;
            if args.json { report::json(&measured) } else { report::line(&measured) }
        }
    }
    Ok(())
}

/// Rounds in a folder that is there for them alone, with variables in every node's environment.
pub(super) fn measured(
    program: &Path,
    dir: &Path,
    size_mb: f64,
    clients: u32,
    rounds: u32,
    environment: &[(&'static str, OsString)],
) -> Result<Figures> {
    std::fs::create_dir_all(dir)?;
    let settings =
        Settings { environment: environment.to_vec(), clients: (0..clients).map(|_| String::new()).collect() };
    let figures = measure(&Federation::start(program, dir, &settings)?, size_mb, clients, rounds);
    // What failed stays, to be looked into.
    let figures = figures.with_context(|| format!("logs are in {}", dir.display()))?;
    std::fs::remove_dir_all(dir)?;
    Ok(figures)
}

fn measure(federation: &Federation, size_mb: f64, clients: u32, rounds: u32) -> Result<Figures> {
    let server_idle = settled(|| Ok(federation.server_memory()?.resident))?;
    let client_idle = settled(|| Ok(federation.client_memory()?.resident))?;
    submit(federation, size_mb, clients, rounds)?;
    let mut closed = Vec::new();
    follow(federation, |kind, fields| {
        match kind {
            "round-closed" if fields["outcome"] == "complete" => {
                let seconds = fields["seconds"].as_f64().unwrap_or(f64::NAN);
                closed.push(Closed { seconds, at: Instant::now(), cpu: federation.cpu_seconds() });
            }
            "round-closed" => bail!("round {} failed: {}", fields["round"], fields["reason"]),
            "task-failed" | "update-refused" => bail!("{} {kind}: {}", fields["client"], fields["reason"]),
            _ => {}
        }
        Ok(())
    })?;
    let [first, .., last] = &closed[..] else { bail!("{} of {rounds} rounds were closed", closed.len()) };
    ensure!(closed.len() == rounds as usize, "{} of {rounds} rounds were closed", closed.len());
    let after_first = f64::from(rounds - 1);
    Ok(Figures {
        size_mb,
        clients,
        rounds,
        seconds: closed.iter().skip(1).map(|c| c.seconds).collect(),
        between: closed.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect(),
        server_cpu_seconds: (last.cpu.0 - first.cpu.0) / after_first,
        clients_cpu_seconds: (last.cpu.1 - first.cpu.1) / after_first,
        server_peak_bytes: federation.server_memory()?.peak,
        client_peak_bytes: federation.client_memory()?.peak,
        moved_bytes: federation.bytes_moved()? / u64::from(rounds),
        server_idle_bytes: server_idle,
        client_idle_bytes: client_idle,
        registered_seconds: federation.registered_seconds,
    })
}

/// A round's end: its own length, when it was heard of, processor seconds of server and clients until then.
struct Closed {
    seconds: f64,
    at: Instant,
    cpu: (f64, f64),
}

/// The figure once it has not changed for half a second, or after five.
fn settled(figure: impl Fn() -> Result<u64>) -> Result<u64> {
    let (mut last, mut same) = (figure()?, 0);
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(100));
        let now = figure()?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        if same == 5 {
            break;
        }
    }
    Ok(last)
}

fn submit(federation: &Federation, size_mb: f64, clients: u32, rounds: u32) -> Result<()> {
    let job = json!({
        "id": "echo", "description": "bench", "runtime": "builtin", "task_entry": "echo", "output": "/echo",
        "parameters": {"size_mb": size_mb, "seed": 7},
        "hyper_parameters": {
            "max_round_num": rounds, "client_num": clients, "threshold_client_num": clients,
            "evaluate_interval": 0, "save_interval": 0, "round_timeout": 600,
        },
    });
    let mut answer = federation.agent.post(format!("{}/namespaces/default/jobs", federation.api)).send_json(job)?;
    ensure!(answer.status() == 201, "the job was refused: {}", answer.body_mut().read_to_string()?);
    Ok(())
}

/// Reads the job's events to its end.
fn follow(federation: &Federation, mut event: impl FnMut(&str, &Value) -> Result<()>) -> Result<()> {
    let url = format!("{}/namespaces/default/jobs/echo/events?after=0&until_end=true", federation.api);
    let mut answer = federation.agent.get(url).header("accept", "text/event-stream").call()?;
    ensure!(answer.status() == 200, "events cannot be followed: {}", answer.body_mut().read_to_string()?);
    let mut kind = String::new();
    for line in BufReader::new(answer.body_mut().as_reader().take(u64::MAX)).lines() {
        let line = line?;
        if let Some(name) = line.strip_prefix("event: ") {
            name.clone_into(&mut kind);
        } else if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data)?;
            ensure!(kind != "end" || data["state"] == "FINISHED", "the job is {}", data["state"]);
            event(&kind, &data["fields"])?;
        }
    }
    Ok(())
}
