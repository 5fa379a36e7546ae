//! Timers and work beside an actor: what comes back, and what ends with it.

use std::time::Duration;

use nsfl_actor::{
    Address, AskError, ChildSpec, Context, Failure, Next, Reply, Restart, Role, Supervisor, SupervisorSpec, Timer,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

const SOON: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Order {
    Sum(u32, u32, Reply<Result<u32, Failure>>),
    SumBlocking(u32, u32, Reply<Result<u32, Failure>>),
    PanicBeside(Reply<Result<u32, Failure>>),
    PanicBlocking(Reply<Result<u32, Failure>>),
    Done(Result<u32, Failure>, Reply<Result<u32, Failure>>),
    /// Works for ever; the sender is dropped when the work is.
    Endless(oneshot::Sender<()>),
    AnswerAfter(Duration, Reply<()>),
    Answer(Reply<()>),
    DropTimer,
    /// Is busy for that long, so that a timer fires meanwhile, and drops the timer then.
    DropTimerAfter(Duration),
    Stop,
    Fail,
}

struct Beside {
    timer: Option<Timer>,
}

impl Role for Beside {
    type Msg = Order;
    type Args = ();
    const KIND: &'static str = "beside";

    async fn start(_: (), _ctx: &Context<Order>) -> Result<Self, Failure> {
        Ok(Self { timer: None })
    }

    async fn handle(&mut self, order: Order, ctx: &Context<Order>) -> Result<Next, Failure> {
        match order {
            Order::Sum(a, b, reply) => drop(ctx.spawn(async move { a + b }, |sum| Order::Done(sum, reply))),
            Order::SumBlocking(a, b, reply) => drop(ctx.spawn_blocking(move || a + b, |sum| Order::Done(sum, reply))),
            Order::PanicBeside(reply) => drop(ctx.spawn(async { panic!("beside") }, |sum| Order::Done(sum, reply))),
            Order::PanicBlocking(reply) => drop(ctx.spawn_blocking(|| panic!("below"), |sum| Order::Done(sum, reply))),
            Order::Done(result, reply) => reply.send(result),
            Order::Endless(guard) => {
                let work = async move {
                    std::future::pending::<()>().await;
                    drop(guard);
                };
                ctx.spawn(work, |_| Order::DropTimer);
            }
            Order::AnswerAfter(delay, reply) => self.timer = Some(ctx.send_after(delay, Order::Answer(reply))),
            Order::Answer(reply) => reply.send(()),
            Order::DropTimer => self.timer = None,
            Order::DropTimerAfter(time) => {
                tokio::time::sleep(time).await;
                self.timer = None;
            }
            Order::Stop => return Ok(Next::Stop),
            Order::Fail => Err(Failure::new("told to"))?,
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        json!({ "timer": self.timer.is_some() })
    }
}

async fn start(restart: Restart) -> Address<Order> {
    let address = Address::new("beside", 1);
    let child = ChildSpec::role::<Beside>("beside", &address, (), restart);
    Supervisor::start(SupervisorSpec::new("root").child(child)).await.expect("its start cannot fail");
    address
}

#[tokio::test(start_paused = true)]
async fn the_result_of_spawned_work_comes_back_as_an_input() {
    let address = start(Restart::Permanent).await;
    assert_eq!(address.ask(SOON, |reply| Order::Sum(1, 2, reply)).await, Ok(Ok(3)));
    assert_eq!(address.ask(SOON, |reply| Order::SumBlocking(3, 4, reply)).await, Ok(Ok(7)));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_spawned_work_comes_back_as_a_failure_and_the_actor_lives() {
    let address = start(Restart::Temporary).await;
    let beside = address.ask(SOON, Order::PanicBeside).await.unwrap();
    assert_eq!(beside, Err(Failure::new("panicked: beside")));
    let below = address.ask(SOON, Order::PanicBlocking).await.unwrap();
    assert_eq!(below, Err(Failure::new("panicked: below")));
}

#[tokio::test(start_paused = true)]
async fn spawned_work_is_aborted_when_the_life_ends_however_it_ends() {
    for end in [Order::Stop, Order::Fail] {
        let address = start(Restart::Temporary).await;
        let (guard, aborted) = oneshot::channel();
        address.tell(Order::Endless(guard)).await.unwrap();
        address.tell(end).await.unwrap();
        assert!(tokio::time::timeout(SOON, aborted).await.expect("the work goes on").is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_sends_its_message_after_its_delay_without_a_permit() {
    let address = start(Restart::Permanent).await;
    let begun = tokio::time::Instant::now();
    address.ask(5 * SOON, |reply| Order::AnswerAfter(2 * SOON, reply)).await.unwrap();
    assert_eq!(begun.elapsed(), 2 * SOON);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_timer_sends_nothing_even_if_it_has_fired() {
    let address = start(Restart::Permanent).await;
    for drop_timer in [Order::DropTimer, Order::DropTimerAfter(4 * SOON)] {
        let asked = address.clone();
        let asked = tokio::spawn(async move { asked.ask(9 * SOON, |reply| Order::AnswerAfter(2 * SOON, reply)).await });
        tokio::task::yield_now().await;
        address.tell(drop_timer).await.unwrap();
        assert_eq!(asked.await.unwrap(), Err(AskError::Dropped));
    }
}
