//! Submits the job by REST, follows its events, and says how it ended.

use super::cast::Cast;
use super::report::{Outcome, Report};
use crate::cli::QuickstartArgs;
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

pub(crate) const JOB: &str = "digits";

pub(crate) fn run(args: &QuickstartArgs, cast: &Cast, dir: &Path, report: &Report) -> anyhow::Result<Outcome> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let jobs = format!("http://{}/api/v1/namespaces/default/jobs", cast.rest);
    let mut answer = agent.post(&jobs).send_json(document(args))?;
    if answer.status() != 201 {
        bail!("the job was refused: {}", answer.body_mut().read_to_string()?);
    }
    report.say(&format!("job '{JOB}' submitted: {} rounds, {} clients", args.rounds, args.clients));
    follow(&agent, &format!("{jobs}/{JOB}/events?after=0&until_end=true"), report)?;

    let job: Value = agent.get(format!("{jobs}/{JOB}")).call()?.body_mut().read_json()?;
    if job["status"]["state"] != "FINISHED" {
        bail!("the job is {}: {}", job["status"]["state"], job["status"]["reason"].as_str().unwrap_or_default());
    }
    let id = format!("V1-{}", args.rounds);
    let checkpoint = &job["checkpoints"][&id];
    let path = checkpoint["path"].as_str().with_context(|| format!("the job has no checkpoint {id}"))?;
    let model = dir.join("server/storage/default").join(path);
    let bytes = std::fs::read(&model).with_context(|| format!("cannot read the model {}", model.display()))?;
    Ok(Outcome {
        accuracy: checkpoint["accuracy"].as_f64(),
        rounds: args.rounds,
        sha256: Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect(),
        model,
    })
}

/// The same document as `conf/jobs/digits.json`, with the numbers asked for.
fn document(args: &QuickstartArgs) -> Value {
    let mut job: Value = serde_json::from_str(include_str!("../../../../conf/jobs/digits.json"))
        .expect("the sample is parsed by a test");
    job["id"] = json!(JOB);
    job["hyper_parameters"]["max_round_num"] = json!(args.rounds);
    job["hyper_parameters"]["client_num"] = json!(args.clients);
    job["hyper_parameters"]["threshold_client_num"] = json!(args.clients);
    job["parameters"]["seed"] = json!(args.seed);
    job
}

/// Reads the stream of server-sent events to its end.
fn follow(agent: &ureq::Agent, url: &str, report: &Report) -> anyhow::Result<()> {
    let mut answer = agent.get(url).header("accept", "text/event-stream").call()?;
    if answer.status() != 200 {
        bail!("events cannot be followed: {}", answer.body_mut().read_to_string()?);
    }
    let body = answer.body_mut().as_reader().take(u64::MAX);
    let (mut kind, mut data) = (String::new(), String::new());
    for line in BufReader::new(body).lines() {
        let line = line?;
        if let Some(name) = line.strip_prefix("event:") {
            name.trim().clone_into(&mut kind);
        } else if let Some(text) = line.strip_prefix("data:") {
            data.push_str(text.trim_start());
        } else if line.is_empty() && !data.is_empty() {
            let event: Value = serde_json::from_str(&data)?;
            report.event(&kind, &event["fields"]);
            kind.clear();
            data.clear();
        }
    }
    Ok(())
}
