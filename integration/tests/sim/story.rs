//! One seed's story: a federation works at its jobs while operations chosen by chance go against it; then the faults stop,
//! and the jobs must end. Rules are checked after every step.

use crate::net::Weather;
use crate::oracle::now;
use crate::world::{SERVER, World, namespace};
use nsfl_messages::{JobOperation, SchedulerMsg};
use nsfl_store::{Certainty, JobStore as _};
use nsfl_types::{Code, JobKey, JobState};
use serde_json::json;
use std::time::Duration;

/// Once the faults have stopped: virtual time until all jobs are finished, and until all is at rest.
const MUST_FINISH: Duration = Duration::from_secs(600);
const MUST_REST: Duration = Duration::from_secs(180);
const STEP: Duration = Duration::from_millis(500);
const ASK: Duration = Duration::from_secs(5);
/// A job is given up for no fewer failures than these without getting on: of its coordinator's, each of which has a cause.
const GIVEN_UP: u32 = 10;

/// What a seed came to.
pub struct Told {
    pub hash: u64,
    pub lines: u64,
    pub virtual_s: f64,
    pub trained: u64,
    pub fenced: u64,
    /// Jobs that were given up for as many failures as the rule asks for, and started again by their user.
    pub parked: u64,
}

/// What was broken, and the end of the trace.
pub struct Broken {
    pub rule: String,
    pub last_lines: String,
}

pub fn tell(seed: u64, print: bool) -> Result<Told, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    fastrand::seed(seed);
    runtime.block_on(async {
        let mut story = Story::begin(seed, print);
        story.run().await;
        story.end()
    })
}

struct Story {
    world: World,
    jobs: Vec<(JobKey, String)>,
    submitted: usize,
    down_until: Vec<(String, tokio::time::Instant)>,
    parked: u64,
}

impl Story {
    fn begin(seed: u64, print: bool) -> Self {
        let clients = 2 + (seed % 3) as usize;
        let mut world = World::new(seed, clients, print);
        let dice = world.dice.clone();
        world.failing = if dice.per_mille(300) { 60 } else { 0 };
        let jobs = (0..1 + usize::from(dice.per_mille(300))).map(|n| {
            let wanted = dice.between(1, clients as u64);
            let late = [json!("drop"), json!("stale"), json!("buffer")][dice.index(3)].clone();
            let k = dice.between(1, wanted);
            let aggregator = match late.as_str() {
                Some("buffer") => json!({"name": "fedbuff", "params": {"k": k, "max_staleness": dice.between(1, 4)}}),
                _ => json!({"name": "fedavg"}),
            };
            let document = json!({
                "id": format!("j{n}"), "runtime": "builtin", "task_entry": "echo", "model_path": "m.safetensors", "output": "out",
                "hyper_parameters": {
                    "max_round_num": dice.between(1, 3), "client_num": wanted, "threshold_client_num": dice.between(1, wanted),
                    "evaluate_interval": dice.between(0, 2), "save_interval": dice.between(0, 2),
                    "round_timeout": 20, "close_at_threshold": dice.per_mille(200), "late": late,
                },
                "aggregator": aggregator,
                "redundancy": if dice.per_mille(300) { 1.5 } else { 1.0 },
                "parameters": {"seed": seed},
            });
            (JobKey::new(namespace(), format!("j{n}").parse().unwrap()), document.to_string())
        });
        let jobs = jobs.collect();
        Self { world, jobs, submitted: 0, down_until: Vec::new(), parked: 0 }
    }

    async fn run(&mut self) {
        for node in self.world.nodes() {
            self.world.start(&node).await;
        }
        let dice = self.world.dice.clone();
        for _ in 0..dice.between(8, 30) {
            let pause = if dice.coin() { dice.millis(0, 300) } else { dice.millis(0, 3000) };
            tokio::time::sleep(pause).await;
            self.restart_what_is_due(false).await;
            self.submit_and_restart().await;
            self.operate().await;
            if self.is_broken() {
                return;
            }
        }
        self.faults_stop().await;
        self.must_finish().await;
    }

    fn is_broken(&self) -> bool {
        self.world.oracle.between_steps();
        if let Some(panic) = crate::panics::take() {
            self.world.trace.violated(format_args!("an actor panicked: {panic}"));
        }
        self.world.trace.violation().is_some()
    }

