//! An actor that does what it is told, a journal of what all probes did, and a recorder of supervision events.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // test support; each test file uses its part

use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nsfl_actor::{
    Address, ChildEvent, ChildSpec, Context, Exit, Failure, Next, Reply, Restart, Role, Supervisor, SupervisorSpec,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub const SOON: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub enum Order {
    /// Answers with the number of its life, from 1.
    Ping(Reply<u32>),
    Fail,
    Panic,
    Stop,
    /// Never returns from this one.
    Hang,
    /// Works so long.
    Work(Duration),
    Note(&'static str),
    Keep(Reply<u32>),
    PanicWhenObserved,
}

#[derive(Clone)]
pub struct Script {
    pub name: &'static str,
    pub journal: Journal,
    pub lives: Arc<AtomicU32>,
    /// In which lives its start fails.
    pub bad_starts: std::ops::Range<u32>,
    /// In which lives its start never ends.
    pub endless_starts: std::ops::Range<u32>,
    pub hangs_in_stop: bool,
}

pub struct Probe {
    script: Script,
    life: u32,
    kept: Vec<Reply<u32>>,
    panics_when_observed: bool,
}

impl Role for Probe {
    type Msg = Order;
    type Args = Script;
    const KIND: &'static str = "probe";

    async fn start(script: Script, _ctx: &Context<Order>) -> Result<Self, Failure> {
        let life = script.lives.fetch_add(1, Ordering::SeqCst) + 1;
        if script.bad_starts.contains(&life) {
            return Err(Failure::new("bad start"));
        }
        if script.endless_starts.contains(&life) {
            pending::<()>().await;
        }
        tokio::task::yield_now().await;
        script.journal.note(format!("start {}", script.name));
        Ok(Self { script, life, kept: Vec::new(), panics_when_observed: false })
    }

    async fn handle(&mut self, order: Order, _ctx: &Context<Order>) -> Result<Next, Failure> {
        match order {
            Order::Ping(reply) => reply.send(self.life),
            Order::Fail => "x".parse::<u8>().map(drop)?,
            Order::Panic => panic!("told to"),
            Order::Stop => return Ok(Next::Stop),
            Order::Hang => pending().await,
            Order::Work(time) => tokio::time::sleep(time).await,
            Order::Note(text) => self.script.journal.note(text.to_owned()),
            Order::Keep(reply) => self.kept.push(reply),
            Order::PanicWhenObserved => self.panics_when_observed = true,
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        assert!(!self.panics_when_observed, "told to");
        json!({ "life": self.life })
    }

    async fn stop(&mut self, _ctx: &Context<Order>) {
        if self.script.hangs_in_stop {
            pending::<()>().await;
        }
        self.script.journal.note(format!("stop {}", self.script.name));
    }
}

/// How a supervisor ended; one that goes on for an hour does not end.
pub async fn exit(supervisor: &Supervisor) -> Exit {
    tokio::time::timeout(3600 * SOON, supervisor.wait()).await.expect("the supervisor goes on")
}

#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    /// What was noted since the last call.
    pub fn read(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A probe to be started: its address, and what it shall do.
pub struct Actor {
    pub address: Address<Order>,
    pub script: Script,
}

pub fn actor(name: &'static str, journal: &Journal) -> Actor {
    let script = Script {
        name,
        journal: journal.clone(),
        lives: Arc::default(),
        bad_starts: 0..0,
        endless_starts: 0..0,
        hangs_in_stop: false,
    };
    Actor { address: Address::new(name, 4), script }
}

impl Actor {
    pub fn child(&self, restart: Restart) -> ChildSpec {
        ChildSpec::role::<Probe>(self.script.name, &self.address, self.script.clone(), restart)
    }

    pub fn send(&self, order: Order) {
        self.address.try_tell(order).unwrap();
    }

    pub async fn life(&self) -> u32 {
        self.address.ask(SOON, Order::Ping).await.unwrap()
    }
}

pub struct Events(UnboundedReceiver<ChildEvent>);

impl Events {
    pub async fn next(&mut self) -> ChildEvent {
        tokio::time::timeout(3600 * SOON, self.0.recv()).await.expect("no more events").unwrap()
    }

    /// Passes over events until these paths have started, in this order.
    pub async fn until_started(&mut self, paths: &[&str]) {
        for wanted in paths {
            while !matches!(self.next().await, ChildEvent::Started { path } if path == *wanted) {}
        }
    }

    pub fn is_empty(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

/// A spec with short pauses that records its events.
pub fn spec(name: &str) -> (SupervisorSpec, Events) {
    let (sender, receiver): (UnboundedSender<ChildEvent>, _) = unbounded_channel();
    let spec = SupervisorSpec::new(name)
        .backoff(Duration::from_millis(10), Duration::from_millis(40))
        .on_event(move |event| sender.send(event.clone()).unwrap_or_default());
    (spec, Events(receiver))
}
