//! `quickstart`: one server and some clients, as processes with real certificates on loopback, train a classifier
//! of handwritten digits. It uses the public face only: configuration files, REST, the event stream.

mod cast;
mod job;
mod report;

use crate::cli::QuickstartArgs;
use anyhow::Context as _;
use cast::Cast;
use report::Report;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(crate) fn main(args: &QuickstartArgs) -> anyhow::Result<()> {
    let began = Instant::now();
    let dir = folder(args)?;
    let report = Report::new(args.json);
    report.say(&format!("folder {}", dir.display()));
    let mut cast = Cast::start(args, &dir, &report)?;
    let outcome = job::run(args, &cast, &dir, &report)?;
    let seconds = began.elapsed().as_secs_f64();
    report.result(&outcome, seconds);
    if args.keep {
        cast.wait_for_interrupt(|| report.kept(&cast, &dir))?;
    }
    cast.stop()?;
    if !args.keep {
        tidy(&dir);
        report.next_steps(args);
    }
    Ok(())
}

fn folder(args: &QuickstartArgs) -> anyhow::Result<PathBuf> {
    let dir = match &args.dir {
        Some(dir) => std::path::absolute(dir)?,
        None => std::env::temp_dir().join(format!("nsfl-quickstart-{}", std::process::id())),
    };
    if dir.join("pki").exists() {
        anyhow::bail!("{} holds an earlier quickstart: give another --dir or remove it", dir.display());
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Keeps logs and output, removes what only the processes needed.
fn tidy(dir: &Path) {
    for part in ["pki", "data", "server/blobs", "server/scratch"] {
        if let Err(error) = std::fs::remove_dir_all(dir.join(part)) {
            tracing::debug!(part, %error, "not removed");
        }
    }
}