    async fn operate(&mut self) {
        let world = &mut self.world;
        let dice = world.dice.clone();
        let clients = world.clients();
        let client = clients[dice.index(clients.len())].clone();
        let any = world.nodes();
        let node = any[dice.index(any.len())].clone();
        let note = |what: &str| world.trace.note(format_args!("-- {what}"));
        match dice.between(1, 100) {
            1..=12 => {
                note(&format!("{client}'s link breaks"));
                world.net.break_link(&client);
            }
            13..=24 => {
                let (cut_up, cut_down) = [(true, true), (true, false), (false, true)][dice.index(3)];
                note(&format!("{client} is cut off, up {cut_up}, down {cut_down}"));
                world.net.set_weather(&client, |w| (w.cut_up, w.cut_down) = (cut_up, cut_down));
            }
            25..=40 => {
                note(&format!("{client}'s link heals"));
                world.net.set_weather(&client, |w| *w = Weather::default());
            }
            41..=48 => {
                let (slow_ms, lost) = (dice.between(0, 2000), dice.between(0, 1) * dice.between(0, 200));
                let (doubled, overtaken) = (dice.between(0, 100), dice.between(0, 100));
                note(&format!(
                    "{client}'s link: slow {slow_ms}, lost {lost}, doubled {doubled}, overtaken {overtaken}"
                ));
                world.net.set_weather(&client, |w| {
                    *w = Weather { slow_ms, lost, doubled, overtaken, ..*w };
                });
            }
            49..=64 => self.kill_an_actor(&dice),
            65..=70 => self.take_down(&client, &dice).await,
            71..=77 => self.take_down(SERVER, &dice).await,
            78..=91 => {
                let how = if dice.coin() { Certainty::NotDone } else { Certainty::MaybeDone };
                let times = dice.between(1, 2);
                note(&format!("{node}'s disk will fail {times} times, {how:?}"));
                world.disks[&node].fail(times, how);
            }
            92..=96 => {
                let by = [-3_600_000, -30_000, 500, 30_000, 3_600_000][dice.index(5)];
                // a process never sees the clock jump while it lives (`nsfl_actor::now_ms`)
                note(&format!("the clock is set by {by} ms"));
                self.take_down(SERVER, &dice).await;
                self.world.simulation.shift_clock(by);
            }
            97..=98 => {
                note("a run's next write is held up, and its coordinator killed");
                world.disks[SERVER].hold_up(dice.millis(100, 2000));
                tokio::time::sleep(dice.millis(0, 1500)).await;
                let lives = self.world.simulation.lives();
                if let Some(life) = lives.iter().find(|life| life.path.ends_with("/coordinator")) {
                    self.world.trace.note(format_args!("-- {} is killed", life.path));
                    self.world.simulation.kill(life.number);
                    self.world.oracle.trouble();
                }
            }
            _ => world.sweep(),
        }
    }

    fn kill_an_actor(&mut self, dice: &crate::dice::Dice) {
        let is_actor = |path: &str| path.matches('/').count() > 0 && !path.ends_with("/sessions");
        let mut lives = self.world.simulation.lives();
        lives.retain(|life| is_actor(&life.path) || life.path == "selector");
        if !lives.is_empty() {
            let life = &lives[dice.index(lives.len())];
            self.world.trace.note(format_args!("-- {}: {} is killed", life.node, life.path));
            self.world.simulation.kill(life.number);
            if life.node == SERVER {
                self.world.oracle.trouble();
            }
        }
    }

    async fn take_down(&mut self, node: &str, dice: &crate::dice::Dice) {
        self.world.crash(node).await;
        let pause = if dice.coin() { dice.millis(0, 200) } else { dice.millis(0, 15_000) };
        self.down_until.retain(|(down, _)| down != node);
        self.down_until.push((node.to_owned(), tokio::time::Instant::now() + pause));
    }

    /// Nodes whose time down is over, and those whose tree has given up: a service manager starts these again.
    async fn restart_what_is_due(&mut self, all: bool) {
        let now = tokio::time::Instant::now();
        for node in self.world.nodes() {
            let waits = self.down_until.iter().any(|(down, until)| *down == node && *until > now);
            if !self.world.is_up(&node) && (all || !waits) {
                self.down_until.retain(|(down, _)| *down != node);
                self.world.start(&node).await;
            }
        }
    }

