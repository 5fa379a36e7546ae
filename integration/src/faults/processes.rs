//! Rows that fail a process: at a fault point inside it, or its trainer from outside.

use super::scripted::{self, start};
use super::story::Story;
use super::{Ground, Outcome, Row};
use crate::{FREEZE, Fate, Federation, Options, Place, Signal, digits_job};
use anyhow::{Context, ensure};
use serde_json::{Value, json};

const HOUR_MS: i64 = 3_600_000;

/// The points of the server, with the step of the workflow each belongs to.
const SERVER: &[(u8, &str, &[&str])] = &[
    (1, "api-server/create", &["begin", "before-reply"]),
    (2, "scheduler/QUEUING", COMMIT),
    (3, "scheduler/STARTING", COMMIT),
    (4, "scheduler/RUNNING", COMMIT),
    (4, "coordinator/begin", COMMIT),
    (4, "coordinator/ModelReady", STEP),
    (5, "selector/Register", BEGIN),
    (5, "selector/Select", BEGIN),
    (6, "coordinator/CohortSelected", STEP),
    (6, "gateway/Run", &["begin", "after-grant"]),
    (7, "coordinator/TaskStarted", STEP),
    (9, "session/message", BEGIN),
    (9, "aggregator/check", &["after-retain"]),
    (9, "coordinator/UpdateStored", STEP),
    (10, "aggregator/aggregate", &["model-stored"]),
    (10, "coordinator/Aggregated", STEP),
    (10, "coordinator/CheckpointSaved", STEP),
    (10, "gateway/Ack", BEGIN),
    (10, "scheduler/FINISHED", COMMIT),
];
/// The points of a client.
const CLIENT: &[(u8, &str, &[&str])] = &[
    (6, "uplink/Event", BEGIN),
    (6, "task-manager/order", &["before-record", "after-record"]),
    (7, "executor/Fetching", RECORD),
    (8, "executor/Running", RECORD),
    (8, "executor/delta", COMMIT),
    (9, "executor/Offering", RECORD),
    (9, "uplink/Report", BEGIN),
    (9, "executor/Ended", RECORD),
];
/// The points of the server that only a job of scripts with an extender comes by.
const SCRIPTED: &[(u8, &str, &[&str])] =
    &[(4, "coordinator/Packed", STEP), (6, "coordinator/Broadcast", STEP), (10, "coordinator/Extended", STEP)];
/// Those of its clients that matter for what scripts keep.
const KEEPING: &[(u8, &str, &[&str])] =
    &[(8, "executor/Running", RECORD), (9, "executor/Offering", RECORD), (10, "executor/Ended", RECORD)];
/// Those of the server that only a job whose rule keeps a state comes by.
const STATEFUL: &[(u8, &str, &[&str])] = &[(10, "aggregator/aggregate", &["model-stored", "state-stored"])];
const BEGIN: &[&str] = &["begin"];
const COMMIT: &[&str] = &["before-commit", "after-commit"];
const STEP: &[&str] = &["before-commit", "after-commit", "after-effects"];
const RECORD: &[&str] = &["before-record", "after-record", "after-effects"];

