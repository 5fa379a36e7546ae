//! `describe job` and `logs job`: what a job does and why its clients failed, with all that is known of it.

use crate::cli::{DescribeJob, LogsJob};
use crate::document::job_id;
use crate::fault::Fault;
use crate::job::job_path;
use crate::print::{number, or_dash, result, structured, table};
use crate::rest::Rest;
use crate::sse;
use nsfl_rest_model::{Awaited, Event, Events, Job, JobMetrics, Measured, Member, Round, RoundDetail, Rounds};
use nsfl_types::{Cause, TaskKind};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

/// Rounds with failures that are shown when none is asked for.
const ROUNDS: usize = 3;

pub(crate) fn job(rest: &Rest, args: &DescribeJob) -> Result<(), Fault> {
    let path = job_path(&args.job.namespace, &job_id(&args.job)?);
    let job: Job = rest.get(&path)?;
    let mut rounds = BTreeSet::new();
    match args.round {
        Some(round) => rounds.extend([round]),
        None => {
            rounds.extend(rest.get::<Rounds>(&format!("{path}/rounds"))?.rounds.iter().map(|round| round.round).max());
            let failed: BTreeSet<u32> = job.failures.iter().map(|failure| failure.round).collect();
            rounds.extend(failed.into_iter().rev().take(ROUNDS));
        }
    }
    let rounds = rounds.iter().map(|round| detail(rest, &path, *round)).collect::<Result<Vec<_>, _>>()?;
    let metrics: JobMetrics = rest.get(&format!("{path}/metrics"))?;
    match args.output {
        Some(output) => result(&structured(&json!({"job": job, "rounds": rounds}), output)?),
        None => result(&described(&job, &metrics, &rounds)),
    }
}

/// Of each failed task what its script printed last, the oldest first; with `--follow` also of those to come.
pub(crate) fn logs(rest: &Rest, args: &LogsJob) -> Result<(), Fault> {
    let path = job_path(&args.job.namespace, &job_id(&args.job)?);
    let after = rest.get::<Events>(&format!("{path}/events?limit=0"))?.last;
    let numbers: BTreeSet<u32> = match args.round {
        Some(round) => [round].into(),
        None => rest.get::<Rounds>(&format!("{path}/rounds"))?.rounds.iter().map(|round| round.round).collect(),
    };
    for number in numbers {
        let round = detail(rest, &path, number)?;
        result(&failures_of_rounds(&round, |_| true))?;
        for member in round.members.iter().filter(|member| wanted(args, member)) {
            result(&printed(number, member))?;
        }
    }
    if args.follow { follow(rest, args, &path, after) } else { Ok(()) }
}

/// Pause before a stream that broke is taken up again.
const PAUSE: Duration = Duration::from_millis(500);

fn follow(rest: &Rest, args: &LogsJob, path: &str, mut after: u64) -> Result<(), Fault> {
    loop {
        let mut stream = rest.stream(&format!("{path}/events?after={after}&until_end=true"), None)?;
        // A stream that breaks is taken up again.
        while let Ok(Some(sent)) = sse::next(&mut stream) {
            if sent.kind == "end" {
                return Ok(());
            }
            after = after.max(sent.id.unwrap_or_default());
            let of_round = sent.kind == "round-closed";
            if !of_round && !matches!(sent.kind.as_str(), "task-failed" | "update-refused") {
                continue;
            }
            let Ok(event) = serde_json::from_str::<Event>(&sent.data) else { continue };
            let field = |name: &str| event.fields[name].as_u64().and_then(|number| u32::try_from(number).ok());
            let (Some(round), Some(attempt)) = (field("round"), field("attempt")) else { continue };
            if args.round.is_some_and(|asked| asked != round) {
                continue;
            }
            if of_round {
                if event.fields["outcome"] == "failed" {
                    let this = |of: &Round| of.attempt == attempt && event.fields["kind"] == json!(of.kind);
                    result(&failures_of_rounds(&detail(rest, path, round)?, this))?;
                }
                continue;
            }
            let of = |member: &&Member| {
                event.fields["client"] == member.client.as_str()
                    && member.attempt == attempt
                    && event.fields["kind"] == json!(member.kind)
            };
            for member in detail(rest, path, round)?.members.iter().filter(of).filter(|member| wanted(args, member)) {
                result(&printed(round, member))?;
            }
        }
        std::thread::sleep(PAUSE);
    }
}

fn detail(rest: &Rest, path: &str, round: u32) -> Result<RoundDetail, Fault> {
    rest.get(&format!("{path}/rounds/{round}"))
}

fn wanted(args: &LogsJob, member: &Member) -> bool {
    let failed = matches!(member.state.as_str(), "failed" | "refused");
    failed && args.client.as_ref().is_none_or(|client| client == member.client.as_str())
}

