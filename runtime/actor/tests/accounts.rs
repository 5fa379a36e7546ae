//! What is counted of an actor, and what may be done to one that is found by its path.

mod probe;

use std::time::Duration;

use nsfl_actor::{ActorState, ChildSpec, Restart, SendError, Strategy, Supervisor, SupervisorSpec, census};
use probe::{Journal, Order, SOON, actor, spec};

#[tokio::test(start_paused = true)]
async fn messages_that_nobody_reads_are_dead_letters() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    assert_eq!(a.address.try_tell(Order::Note("before its life")), Err(SendError::Down));
    let root = Supervisor::start(SupervisorSpec::new("root").child(a.child(Restart::Temporary))).await.unwrap();
    a.send(Order::Fail);
    a.send(Order::Note("never read"));
    a.send(Order::Note("nor this"));
    tokio::time::sleep(SOON).await;
    let view = &root.observe(SOON).await.children[0];
    assert_eq!((view.state, view.dead_letters, view.handled), (ActorState::Stopped, 3, 1));
    assert_eq!(view.mailbox.depth, 0);
    assert!(journal.read().iter().all(|line| !line.contains("read")));
}

#[tokio::test(start_paused = true)]
async fn senders_turned_away_are_counted_and_are_no_dead_letters() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    let root = Supervisor::start(SupervisorSpec::new("root").child(a.child(Restart::Permanent))).await.unwrap();
    a.send(Order::Work(SOON));
    tokio::task::yield_now().await;
    (0..4).for_each(|_| a.send(Order::Note("x")));
    assert_eq!(a.address.try_tell(Order::Note("too much")), Err(SendError::Full));
    tokio::time::sleep(2 * SOON).await;
    let view = &root.observe(SOON).await.children[0];
    assert_eq!((view.rejected, view.dead_letters, view.mailbox.high_water), (1, 0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_is_shown_while_it_lasts_and_counted_after() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    let root = Supervisor::start(SupervisorSpec::new("root").child(a.child(Restart::Permanent))).await.unwrap();
    a.send(Order::Note("quick"));
    a.send(Order::Work(5 * SOON));
    tokio::time::sleep(2 * SOON).await;
    let view = &root.observe(SOON).await.children[0];
    assert_eq!((view.state, view.handler.slow, view.unanswered), (ActorState::Unresponsive, 0, 1));
    assert!(view.handler.current_ms.is_some_and(|ms| ms >= 2000), "{:?}", view.handler);
    tokio::time::sleep(5 * SOON).await;
    let view = &root.observe(SOON).await.children[0];
    assert_eq!((view.state, view.handler.slow, view.handler.current_ms), (ActorState::Running, 1, None));
    assert_eq!(view.handler.longest_us, view.handler.last_us);
    assert!(view.handler.longest_us >= 5_000_000 && view.rate > 0.0, "{view:?}");
    let probes = census()["probe"];
    assert!(probes.slow >= 1 && probes.unanswered >= 1 && probes.handled >= 2, "{probes:?}");
}

#[tokio::test(start_paused = true)]
async fn restarts_have_their_times_and_their_causes() {
    let journal = Journal::default();
    let [a, b] = ["a", "b"].map(|name| actor(name, &journal));
    let (spec, mut events) = spec("root");
    let spec = spec.strategy(Strategy::OneForAll).child(a.child(Restart::Permanent)).child(b.child(Restart::Permanent));
    let root = Supervisor::start(spec).await.unwrap();
    events.until_started(&["a", "b"]).await;
    a.send(Order::Panic);
    events.until_started(&["a", "b"]).await;
    root.restart_child("a").await.unwrap();
    let view = root.observe(SOON).await;
    let causes = |i: usize| view.children[i].restarted.iter().map(|r| r.cause.as_deref()).collect::<Vec<_>>();
    assert_eq!(causes(0), [None, Some("panicked: told to")], "the newest first");
    assert_eq!(causes(1), [Some("together with a")]);
    assert!(view.children[0].restarted.iter().all(|r| r.at_ms > 0) && view.children[0].last_error_at_ms > 0);
}

#[tokio::test(start_paused = true)]
async fn an_actor_is_found_by_its_path_and_stopped_and_started_again() {
    let journal = Journal::default();
    let [a, b] = ["a", "b"].map(|name| actor(name, &journal));
    let inner = SupervisorSpec::new("inner").child(b.child(Restart::Permanent));
    let spec = SupervisorSpec::new("root").child(a.child(Restart::Permanent));
    let root = Supervisor::start(spec.child(ChildSpec::supervisor(inner, Restart::Permanent))).await.unwrap();
    let found = root.find("b").await.unwrap();
    found.stop().await.unwrap();
    assert_eq!(root.observe(SOON).await.children[1].children[0].state, ActorState::Stopped);
    assert_eq!(root.find("b").await.unwrap().restart().await, Ok(()));
    assert_eq!((b.life().await, a.life().await), (2, 1));
    root.find("inner").await.unwrap().restart().await.unwrap();
    assert_eq!((b.life().await, a.life().await), (3, 1));
    assert!(root.find("c").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_trace_names_each_message_and_says_how_long_it_waited() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    let root = Supervisor::start(SupervisorSpec::new("root").child(a.child(Restart::Permanent))).await.unwrap();
    a.send(Order::Note("not seen"));
    assert_eq!(a.life().await, 1);
    let mut trace = root.find("a").await.unwrap().trace();
    a.send(Order::Work(Duration::from_millis(20)));
    a.send(Order::Note("seen"));
    a.send(Order::Fail);
    let mut next = async || tokio::time::timeout(SOON, trace.recv()).await.unwrap().unwrap();
    let work = next().await;
    assert_eq!((work.message.as_str(), work.waited_us, work.ok), ("Work", Some(0), true));
    assert!(work.handled_us >= 20_000, "{work:?}");
    let note = next().await;
    assert_eq!(note.message, "Note");
    assert!(note.waited_us.is_some_and(|us| us >= 20_000), "{note:?}");
    let fail = next().await;
    assert_eq!((fail.message.as_str(), fail.ok), ("Fail", false));
}
