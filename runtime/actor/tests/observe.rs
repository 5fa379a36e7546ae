//! What one sees of a tree, whether its actors answer or not.

mod probe;

use std::time::Duration;

use nsfl_actor::{ActorState, ActorView, ChildSpec, Restart, Supervisor, SupervisorSpec};
use probe::{Journal, Order, SOON, actor, spec};
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn a_stuck_actor_is_unresponsive_and_the_others_answer() {
    let journal = Journal::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| actor(name, &journal));
    let inner = SupervisorSpec::new("inner").child(b.child(Restart::Permanent)).child(c.child(Restart::Permanent));
    let spec = SupervisorSpec::new("root").child(a.child(Restart::Permanent));
    let root = Supervisor::start(spec.child(ChildSpec::supervisor(inner, Restart::Permanent))).await.unwrap();
    b.send(Order::Hang);
    tokio::task::yield_now().await;
    b.send(Order::Note("queued"));

    let asked = tokio::time::Instant::now();
    let view = root.observe(SOON).await;
    assert!(asked.elapsed() < SOON);
    assert_eq!((view.path.as_str(), view.kind.as_str(), view.state), ("root", "supervisor", ActorState::Running));
    let [a, inner] = &view.children[..] else { panic!("{view:?}") };
    assert_eq!((a.state, &a.detail, a.kind.as_str()), (ActorState::Running, &json!({ "life": 1 }), "probe"));
    assert!(a.started_at_ms > 0);
    let [b, c] = &inner.children[..] else { panic!("{view:?}") };
    assert_eq!((b.state, b.mailbox.depth, &b.detail), (ActorState::Unresponsive, 1, &Value::Null));
    assert_eq!(c.state, ActorState::Running);
    let read: ActorView = serde_json::from_value(serde_json::to_value(&view).unwrap()).unwrap();
    assert_eq!(read, view);
}

#[tokio::test(start_paused = true)]
async fn observe_is_answered_ahead_of_a_full_mailbox() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    Supervisor::start(SupervisorSpec::new("root").child(a.child(Restart::Permanent))).await.unwrap();
    a.send(Order::Work(SOON));
    tokio::task::yield_now().await;
    for _ in 0..4 {
        a.send(Order::Work(SOON));
    }
    let view = a.address.observe(Duration::from_millis(1500)).await.unwrap();
    assert_eq!((view.mailbox.depth, view.handled), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_child_between_two_lives_is_shown_with_its_error() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    let (spec, mut events) = spec("root");
    let spec = spec.backoff(60 * SOON, 60 * SOON).child(a.child(Restart::Permanent));
    let root = Supervisor::start(spec).await.unwrap();
    events.until_started(&["a"]).await;
    a.send(Order::Panic);
    events.next().await;
    let view = &root.observe(SOON).await.children[0];
    assert_eq!((view.state, view.restarts), (ActorState::Restarting, 0));
    assert_eq!(view.last_error.as_ref().unwrap().message, "panicked: told to");
    events.until_started(&["a"]).await;
    assert_eq!(a.address.observe(SOON).await.unwrap().restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_it_is_observed_does_not_end_the_actor() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    Supervisor::start(SupervisorSpec::new("root").child(a.child(Restart::Temporary))).await.unwrap();
    a.send(Order::PanicWhenObserved);
    assert_eq!(a.life().await, 1);
    let view = a.address.observe(SOON).await;
    assert_eq!(view.unwrap().detail, json!({ "observe": "panicked: told to" }));
    assert_eq!(a.life().await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_ended_tree_is_shown_stopped() {
    let root = Supervisor::start(SupervisorSpec::new("root")).await.unwrap();
    root.shutdown(SOON).await;
    assert_eq!(root.observe(SOON).await.state, ActorState::Stopped);
}
