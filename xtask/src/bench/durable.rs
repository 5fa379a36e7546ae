//! `bench durable`: what fsync costs a round. The same rounds with and without it, by turns, so that whatever else the machine
//! does meets both.

use super::report::spread;
use super::{DurableArgs, rounds};
use anyhow::Result;
use serde_json::json;
use std::ffi::OsString;

pub(crate) fn run(args: &DurableArgs) -> Result<()> {
    let program = super::node()?;
    let dir = std::env::temp_dir().join(format!("nsfl-bench-{}", std::process::id()));
    println!("seconds a round from close to close after the first: median with fsync, without, ratio");
    for &size_mb in &args.models {
        for &clients in &args.clients {
            let (mut with, mut without) = (Vec::new(), Vec::new());
            for _ in 0..args.turns {
                for (fsync, times) in [("true", &mut with), ("false", &mut without)] {
                    let environment = [("NSFL_STORE__FSYNC", OsString::from(fsync))];
                    let figures = rounds::measured(&program, &dir, size_mb, clients, args.rounds, &environment)?;
                    times.extend(figures.between);
                }
            }
            let (with, without) = (spread(&with)[0], spread(&without)[0]);
            let ratio = with / without;
            if args.json {
                println!(
                    "{}",
                    json!({"model_mb": size_mb, "clients": clients, "fsync_seconds": with, "seconds": without, "ratio": ratio})
                );
            } else {
                println!("{size_mb:>6} MB × {clients:>3} clients | {with:>7.3} {without:>7.3} | {ratio:>5.2}");
            }
        }
    }
    Ok(())
}