fn kind(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Train => "train",
        TaskKind::Evaluate => "evaluate",
    }
}

/// `==> round 3 train, attempt 2, client c1: reason (code)`, then all that is known.
fn printed(round: u32, member: &Member) -> String {
    let why = format!("{} ({})", member.reason, or_dash(member.code.as_ref()));
    let head = format!("round {round} {}, attempt {}, client {}", kind(member.kind), member.attempt, member.client);
    format!("==> {head}: {why}\n{}", caused(member.cause.as_ref(), ""))
}

/// Of those attempts that failed on the server: what the job's extender has printed, and its traceback.
fn failures_of_rounds(round: &RoundDetail, wanted: impl Fn(&Round) -> bool) -> String {
    let failed = round.attempts.iter().filter(|attempt| attempt.cause.is_some() && wanted(attempt));
    let text = |attempt: &Round| {
        let head = format!("round {} {}, attempt {}", attempt.round, kind(attempt.kind), attempt.attempt);
        format!("==> {head}: {}\n{}", attempt.reason, caused(attempt.cause.as_ref(), ""))
    };
    failed.map(text).collect()
}

fn described(job: &Job, metrics: &JobMetrics, rounds: &[RoundDetail]) -> String {
    let mut text = String::new();
    let state = match job.status.reason.as_str() {
        "" => job.status.state.to_string(),
        reason => format!("{}: {reason}", job.status.state),
    };
    let facts = [
        ("Job", format!("{}/{}", job.namespace, job.id())),
        ("Author", job.author.clone()),
        ("State", state),
        ("Progress", format!("{}%", job.status.progress)),
        ("Created", job.create_time.to_string()),
        ("Started", or_dash(job.start_time)),
        ("Run", job.run.to_string()),
        (
            "Checkpoints",
            or_dash(Some(job.checkpoints.keys().cloned().collect::<Vec<_>>().join(", ")).filter(|t| !t.is_empty())),
        ),
    ];
    for (name, value) in facts.into_iter().chain(traffic(metrics).map(|text| ("Traffic", text))) {
        writeln!(text, "{name:<12} {value}").expect("writing to a string cannot fail");
    }
    for awaited in &job.awaited {
        writeln!(text, "{:<12} {}", "Awaited", awaiting(awaited)).expect("writing to a string cannot fail");
    }
    for round in rounds {
        text += &described_round(round);
    }
    text
}

/// What was sent of updates and models, where they are compressed, and what that saved.
fn traffic(metrics: &JobMetrics) -> Option<String> {
    let sum = |suffix: &str| -> f64 {
        let series = ["update_bytes", "model_bytes"].map(|name| format!("{name}{suffix}"));
        let all = [&metrics.train, &metrics.evaluate];
        all.iter().flat_map(|by_name| series.iter().filter_map(|name| by_name.get(name))).flatten().flatten().sum()
    };
    let (sent, saved) = (sum(""), sum("_saved"));
    let mb = |bytes: f64| format!("{:.3} MB", bytes / 1e6);
    let share = saved / (sent + saved) * 100.0;
    (sent > 0.0).then(|| format!("{} sent, {} saved by compression ({share:.1} %)", mb(sent), mb(saved)))
}

fn awaiting(awaited: &Awaited) -> String {
    let done = awaited.done.map(|done| format!(" {:.0}%", done * 100.0)).unwrap_or_default();
    let message = if awaited.message.is_empty() { String::new() } else { format!(" ({})", awaited.message) };
    format!("{}{done}{message}", awaited.client)
}

fn described_round(round: &RoundDetail) -> String {
    let mut text = String::new();
    for attempt in &round.attempts {
        let why = if attempt.reason.is_empty() { String::new() } else { format!(": {}", attempt.reason) };
        let name = format!("Round {} {}, attempt {}", attempt.round, kind(attempt.kind), attempt.attempt);
        let counts = format!("{} of {} clients", attempt.accepted, attempt.cohort);
        text += &format!("\n{name}  {}{why}  {counts}  {}\n", attempt.state, measured(&attempt.metrics));
        text += &caused(attempt.cause.as_ref(), "  ");
        let here = |member: &&Member| {
            let own = (member.round, member.attempt, member.kind) == (attempt.round, attempt.attempt, attempt.kind);
            let counted = attempt.state == "complete" && member.counted == Some(attempt.round);
            own || (counted && member.kind == attempt.kind)
        };
        let members: Vec<&Member> = round.members.iter().filter(here).collect();
        let row = |member: &&Member| {
            [
                format!("  {}", member.client),
                standing(member, attempt.round),
                member.version.to_string(),
                or_dash(member.staleness),
                or_dash(member.code.as_ref()),
                or_dash(Some(member.reason.clone()).filter(|reason| !reason.is_empty())),
                measured(&member.metrics),
            ]
        };
        text +=
            &table(["  CLIENT", "STATE", "MODEL", "STALENESS", "CODE", "REASON", "METRICS"], members.iter().map(row));
        for member in members.iter().filter(|member| member.cause.is_some()) {
            text += &format!("  {}:\n{}", member.client, caused(member.cause.as_ref(), "    "));
        }
    }
    text
}

