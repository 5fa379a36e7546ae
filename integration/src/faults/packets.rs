//! Rows that fail the network below TCP, between two network namespaces: packets that are dropped both ways or one way, that
//! arrive twice, that are overtaken. From the second round on.

use super::network::is_time;
use super::story::Story;
use super::table::SKIPPED;
use super::{Ground, Outcome, Row};
use crate::hosts::{Fate, Hosts, Way};
use crate::{Federation, Options, digits_job, echo_job};
use anyhow::ensure;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shorter than a session lives, and longer.
const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(20);

/// What is done to packets, for how long, and what TCP must have counted for it to have happened.
struct Plan {
    name: &'static str,
    up: Fate,
    down: Fate,
    lasts: Duration,
    job: fn() -> Value,
    counts: Option<&'static str>,
}

/// Small models: what counts is when packets are dropped.
fn small() -> Value {
    digits_job("partitioned", 2, 4)
}

/// Some hundred packets a transfer, so that there is something to overtake.
fn large() -> Value {
    echo_job("jumbled", 2, 6, 0.5)
}

const PLANS: [Plan; 7] = [
    dropped("packets are dropped both ways for 4 s", Fate::Drop, Fate::Drop, SHORT),
    dropped("packets are dropped both ways for 20 s", Fate::Drop, Fate::Drop, LONG),
    dropped("packets from the client are dropped for 20 s", Fate::Drop, Fate::Arrive, LONG),
    dropped("packets to the client are dropped for 20 s", Fate::Arrive, Fate::Drop, LONG),
    jumbled("every packet arrives twice, both ways", Fate::Twice, Fate::Twice, "TCPDSACKOldSent"),
    jumbled("packets from the client overtake each other", Fate::Overtaken, Fate::Arrive, "TCPOFOQueue"),
    jumbled("packets overtake each other, both ways", Fate::Overtaken, Fate::Overtaken, "TCPOFOQueue"),
];

const fn dropped(name: &'static str, up: Fate, down: Fate, lasts: Duration) -> Plan {
    Plan { name, up, down, lasts, job: small, counts: None }
}

const fn jumbled(name: &'static str, up: Fate, down: Fate, counts: &'static str) -> Plan {
    Plan { name, up, down, lasts: LONG, job: large, counts: Some(counts) }
}

pub(super) fn rows() -> Vec<Row> {
    PLANS.iter().map(|plan| Row::new("packets", plan.name.to_owned(), move |ground| survive(ground, plan))).collect()
}

fn survive(ground: &Ground, plan: &Plan) -> anyhow::Result<Outcome> {
    let expected = ground.expected.of(&(plan.job)())?;
    let hosts = Arc::new(Hosts::make().map_err(|error| anyhow::anyhow!("{SKIPPED}{error:#}"))?);
    hosts.near_by(|| on(&hosts, ground, plan, expected))?
}

fn on(hosts: &Arc<Hosts>, ground: &Ground, plan: &Plan, expected: String) -> anyhow::Result<Outcome> {
    let far = Some((1, Arc::clone(hosts)));
    let options = Options { program: Some(ground.program.clone()), far, ..Options::default() };
    let mut story = Story::begin(Federation::start(&options)?, &(plan.job)());
    let (mut since, mut over) = (None, false);
    let sha256 = story.to_its_end(|story| {
        match since {
            None if is_time(story) => {
                since = Some(Instant::now());
                hosts.set(Way::Up, plan.up)?;
                hosts.set(Way::Down, plan.down)?;
            }
            Some(begun) if !over && begun.elapsed() >= plan.lasts => {
                over = true;
                story.struck();
                hosts.set(Way::Up, Fate::Arrive)?;
                hosts.set(Way::Down, Fate::Arrive)?;
            }
            _ => {}
        }
        Ok(())
    })?;
    ensure!(since.is_some(), "the job was over before anything was done to its packets");
    let note = match plan.counts {
        Some(name) => {
            let times = hosts.counted()?.get(name).copied().unwrap_or(0);
            ensure!(times > 0, "the server's TCP has counted no {name}: nothing was done to its packets");
            format!("to the job's end; the server's TCP counted {name} {times} times")
        }
        None if over => String::new(),
        None => "the job ended while it lasted".to_owned(),
    };
    Ok(Outcome { recovery: story.recovery, sha256, expected, note })
}
