//! Rows that disturb the network between client 1 and the server, from the second round on.

use super::story::Story;
use super::{Ground, Outcome, Row};
use crate::proxy::{Proxy, Way, Weather};
use crate::{Federation, Options, digits_job};
use anyhow::{Context, ensure};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shorter than a session lives.
const SHORT: Duration = Duration::from_secs(4);
/// Longer: the session is given up on both sides.
const LONG: Duration = Duration::from_secs(20);

type Disturb = fn(&Proxy);

/// What is done, and for how long.
const ROWS: [(&str, Disturb, Duration); 9] = [
    ("cut once", Proxy::cut, Duration::ZERO),
    ("nothing passes for 4 s", |proxy| proxy.set_both(Weather::Held), SHORT),
    ("nothing passes for 20 s", |proxy| proxy.set_both(Weather::Held), LONG),
    ("nothing passes from the client for 4 s", |proxy| proxy.set(Way::Up, Weather::Held), SHORT),
    ("nothing passes from the client for 20 s", |proxy| proxy.set(Way::Up, Weather::Held), LONG),
    ("nothing passes to the client for 20 s", |proxy| proxy.set(Way::Down, Weather::Held), LONG),
    ("half open for 20 s: the server's side ends, the client is not told", Proxy::half_open, LONG),
    ("everything 100 ms late, both ways", |proxy| proxy.set_both(Weather::Late(Duration::from_millis(100))), LONG),
    ("one byte a second from the client for 4 s", |proxy| proxy.set(Way::Up, Weather::Trickle), SHORT),
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = ROWS
        .into_iter()
        .map(|(name, disturb, lasts)| {
            Row::new("network", name.to_owned(), move |ground| disturbed(ground, disturb, lasts))
        })
        .collect();
    rows.push(Row::new("network", "cut every 100 ms for 4 s".to_owned(), flapping));
    rows
}

fn begin(ground: &Ground) -> anyhow::Result<(Story, Arc<Proxy>, String)> {
    let job = digits_job("disturbed", 2, 4);
    let expected = ground.expected.of(&job)?;
    let proxy = Arc::new(Proxy::start()?);
    let options =
        Options { program: Some(ground.program.clone()), via: vec![(1, proxy.address)], ..Options::default() };
    let federation = Federation::start(&options)?;
    proxy.aim(federation.link()?.parse().context("the server's link address")?);
    Ok((Story::begin(federation, &job), proxy, expected))
}

/// Whether the second round is open.
pub(super) fn is_time(story: &Story) -> bool {
    story.last.as_ref().is_some_and(|(_, event)| event.fields["round"].as_u64().is_some_and(|round| round >= 2))
}

fn disturbed(ground: &Ground, disturb: Disturb, lasts: Duration) -> anyhow::Result<Outcome> {
    let (mut story, proxy, expected) = begin(ground)?;
    let mut since = None;
    let mut over = false;
    let sha256 = story.to_its_end(|story| {
        match since {
            None if is_time(story) => {
                since = Some(Instant::now());
                disturb(&proxy);
            }
            Some(begun) if !over && begun.elapsed() >= lasts => {
                over = true;
                story.struck();
                proxy.set_both(Weather::Fine);
            }
            _ => {}
        }
        Ok(())
    })?;
    ensure!(since.is_some(), "the job was over before the network was disturbed");
    let note = if over { String::new() } else { "the job ended while it lasted".to_owned() };
    Ok(Outcome { recovery: story.recovery, sha256, expected, note })
}

fn flapping(ground: &Ground) -> anyhow::Result<Outcome> {
    const EVERY: Duration = Duration::from_millis(100);
    let (mut story, proxy, expected) = begin(ground)?;
    let (mut since, mut cuts) = (None, 0);
    let sha256 = story.to_its_end(|story| {
        if since.is_none() && is_time(story) {
            since = Some(Instant::now());
        }
        if let Some(begun) = since
            && begun.elapsed() < SHORT
            && begun.elapsed() >= EVERY * cuts
        {
            cuts += 1;
            story.struck();
            proxy.cut();
        }
        Ok(())
    })?;
    ensure!(cuts > 0, "the job was over before the network was disturbed");
    Ok(Outcome { recovery: story.recovery, sha256, expected, note: format!("{cuts} cuts") })
}