/// How a member stands, and in which other round its update counts.
fn standing(member: &Member, round: u32) -> String {
    match member.counted.filter(|counted| *counted != round) {
        Some(counted) => format!("{}, in round {counted}", member.state),
        None => member.state.clone(),
    }
}

fn measured(metrics: &Measured) -> String {
    metrics.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect::<Vec<_>>().join(" ")
}

/// How it ended, the limit it met, its traceback, its last lines.
fn caused(cause: Option<&Cause>, indent: &str) -> String {
    let Some(cause) = cause else { return String::new() };
    let mut lines = Vec::new();
    lines.extend(cause.worker.map(|worker| format!("worker {worker}")));
    lines.extend(cause.exit.as_ref().map(|exit| format!("ended with {exit}")));
    lines.extend(cause.limit.as_ref().map(|limit| format!("met its limit: {limit}")));
    lines.extend(cause.traceback.iter().flat_map(|text| text.trim_end().lines()).map(str::to_owned));
    if !cause.log.trim().is_empty() {
        lines.push("last lines:".to_owned());
        lines.extend(cause.log.trim_end().lines().map(|line| format!("  {line}")));
    }
    lines.into_iter().map(|line| format!("{indent}{}\n", plain(&line))).collect()
}

/// A client's words must not move the cursor of whoever reads them.
fn plain(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round() -> RoundDetail {
        serde_json::from_value(json!({
            "run": 1,
            "attempts": [{"round": 2, "attempt": 1, "kind": "train", "state": "complete", "reason": "",
                "opened": "2026-01-02T03:04:05Z", "closed": null, "cohort": 2, "accepted": 1, "metrics": {"loss": 0.5},
                "model": null}],
            "members": [
                {"client": "c1", "round": 2, "attempt": 1, "version": 1, "kind": "train", "state": "accepted",
                    "metrics": {"loss": 0.5}, "reason": "", "at": "2026-01-02T03:04:05Z"},
                {"client": "c4", "round": 1, "attempt": 1, "version": 0, "kind": "train", "state": "accepted",
                    "counted": 2, "staleness": 1, "metrics": {"loss": 0.75}, "reason": "", "at": "2026-01-02T03:04:05Z"},
                {"client": "c2", "round": 2, "attempt": 1, "version": 1, "kind": "train", "state": "failed", "metrics": {},
                    "code": "script-exception", "reason": "ValueError: no data", "at": "2026-01-02T03:04:05Z",
                    "cause": {"exit": "exit code 1", "limit": "memory 512 MB", "worker": 1,
                        "traceback": "Traceback (most recent call last):\n  File \"train.py\", line 3\nValueError: no data\n",
                        "log": "epoch 1\u{1b}[2J\n"}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_job_is_described_with_who_failed_and_why() {
        let job: Job = serde_json::from_value(json!({
            "id": "digits", "namespace": "default", "create_time": "2026-01-02T03:04:05Z", "start_time": null, "run": 1,
            "status": {"state": "RUNNING", "reason": "", "progress": 50}, "checkpoints": {}, "author": "ada",
            "awaited": [{"client": "c3", "done": 0.4, "message": "epoch 2", "metrics": {}, "at": null}],
        }))
        .unwrap();
        let metrics: JobMetrics = serde_json::from_value(json!({
            "run": 1, "rounds": [1, 2], "evaluate": {"accuracy": [null, 0.5]},
            "train": {"update_bytes": [1000.0, 1000.0], "update_bytes_saved": [3000.0, 3000.0],
                "model_bytes": [2000.0, null], "model_bytes_saved": [2000.0, null]},
        }))
        .unwrap();
        insta::assert_snapshot!(described(&job, &metrics, &[round()]));
    }

    #[test]
    fn a_log_is_told_with_its_task_and_moves_no_cursor() {
        let round = round();
        let text = printed(2, &round.members[2]);
        assert!(text.starts_with("==> round 2 train, attempt 1, client c2: ValueError: no data (script-exception)\n"));
        assert!(text.contains("epoch 1") && !text.contains('\u{1b}'), "{text}");
    }
}
