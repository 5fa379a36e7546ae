//! Who is restarted when, after which pause, and when a supervisor gives up.

mod probe;

use std::time::Duration;

use nsfl_actor::{ActorState, ChildEvent, ChildSpec, Exit, Failure, GiveUp, Restart, SendError, Strategy, Supervisor};
use probe::{Journal, Order, SOON, actor, exit, spec};

#[tokio::test(start_paused = true)]
async fn one_for_one_restarts_only_the_child_that_failed() {
    let journal = Journal::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| actor(name, &journal));
    let (spec, mut events) = spec("root");
    let children = [&a, &b, &c].map(|actor| actor.child(Restart::Permanent));
    Supervisor::start(children.into_iter().fold(spec, |spec, child| spec.child(child))).await.unwrap();
    events.until_started(&["a", "b", "c"]).await;
    b.send(Order::Fail);
    events.until_started(&["b"]).await;
    assert_eq!([a.life().await, b.life().await, c.life().await], [1, 2, 1]);
    assert_eq!(journal.read(), ["start a", "start b", "start c", "start b"]);
}

#[tokio::test(start_paused = true)]
async fn one_for_all_ends_the_others_in_reverse_and_starts_all_in_order() {
    let journal = Journal::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| actor(name, &journal));
    let (spec, mut events) = spec("root");
    let children = [&a, &b, &c].map(|actor| actor.child(Restart::Permanent));
    let spec = children.into_iter().fold(spec, |spec, child| spec.child(child)).strategy(Strategy::OneForAll);
    Supervisor::start(spec).await.unwrap();
    events.until_started(&["a", "b", "c"]).await;
    journal.read();
    b.send(Order::Panic);
    events.until_started(&["a", "b", "c"]).await;
    assert_eq!(journal.read(), ["stop c", "stop a", "start a", "start b", "start c"]);
    assert_eq!([a.life().await, b.life().await, c.life().await], [2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_restarts_the_child_and_those_started_after_it() {
    let journal = Journal::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| actor(name, &journal));
    let (spec, mut events) = spec("root");
    let children = [&a, &b, &c].map(|actor| actor.child(Restart::Permanent));
    let spec = children.into_iter().fold(spec, |spec, child| spec.child(child)).strategy(Strategy::RestForOne);
    Supervisor::start(spec).await.unwrap();
    events.until_started(&["a", "b", "c"]).await;
    journal.read();
    b.send(Order::Fail);
    events.until_started(&["b", "c"]).await;
    assert_eq!(journal.read(), ["stop c", "start b", "start c"]);
    assert_eq!([a.life().await, b.life().await, c.life().await], [1, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_second_failure_during_a_group_restart_restarts_the_wider_group() {
    let journal = Journal::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| actor(name, &journal));
    let (spec, mut events) = spec("root");
    let children = [&a, &b, &c].map(|actor| actor.child(Restart::Permanent));
    let spec = children.into_iter().fold(spec, |spec, child| spec.child(child)).strategy(Strategy::RestForOne);
    Supervisor::start(spec).await.unwrap();
    events.until_started(&["a", "b", "c"]).await;
    journal.read();
    c.send(Order::Fail);
    a.send(Order::Fail);
    events.until_started(&["a", "b", "c"]).await;
    assert_eq!(journal.read(), ["stop b", "start a", "start b", "start c"]);
}

#[tokio::test(start_paused = true)]
async fn under_one_for_all_a_temporary_sibling_is_ended_and_stays_ended() {
    let journal = Journal::default();
    let [a, b] = ["a", "b"].map(|name| actor(name, &journal));
    let (spec, mut events) = spec("root");
    let spec = spec.child(a.child(Restart::Permanent)).child(b.child(Restart::Temporary));
    let root = Supervisor::start(spec.strategy(Strategy::OneForAll)).await.unwrap();
    events.until_started(&["a", "b"]).await;
    a.send(Order::Fail);
    events.until_started(&["a"]).await;
    assert_eq!(root.observe(SOON).await.children[1].state, ActorState::Stopped);
    assert_eq!(b.address.try_tell(Order::Fail), Err(SendError::Down));
}

#[tokio::test(start_paused = true)]
async fn a_normal_end_restarts_a_permanent_child_and_no_other() {
    let journal = Journal::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| actor(name, &journal));
    let (spec, mut events) = spec("root");
    let spec = spec.child(a.child(Restart::Permanent)).child(b.child(Restart::Transient));
    Supervisor::start(spec.child(c.child(Restart::Temporary))).await.unwrap();
    events.until_started(&["a", "b", "c"]).await;
    c.send(Order::Stop);
    assert_eq!(events.next().await, ChildEvent::Stopped { path: "c".into() });
    b.send(Order::Stop);
    assert_eq!(events.next().await, ChildEvent::Stopped { path: "b".into() });
    a.send(Order::Stop);
    events.until_started(&["a"]).await;
    assert!(events.is_empty());
    assert_eq!(b.address.try_tell(Order::Fail), Err(SendError::Down));
}

#[tokio::test(start_paused = true)]
async fn a_failure_restarts_a_transient_child_and_never_a_temporary_one() {
    let journal = Journal::default();
    let [a, b] = ["a", "b"].map(|name| actor(name, &journal));
    let (spec, mut events) = spec("root");
    let spec = spec.child(a.child(Restart::Transient)).child(b.child(Restart::Temporary));
    Supervisor::start(spec).await.unwrap();
    events.until_started(&["a", "b"]).await;
    b.send(Order::Panic);
    let failure = Failure::new("panicked: told to");
    assert_eq!(events.next().await, ChildEvent::GaveUp { path: "b".into(), failure });
    a.send(Order::Panic);
    events.until_started(&["a"]).await;
    assert_eq!(a.life().await, 2);
}

#[tokio::test(start_paused = true)]
async fn the_pause_grows_with_each_failure_up_to_its_maximum_and_starts_anew_after_a_long_life() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    let (spec, mut events) = spec("root");
    let spec = spec.intensity(100, Duration::from_secs(60));
    Supervisor::start(spec.child(a.child(Restart::Permanent))).await.unwrap();
    events.until_started(&["a"]).await;
    let mut pauses = Vec::new();
    for n in 0..6 {
        if n == 5 {
            tokio::time::sleep(Duration::from_secs(61)).await;
        }
        let failed = tokio::time::Instant::now();
        a.send(Order::Fail);
        let ChildEvent::Restarting { after, restarts, failure, .. } = events.next().await else { panic!("no restart") };
        assert_eq!((restarts, failure.message.as_str()), (n + 1, "invalid digit found in string"));
        events.until_started(&["a"]).await;
        assert!(failed.elapsed() >= after);
        pauses.push(after);
    }
    for (pause, whole_ms) in pauses.iter().zip([10, 20, 40, 40, 40, 10]) {
        let whole = Duration::from_millis(whole_ms);
        assert!(*pause <= whole && *pause >= whole / 2, "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_failure_too_many_escalates_up_to_the_exit_of_the_root() {
    let journal = Journal::default();
    let [a, b] = ["a", "b"].map(|name| actor(name, &journal));
    let (inner, mut events) = spec("inner");
    let inner = inner.intensity(1, SOON).child(a.child(Restart::Permanent)).child(b.child(Restart::Permanent));
    let (outer, mut outer_events) = spec("outer");
    let outer = outer.intensity(0, SOON).child(ChildSpec::supervisor(inner, Restart::Permanent));
    let root = Supervisor::start(outer).await.unwrap();
    events.until_started(&["a", "b"]).await;
    outer_events.until_started(&["inner"]).await;
    a.send(Order::Fail);
    events.until_started(&["a"]).await;
    journal.read();
    b.send(Order::Panic);
    let Exit::Escalated(failure) = exit(&root).await else { panic!("stopped") };
    assert_eq!(failure.message, "inner failed too often");
    assert_eq!(failure.causes, ["b failed too often", "panicked: told to"]);
    assert_eq!(journal.read(), ["stop a"]);
    assert_eq!(a.address.try_tell(Order::Fail), Err(SendError::Down));
}

#[tokio::test(start_paused = true)]
async fn failures_further_apart_than_the_period_do_not_add_up() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    let (spec, mut events) = spec("root");
    Supervisor::start(spec.intensity(1, SOON).child(a.child(Restart::Permanent))).await.unwrap();
    events.until_started(&["a"]).await;
    for life in 1..5 {
        assert_eq!(a.life().await, life);
        a.send(Order::Fail);
        events.until_started(&["a"]).await;
        tokio::time::sleep(2 * SOON).await;
    }
}

#[tokio::test(start_paused = true)]
async fn under_drop_only_the_child_that_fails_too_often_is_given_up() {
    let journal = Journal::default();
    let [a, b] = ["a", "b"].map(|name| actor(name, &journal));
    let (spec, mut events) = spec("root");
    let spec = spec.intensity(1, 60 * SOON).give_up(GiveUp::Drop);
    let spec = spec.child(a.child(Restart::Permanent)).child(b.child(Restart::Permanent));
    let root = Supervisor::start(spec).await.unwrap();
    events.until_started(&["a", "b"]).await;
    b.send(Order::Fail);
    events.until_started(&["b"]).await;
    a.send(Order::Panic);
    events.until_started(&["a"]).await;
    a.send(Order::Panic);
    let failure = Failure::new("panicked: told to");
    assert_eq!(events.next().await, ChildEvent::GaveUp { path: "a".into(), failure: failure.clone() });
    assert_eq!(b.life().await, 2);
    let view = root.observe(SOON).await;
    assert_eq!((view.children[0].state, view.children[1].state), (ActorState::Stopped, ActorState::Running));
    assert_eq!(view.children[0].last_error, Some(failure));
    root.restart_child("a").await.unwrap();
    assert_eq!(a.life().await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_fails_the_tree_after_stopping_those_before_it_in_reverse() {
    let journal = Journal::default();
    let [a, b, mut c] = ["a", "b", "c"].map(|name| actor(name, &journal));
    c.script.bad_starts = 1..2;
    let (spec, _events) = spec("root");
    let children = [&a, &b, &c].map(|actor| actor.child(Restart::Permanent));
    let spec = children.into_iter().fold(spec, |spec, child| spec.child(child));
    let failure = Supervisor::start(spec).await.unwrap_err();
    assert_eq!(failure, Failure::new("bad start").context("c failed to start"));
    assert_eq!(journal.read(), ["start a", "start b", "stop b", "stop a"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_at_a_restart_counts_as_another_failure() {
    let journal = Journal::default();
    let mut a = actor("a", &journal);
    a.script.bad_starts = 2..4;
    let (spec, mut events) = spec("root");
    let root = Supervisor::start(spec.intensity(3, SOON).child(a.child(Restart::Permanent))).await.unwrap();
    events.until_started(&["a"]).await;
    a.send(Order::Fail);
    events.until_started(&["a"]).await;
    assert_eq!(a.life().await, 4);
    assert_eq!(root.observe(SOON).await.children[0].restarts, 3);
    a.send(Order::Fail);
    assert!(matches!(exit(&root).await, Exit::Escalated(_)));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_starts_for_ever_keeps_nobody_waiting() {
    let journal = Journal::default();
    let [mut a, b] = ["a", "b"].map(|name| actor(name, &journal));
    a.script.endless_starts = 2..3;
    let (spec, mut events) = spec("root");
    let spec = spec.child(a.child(Restart::Permanent)).child(b.child(Restart::Permanent));
    let root = Supervisor::start(spec).await.unwrap();
    events.until_started(&["a", "b"]).await;
    a.send(Order::Fail);
    b.send(Order::Fail);
    events.until_started(&["b"]).await;
    tokio::time::sleep(SOON).await;
    let view = root.observe(SOON).await;
    assert_eq!((view.children[0].state, view.children[1].state), (ActorState::Starting, ActorState::Running));
    root.stop_child("a").await.unwrap();
    root.restart_child("a").await.unwrap();
    assert_eq!(a.life().await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_before_its_supervisor_knows_it_has_started_is_restarted() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    let (spec, mut events) = spec("root");
    let root = Supervisor::start(spec).await.unwrap();
    let child = a.child(Restart::Permanent);
    let start = tokio::spawn(async move { root.start_child(child).await });
    while a.address.try_tell(Order::Fail).is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(start.await.unwrap(), Ok(()));
    events.until_started(&["a", "a"]).await;
    assert_eq!(a.life().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_sibling_that_ends_by_itself_before_its_turn_to_be_ended_is_started_with_the_others() {
    let journal = Journal::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| actor(name, &journal));
    let (spec, mut events) = spec("root");
    let children = [&a, &b, &c].map(|actor| actor.child(Restart::Transient));
    let spec = children.into_iter().fold(spec, |spec, child| spec.child(child)).strategy(Strategy::OneForAll);
    Supervisor::start(spec).await.unwrap();
    events.until_started(&["a", "b", "c"]).await;
    c.send(Order::Work(SOON));
    a.send(Order::Fail);
    assert!(matches!(events.next().await, ChildEvent::Restarting { .. }));
    b.send(Order::Stop);
    events.until_started(&["a", "b", "c"]).await;
    assert_eq!([a.life().await, b.life().await, c.life().await], [2, 2, 2]);
}