/// A second fault while the first is being recovered from.
const TWICE: [(Place, &str, &str); 6] = [
    (Place::Server, "coordinator/UpdateStored/before-commit", "coordinator/resume/before-commit"),
    (Place::Server, "coordinator/UpdateStored/after-commit", "coordinator/resume/after-commit"),
    (Place::Server, "coordinator/Aggregated/before-commit", "aggregator/aggregate/model-stored"),
    (Place::Server, "coordinator/CheckpointSaved/after-commit", "coordinator/CohortSelected/after-commit"),
    (Place::Client(1), "executor/Running/after-effects", "executor/Running/after-record"),
    (Place::Client(1), "executor/Offering/after-record", "executor/Offering/after-effects"),
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (group, place, points) in
        [("server", Place::Server, points(SERVER)), ("client", Place::Client(1), points(CLIENT))]
    {
        for (step, point) in &points {
            for how in ["kill", "stop", "panic"] {
                rows.push(row(group, *step, point, how, move |fault| Plan::new(place, fault)));
            }
        }
        for (step, point) in points {
            for how in ["kill", "stop"] {
                let all = move |fault| Plan { all: true, ..Plan::new(place, fault) };
                rows.push(row("all at once", step, &point, how, all));
            }
        }
    }
    for (place, points) in [(Place::Server, points(SCRIPTED)), (Place::Client(1), points(KEEPING))] {
        for (step, point) in points {
            for how in ["kill", "panic"] {
                let plan = move |fault| Plan { job: scripted::job(), ..Plan::new(place, fault) };
                rows.push(row("scripts", step, &point, how, plan));
            }
        }
    }
    for (step, point) in points(STATEFUL) {
        for how in ["kill", "stop", "panic"] {
            let plan = move |fault| Plan { job: adaptive(), ..Plan::new(Place::Server, fault) };
            rows.push(row("server", step, &point, &format!("{how}@2"), plan));
        }
    }
    for (place, point) in
        [(Place::Server, "coordinator/UpdateStored/after-commit"), (Place::Client(1), "executor/Offering/after-record")]
    {
        let fault = format!("{point}=stop");
        rows.push(Row::new("zombie", format!("{point}: stop, another is started in its place, then it goes on"), {
            move |ground| survive(ground, &Plan { rival: true, ..Plan::new(place, fault.clone()) })
        }));
    }
    // of the evaluation, and of the last round
    for (step, point, nth) in
        [(9, "coordinator/UpdateStored/after-commit", 5), (10, "coordinator/Aggregated/after-commit", 3)]
    {
        rows.push(row("server", step, point, &format!("kill@{nth}"), |fault| Plan::new(Place::Server, fault)));
    }
    for (place, first, second) in TWICE {
        let name = format!("{first}, then {second}: kill");
        let (first, second) = (format!("{first}=kill"), format!("{second}=kill"));
        rows.push(Row::new("twice", name, move |ground| {
            let second = Some(vec![("FAULT_POINT", second.clone())]);
            survive(ground, &Plan { after: second, strikes: 2, ..Plan::new(place, first.clone()) })
        }));
    }
    for (place, point) in
        [(Place::Server, "coordinator/UpdateStored/after-commit"), (Place::Client(1), "executor/Offering/after-record")]
    {
        for (word, jump) in [("an hour ahead", HOUR_MS), ("an hour back", -HOUR_MS)] {
            let fault = format!("{point}=kill");
            rows.push(Row::new("clock", format!("{point}: kill, restarted {word}"), move |ground| {
                let after = Some(vec![("FAULT_CLOCK_MS", jump.to_string())]);
                survive(ground, &Plan { after, ..Plan::new(place, fault.clone()) })
            }));
        }
    }
    for (name, signal) in [("kill", Signal::Kill), ("stop", Signal::Stop)] {
        rows.push(Row::new("executor", format!("8 the trainer's process: {name}"), move |ground| {
            trainer(ground, signal)
        }));
    }
    rows
}

fn points(of: &[(u8, &str, &[&str])]) -> Vec<(u8, String)> {
    of.iter().flat_map(|(step, at, places)| places.iter().map(move |place| (*step, format!("{at}/{place}")))).collect()
}

fn row(group: &'static str, step: u8, point: &str, how: &str, plan: impl Fn(String) -> Plan + 'static) -> Row {
    // what happens inside an executor's life is the executor's row when only the actor dies
    let group = if group == "client" && how == "panic" && point.starts_with("executor/") { "executor" } else { group };
    let fault = format!("{point}={how}");
    Row::new(group, format!("{step} {point}: {how}"), move |ground| survive(ground, &plan(fault.clone())))
}

