//! What a quickstart prints: progress for people, or one JSON object.
#![allow(clippy::print_stdout, reason = "the command's result")]

use super::cast::Cast;
use crate::cli::QuickstartArgs;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub(crate) struct Outcome {
    pub(crate) accuracy: Option<f64>,
    pub(crate) rounds: u32,
    pub(crate) model: PathBuf,
    pub(crate) sha256: String,
}

pub(crate) struct Report {
    json: bool,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn say(&self, line: &str) {
        if !self.json {
            println!("{line}");
        }
    }

    /// A line a round, and one for whatever a person should know.
    pub(crate) fn event(&self, kind: &str, fields: &Value) {
        match kind {
            "round-closed" if fields["outcome"] == "complete" && fields["kind"] == "train" => {
                let loss = fields["metrics"]["loss"].as_f64().unwrap_or(f64::NAN);
                let (round, accepted) = (&fields["round"], &fields["accepted"]);
                let seconds = fields["seconds"].as_f64().unwrap_or_default();
                self.say(&format!("round {round:>3}  {accepted} updates  training loss {loss:.4}  {seconds:.2} s"));
            }
            "round-closed" if fields["outcome"] == "complete" => {
                let accuracy = 100.0 * fields["metrics"]["accuracy"].as_f64().unwrap_or(f64::NAN);
                self.say(&format!("           test accuracy {accuracy:.2} %"));
            }
            "round-closed" => self.say(&format!("round {} failed: {}", fields["round"], fields["reason"])),
            "task-failed" | "update-refused" => {
                self.say(&format!("{} {kind}: {}", fields["client"], fields["reason"]));
            }
            _ => {}
        }
    }

    pub(crate) fn result(&self, outcome: &Outcome, seconds: f64) {
        let Outcome { accuracy, rounds, model, sha256 } = outcome;
        if self.json {
            let object = json!({
                "accuracy": accuracy, "rounds": rounds, "seconds": seconds, "model": model, "sha256": sha256,
            });
            println!("{object}");
            return;
        }
        println!();
        println!("accuracy  {:.2} %", 100.0 * accuracy.unwrap_or(f64::NAN));
        println!("seconds   {seconds:.2}");
        println!("model     {}", model.display());
        println!("sha256    {sha256}");
    }

    pub(crate) fn kept(&self, cast: &Cast, dir: &Path) {
        self.say(&format!("\nThe federation keeps running; Ctrl-C ends it. Logs are in {}. Try:", dir.display()));
        self.say(&format!("  http://{}/console/ in a browser", cast.rest));
        self.say(&format!("  export NSFL_CTL_SERVER=http://{}", cast.rest));
        for what in ["get jobs default digits", "get clients", "get actors", "start job default digits"] {
            self.say(&format!("  cargo run --release -p nsfl-ctl -- {what}"));
        }
    }

    pub(crate) fn next_steps(&self, args: &QuickstartArgs) {
        let other = args.seed + 1;
        self.say("\nNext: the same federation, left running, to look into with nsfl-ctl:");
        self.say("  cargo run --release -- quickstart --keep");
        self.say(&format!("or another seed and more clients: quickstart --seed {other} --clients 8 --rounds 30"));
        self.say("Your own data and machines: README.md, \"A federation of your own\".");
    }
}