    /// A user submits what is to be submitted, until it is acknowledged; and starts again what was given up.
    async fn submit_and_restart(&mut self) {
        let Some(scheduler) = self.world.scheduler.clone() else { return };
        if let Some((key, document)) = self.jobs.get(self.submitted).cloned() {
            let document = document.into_bytes();
            let create = |reply| SchedulerMsg::Create { namespace: namespace(), document, author: "ada".into(), reply };
            let answer = scheduler.ask(ASK, create).await;
            self.world.trace.note(format_args!("submitted {key}: {answer:?}"));
            match answer {
                Ok(Err(refusal)) if refusal.code != Code::JobExists => {
                    let by_disk = refusal.code == Code::Store;
                    self.world.trace.check(by_disk, format_args!("a good job was refused: {refusal:?}"));
                }
                Ok(_) => {
                    self.submitted += 1;
                    let stored = matches!(now(self.world.jobs.job(&key)), Ok(Some(_)));
                    self.world.trace.check(stored, format_args!("job {key} is acknowledged and not stored"));
                }
                Err(_) => {}
            }
        }
        for (key, _) in self.jobs.clone().into_iter().take(self.submitted) {
            let record = now(self.world.jobs.job(&key)).ok().flatten();
            if record.is_some_and(|record| record.state == JobState::Failed) {
                self.parked += 1;
                let troubles = self.world.oracle.troubles_of(&key);
                let why = self.why(&key).await;
                let justified = troubles >= GIVEN_UP;
                self.world.trace.check(justified, format_args!("{key} is FAILED after {troubles} troubles: {why}"));
                self.world.trace.note(format_args!("{key} was given up and is started again"));
                let start = |reply| SchedulerMsg::Operate { key: key.clone(), operation: JobOperation::Start, reply };
                let _ = scheduler.ask(ASK, start).await;
            }
        }
    }

    /// What the scheduler says of a job.
    async fn why(&self, key: &JobKey) -> String {
        let Some(scheduler) = &self.world.scheduler else { return String::new() };
        let view = scheduler.ask(ASK, |reply| SchedulerMsg::Get { key: key.clone(), reply }).await;
        view.ok().and_then(Result::ok).map(|view| view.status.reason).unwrap_or_default()
    }

    async fn faults_stop(&mut self) {
        self.world.trace.note(format_args!("-- the faults stop"));
        for client in self.world.clients() {
            self.world.net.set_weather(&client, |w| *w = Weather::default());
        }
        self.world.disks.values().for_each(|disk| disk.heal());
        self.restart_what_is_due(true).await;
    }

    async fn must_finish(&mut self) {
        let until = tokio::time::Instant::now() + MUST_FINISH;
        let mut finished = false;
        while !finished && tokio::time::Instant::now() < until {
            tokio::time::sleep(STEP).await;
            self.restart_what_is_due(true).await;
            self.submit_and_restart().await;
            if self.is_broken() {
                return;
            }
            finished = self.submitted == self.jobs.len() && self.jobs.iter().all(|(key, _)| self.is_finished(key));
        }
        let states: Vec<_> = self.jobs.iter().map(|(key, _)| self.state(key)).collect();
        self.world.trace.check(finished, format_args!("jobs do not finish: {states:?}"));
        if finished {
            self.world.oracle.all_is_counted();
        }
        let until = tokio::time::Instant::now() + MUST_REST;
        while finished && !self.world.oracle.is_at_rest() && tokio::time::Instant::now() < until {
            tokio::time::sleep(STEP).await;
        }
        if finished && !self.is_broken() {
            let rests = self.world.oracle.is_at_rest();
            self.world.trace.check(rests, format_args!("clients hold tasks though all jobs are finished"));
        }
    }

    fn state(&self, key: &JobKey) -> Option<JobState> {
        now(self.world.jobs.job(key)).ok().flatten().map(|record| record.state)
    }

    fn is_finished(&self, key: &JobKey) -> bool {
        self.state(key) == Some(JobState::Finished)
    }

    fn end(self) -> Result<Told, Broken> {
        let (hash, lines, virtual_s) = self.world.trace.stand();
        if let Some(rule) = self.world.trace.violation() {
            return Err(Broken { rule, last_lines: self.world.trace.last_lines() });
        }
        let (trained, fenced) = self.world.oracle.counts();
        Ok(Told { hash, lines, virtual_s, trained, fenced, parked: self.parked })
    }
}
