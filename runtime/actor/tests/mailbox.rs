//! Bounded mailboxes, addresses that stay, asks that end.

mod probe;

use std::time::Duration;

use nsfl_actor::{Address, AskError, Restart, SendError, Supervisor, SupervisorSpec};
use probe::{Actor, Journal, Order, SOON, actor, spec};
use proptest::prelude::*;

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_and_lets_senders_wait_for_room() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    Supervisor::start(SupervisorSpec::new("root").child(a.child(Restart::Permanent))).await.unwrap();
    a.send(Order::Work(Duration::from_secs(10)));
    tokio::task::yield_now().await;
    for _ in 0..4 {
        a.send(Order::Note("queued"));
    }
    assert_eq!(a.address.try_tell(Order::Note("refused")), Err(SendError::Full));
    assert_eq!(a.address.tell(Order::Note("too late")).await, Err(SendError::Full));
    assert_eq!(a.address.ask(SOON, Order::Ping).await, Err(AskError::Full));
    let view = a.address.mailbox();
    assert_eq!((view.depth, view.capacity, view.high_water, view.waiting), (4, 4, 4, 0));
    assert_eq!(view.oldest_ms, 6000);

    let waits = a.address.clone();
    let waits = tokio::spawn(async move { waits.tell(Order::Note("waited")).await });
    tokio::task::yield_now().await;
    assert_eq!(a.address.mailbox().waiting, 1);
    assert_eq!(waits.await.unwrap(), Ok(()));
    a.life().await;
    assert_eq!(journal.read(), ["start a", "queued", "queued", "queued", "queued", "waited"]);
    let view = a.address.mailbox();
    assert_eq!((view.depth, view.high_water, view.waiting, view.oldest_ms), (0, 4, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_address_is_down_before_its_actor_and_works_after_each_restart() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    assert_eq!(a.address.try_tell(Order::Fail), Err(SendError::Down));
    assert_eq!(a.address.tell(Order::Fail).await, Err(SendError::Down));
    assert_eq!(a.address.observe(SOON).await, None);
    let (spec, mut events) = spec("root");
    Supervisor::start(spec.child(a.child(Restart::Permanent))).await.unwrap();
    events.until_started(&["a"]).await;
    for life in 1..4 {
        assert_eq!(a.life().await, life);
        a.send(Order::Fail);
        events.until_started(&["a"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_loses_what_is_queued_and_frees_its_places() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    let (spec, mut events) = spec("root");
    Supervisor::start(spec.child(a.child(Restart::Permanent))).await.unwrap();
    events.until_started(&["a"]).await;
    a.send(Order::Work(SOON));
    a.send(Order::Fail);
    a.send(Order::Note("lost"));
    assert_eq!(a.address.ask(60 * SOON, Order::Ping).await, Err(AskError::Dropped));
    assert_eq!(a.address.mailbox().depth, 0);
    events.until_started(&["a"]).await;
    assert_eq!(a.life().await, 2);
    assert_eq!(journal.read(), ["start a", "start a"]);
}

#[tokio::test(start_paused = true)]
async fn an_ask_ends_at_its_deadline() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    Supervisor::start(SupervisorSpec::new("root").child(a.child(Restart::Permanent))).await.unwrap();
    let asked = tokio::time::Instant::now();
    assert_eq!(a.address.ask(3 * SOON, Order::Keep).await, Err(AskError::Timeout));
    assert_eq!(asked.elapsed(), 3 * SOON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_place_is_lost_when_many_threads_send_to_an_actor_that_keeps_failing() {
    let a = actor("a", &Journal::default());
    let spec = SupervisorSpec::new("root").intensity(u32::MAX, SOON).backoff(Duration::ZERO, Duration::ZERO);
    let root = Supervisor::start(spec.child(a.child(Restart::Permanent))).await.unwrap();
    let senders = (0..4).map(|sender| {
        let address = a.address.clone();
        tokio::spawn(async move {
            for n in 0..2000 {
                if n % 50 == sender {
                    // Every one of these gets in, and one life has room for a few of them only: there are many lives.
                    while address.tell(Order::Panic).await.is_err() {
                        tokio::task::yield_now().await;
                    }
                    continue;
                }
                let order = Order::Note("");
                let _ = if n % 3 == 0 { address.tell(order).await } else { address.try_tell(order) };
                tokio::task::yield_now().await;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    root.restart_child("a").await.unwrap();
    assert!(a.life().await > 2);
    let view = a.address.mailbox();
    assert_eq!((view.depth, view.waiting), (0, 0));
    a.send(Order::Hang);
    while a.address.mailbox().depth > 0 {
        tokio::task::yield_now().await;
    }
    let accepted = (0..10).filter(|_| a.address.try_tell(Order::Note("")).is_ok()).count();
    assert_eq!(accepted, view.capacity);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    TryTell,
    TellFor(u64),
    Work(u64),
    Fail,
    Panic,
    Pass(u64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::TryTell),
        2 => (0u64..30).prop_map(Step::TellFor),
        2 => (1u64..20).prop_map(Step::Work),
        1 => Just(Step::Fail),
        1 => Just(Step::Panic),
        3 => (0u64..30).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_place_is_lost_over_any_sequence_of_sends_failures_and_restarts(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let a = actor("a", &Journal::default());
            let spec = SupervisorSpec::new("root").intensity(1000, SOON);
            let spec = spec.backoff(Duration::from_millis(5), Duration::from_millis(5));
            let root = Supervisor::start(spec.child(a.child(Restart::Permanent))).await.unwrap();
            let mut senders = Vec::new();
            for step in steps {
                take(step, &a, &root, &mut senders).await;
            }
            for sender in senders {
                sender.await.unwrap();
            }
            root.restart_child("a").await.unwrap();
            a.life().await;
            let view = a.address.mailbox();
            assert_eq!((view.depth, view.waiting), (0, 0));
            assert!(view.high_water <= view.capacity);
            a.send(Order::Work(SOON));
            tokio::task::yield_now().await;
            let accepted = (0..10).filter(|_| a.address.try_tell(Order::Note("")).is_ok()).count();
            assert_eq!(accepted, view.capacity);
        });
    }
}

async fn take(step: Step, a: &Actor, root: &Supervisor, senders: &mut Vec<tokio::task::JoinHandle<()>>) {
    let address: &Address<Order> = &a.address;
    let _ = match step {
        Step::TryTell => address.try_tell(Order::Note("")),
        Step::Work(ms) => address.try_tell(Order::Work(Duration::from_millis(ms))),
        Step::Fail => address.try_tell(Order::Fail),
        Step::Panic => address.try_tell(Order::Panic),
        Step::TellFor(ms) => {
            let address = address.clone();
            let tell = async move { address.tell_within(Duration::from_millis(ms), Order::Note("")).await };
            senders.push(tokio::spawn(async move { tell.await.unwrap_or_default() }));
            Ok(())
        }
        Step::Pass(ms) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(())
        }
        Step::Restart => {
            let _ = root.restart_child("a").await;
            Ok(())
        }
    };
}
