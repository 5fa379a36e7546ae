//! What it costs a message that its actor can be observed: messages told to an actor that does nothing, beside what is
//! written down for each, measured alone, in one run. Judges nothing; figures are in docs/performance.md.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot be set up fails")]

#[path = "../src/tally.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "the crate and its tests use the rest")]
mod tally;
#[path = "../src/tap.rs"]
#[allow(dead_code, unreachable_pub, reason = "the crate uses the rest")]
mod tap;

use nsfl_actor::{Address, ChildSpec, Context, Failure, Next, Reply, Restart, Role, Supervisor, SupervisorSpec};
use serde_json::Value;
use std::hint::black_box;
use std::time::{Duration, Instant};

const MESSAGES: u32 = 1_000_000;
const RUNS: usize = 9;
const SOON: Duration = Duration::from_secs(60);

struct Idle;

#[derive(Debug)]
enum Msg {
    Nothing,
    Answer(Reply<()>),
}

impl Role for Idle {
    type Msg = Msg;
    type Args = ();
    const KIND: &'static str = "idle";

    async fn start((): (), _: &Context<Msg>) -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn handle(&mut self, msg: Msg, _: &Context<Msg>) -> Result<Next, Failure> {
        if let Msg::Answer(reply) = msg {
            reply.send(());
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        Value::Null
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut messages, mut accounts) = (Vec::new(), Vec::new());
    // in turns, so that a busy machine weighs on both alike
    for _ in 0..RUNS {
        messages.push(runtime.block_on(message_ns()));
        accounts.push(account_ns());
    }
    let (message, account) = (median(&mut messages), median(&mut accounts));
    println!("a message, told and handled: {message:.0} ns, {:.2} million a second", 1e3 / message);
    println!("what is written down for it: {account:.1} ns");
    println!("share: {:.2} %", account / message * 100.0);
}

async fn message_ns() -> f64 {
    let address = Address::new("idle", 1024);
    let spec = SupervisorSpec::new("root").child(ChildSpec::role::<Idle>("idle", &address, (), Restart::Permanent));
    let root = Supervisor::start(spec).await.unwrap();
    let begun = Instant::now();
    for _ in 0..MESSAGES {
        address.tell(Msg::Nothing).await.unwrap();
    }
    address.ask(SOON, Msg::Answer).await.unwrap();
    let took = begun.elapsed();
    root.shutdown(SOON).await;
    took.as_secs_f64() * 1e9 / f64::from(MESSAGES)
}

/// What the shell does for each input, without the input; the clock's two readings are shared with nothing else.
fn account_ns() -> f64 {
    let (tally, tap) = (black_box(tally::Tally::default()), black_box(tap::Tap::default()));
    let started = Instant::now();
    for _ in 0..MESSAGES {
        let traced = black_box(&tap).is_open();
        let begun = tokio::time::Instant::now();
        tally.begin(begun);
        let took = black_box(begun).elapsed();
        black_box((traced, tally.end(took)));
    }
    let all = started.elapsed();
    let started = Instant::now();
    for _ in 0..MESSAGES {
        black_box(black_box(tokio::time::Instant::now()).elapsed());
    }
    // how long an input takes was known before anybody looked
    all.saturating_sub(started.elapsed()).as_secs_f64() * 1e9 / f64::from(MESSAGES)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