/// What is done to whom.
struct Plan {
    job: Value,
    victim: Place,
    /// As in `FAULT_POINT`.
    fault: String,
    /// What happens to the victim happens to every other process.
    all: bool,
    /// While the victim is frozen, its replacement is started.
    rival: bool,
    /// The victim's environment in its second life.
    after: Option<Vec<(&'static str, String)>>,
    /// How often the victim is to be struck, at least.
    strikes: usize,
}

impl Plan {
    fn new(victim: Place, fault: String) -> Self {
        Self { job: job(), victim, fault, all: false, rival: false, after: None, strikes: 1 }
    }
}

fn job() -> Value {
    digits_job("faulty", 2, 3)
}

/// The same with a rule whose momenta go from round to round.
fn adaptive() -> Value {
    let mut job = digits_job("adaptive", 2, 3);
    job["aggregator"] = json!({"name": "fedadam"});
    job
}

fn survive(ground: &Ground, plan: &Plan) -> anyhow::Result<Outcome> {
    let expected = ground.expected.of(&plan.job)?;
    let options = Options {
        program: Some(ground.program.clone()),
        env: Some((plan.victim, vec![("FAULT_POINT", plan.fault.clone())])),
        ..Options::default()
    };
    let mut story = Story::begin(start(options, &plan.job)?, &plan.job);
    let mut after = plan.after.clone();
    let mut strikes = usize::from(story.federation.node(plan.victim).was_frozen);
    let panics = plan.fault.contains("=panic");
    let sha256 = story.to_its_end(|story| {
        match story.federation.node(plan.victim).fate()? {
            Fate::Runs if panics && strikes == 0 && story.federation.node(plan.victim).has_said("fault point")? => {
                story.struck();
            }
            Fate::Runs => return Ok(()),
            Fate::Frozen => {
                if plan.all {
                    let federation = &story.federation;
                    let mut nodes = std::iter::once(&federation.server).chain(&federation.clients);
                    nodes.try_for_each(|node| node.signal(Signal::Stop))?;
                }
                if plan.rival {
                    is_refused(&story.federation, plan.victim)?;
                }
                std::thread::sleep(FREEZE);
                story.struck();
                let federation = &story.federation;
                if plan.all {
                    let mut nodes = std::iter::once(&federation.server).chain(&federation.clients);
                    nodes.try_for_each(|node| node.signal(Signal::Continue))?;
                } else {
                    federation.node(plan.victim).signal(Signal::Continue)?;
                }
            }
            Fate::Ended => {
                story.struck();
                if plan.all {
                    story.federation.server.kill()?;
                    story.federation.clients.iter_mut().try_for_each(crate::Node::kill)?;
                    story.restart(Place::Server, &[])?;
                    story.restart(Place::Client(1), &[])?;
                    story.restart(Place::Client(2), &[])?;
                } else {
                    story.restart(plan.victim, &after.take().unwrap_or_default())?;
                }
            }
        }
        strikes += 1;
        Ok(())
    })?;
    if panics {
        ensure!(story.federation.node(plan.victim).has_said("fault point")?, "the point was not reached");
    } else {
        ensure!(strikes >= plan.strikes, "a point was not reached: struck {strikes} of {} times", plan.strikes);
    }
    // a clock that was set says nothing about how long it took
    let recovery = story.recovery.filter(|_| !plan.after.iter().flatten().any(|(name, _)| *name == "FAULT_CLOCK_MS"));
    Ok(Outcome { recovery, sha256, expected, note: String::new() })
}

/// Two nodes never work in one data folder, even when the first does not answer: it may wake up.
fn is_refused(federation: &Federation, place: Place) -> anyhow::Result<()> {
    match federation.launch(place, &[]) {
        Ok(_) => anyhow::bail!("a second node started in the folder of the first"),
        Err(refusal) => {
            ensure!(format!("{refusal:#}").contains("exit status: 6"), "the second node said {refusal:#}");
            Ok(())
        }
    }
}

/// A trainer's process alone. Its task fails, the round is tried again and no round number burns.
fn trainer(ground: &Ground, signal: Signal) -> anyhow::Result<Outcome> {
    let mut job = job();
    job["parameters"]["epochs"] = json!(60);
    let expected = ground.expected.of(&job)?;
    let options = Options { program: Some(ground.program.clone()), ..Options::default() };
    let mut story = Story::begin(Federation::start(&options)?, &job);
    let mut found = false;
    let sha256 = story.to_its_end(|story| {
        if found {
            return Ok(());
        }
        let Some(child) = crate::trainer(story.federation.clients[0].pid()) else { return Ok(()) };
        let child = rustix::process::Pid::from_raw(i32::try_from(child)?).context("a pid is not 0")?;
        found = true;
        let send = |signal| rustix::process::kill_process(child, signal);
        if signal == Signal::Stop {
            send(rustix::process::Signal::STOP)?;
            std::thread::sleep(FREEZE);
            story.struck();
            send(rustix::process::Signal::CONT)?;
        } else {
            story.struck();
            send(rustix::process::Signal::KILL)?;
        }
        Ok(())
    })?;
    ensure!(found, "no trainer was seen");
    Ok(Outcome { recovery: story.recovery, sha256, expected, note: String::new() })
}
