//! Orderly ends, children that come and go, supervisors below supervisors.

mod probe;

use std::time::Duration;

use nsfl_actor::{
    ActorState, Address, AskError, ChildEvent, ChildSpec, Context, Exit, Failure, Next, Reply, Restart, Role,
    Supervisor, SupervisorSpec,
};
use probe::{Journal, Order, SOON, actor, exit, spec};
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn shutdown_drains_and_stops_the_children_in_reverse_order() {
    let journal = Journal::default();
    let [a, b, c] = ["a", "b", "c"].map(|name| actor(name, &journal));
    let inner = SupervisorSpec::new("inner").child(b.child(Restart::Permanent)).child(c.child(Restart::Permanent));
    let spec = SupervisorSpec::new("root").child(a.child(Restart::Permanent));
    let root = Supervisor::start(spec.child(ChildSpec::supervisor(inner, Restart::Permanent))).await.unwrap();
    journal.read();
    b.send(Order::Work(SOON));
    b.send(Order::Note("b drained"));
    root.shutdown(Duration::from_secs(60)).await;
    assert_eq!(journal.read(), ["stop c", "b drained", "stop b", "stop a"]);
    assert_eq!(exit(&root).await, Exit::Stopped);
    assert_eq!(a.address.ask(SOON, Order::Ping).await, Err(AskError::Down));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_end_in_its_time_is_killed_and_the_others_still_stop_orderly() {
    let journal = Journal::default();
    let [a, b, mut c] = ["a", "b", "c"].map(|name| actor(name, &journal));
    c.script.hangs_in_stop = true;
    let spec = SupervisorSpec::new("root").child(a.child(Restart::Permanent));
    let spec = spec.child(b.child(Restart::Permanent).shutdown(SOON)).child(c.child(Restart::Permanent).shutdown(SOON));
    let root = Supervisor::start(spec).await.unwrap();
    journal.read();
    b.send(Order::Hang);
    let begun = tokio::time::Instant::now();
    root.shutdown(Duration::from_secs(60)).await;
    assert!(begun.elapsed() < 3 * SOON);
    assert_eq!(journal.read(), ["stop a"]);
    assert_eq!(exit(&root).await, Exit::Stopped);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_deadline_of_a_shutdown_is_killed() {
    let journal = Journal::default();
    let a = actor("a", &journal);
    let child = a.child(Restart::Permanent).shutdown(Duration::from_secs(3600));
    let root = Supervisor::start(SupervisorSpec::new("root").child(child)).await.unwrap();
    a.send(Order::Hang);
    let asked = a.address.clone();
    let asked = tokio::spawn(async move { asked.ask(Duration::from_secs(60), Order::Ping).await });
    tokio::task::yield_now().await;
    root.shutdown(SOON).await;
    assert_eq!(exit(&root).await, Exit::Escalated(Failure::new("killed")));
    assert_eq!(asked.await.unwrap(), Err(AskError::Dropped));
}

#[tokio::test(start_paused = true)]
async fn children_come_and_go_by_name() {
    let journal = Journal::default();
    let [a, b] = ["a", "b"].map(|name| actor(name, &journal));
    let (spec, mut events) = spec("jobs");
    let jobs = Supervisor::start(spec).await.unwrap();
    jobs.start_child(a.child(Restart::Transient)).await.unwrap();
    jobs.start_child(b.child(Restart::Transient)).await.unwrap();
    let taken = jobs.start_child(a.child(Restart::Transient)).await.unwrap_err();
    assert_eq!(taken.message, "there is a child called a");
    jobs.restart_child("a").await.unwrap();
    assert_eq!((a.life().await, b.life().await), (2, 1));
    jobs.stop_child("a").await.unwrap();
    assert_eq!(jobs.observe(SOON).await.children.len(), 1);
    assert!(jobs.stop_child("a").await.is_err());
    b.send(Order::Stop);
    events.until_started(&["a", "b", "a"]).await;
    assert_eq!(events.next().await, ChildEvent::Stopped { path: "a".into() });
    assert_eq!(events.next().await, ChildEvent::Stopped { path: "b".into() });
    assert!(jobs.observe(SOON).await.children.is_empty());
    jobs.start_child(b.child(Restart::Transient)).await.unwrap();
    assert_eq!(b.life().await, 2);
    assert_eq!(journal.read(), ["start a", "start b", "stop a", "start a", "stop a", "stop b", "start b"]);
}

#[tokio::test(start_paused = true)]
async fn two_first_children_of_one_name_fail_the_start() {
    let a = actor("a", &Journal::default());
    let spec = SupervisorSpec::new("root").child(a.child(Restart::Permanent)).child(a.child(Restart::Permanent));
    assert_eq!(Supervisor::start(spec).await.unwrap_err().message, "two children are called a");
}

#[tokio::test(start_paused = true)]
async fn a_child_whose_first_start_fails_is_not_kept() {
    let journal = Journal::default();
    let mut a = actor("a", &journal);
    a.script.bad_starts = 1..2;
    let jobs = Supervisor::start(SupervisorSpec::new("jobs")).await.unwrap();
    assert_eq!(jobs.start_child(a.child(Restart::Permanent)).await, Err(Failure::new("bad start")));
    assert!(jobs.observe(SOON).await.children.is_empty());
    jobs.start_child(a.child(Restart::Permanent)).await.unwrap();
    assert_eq!(a.life().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_stopped_while_it_starts_is_gone() {
    let journal = Journal::default();
    let mut a = actor("a", &journal);
    a.script.endless_starts = 1..2;
    let jobs = Supervisor::start(SupervisorSpec::new("jobs")).await.unwrap();
    let start = {
        let (jobs, child) = (jobs.clone(), a.child(Restart::Permanent));
        tokio::spawn(async move { jobs.start_child(child).await })
    };
    tokio::task::yield_now().await;
    jobs.stop_child("a").await.unwrap();
    assert!(start.await.unwrap().is_err());
    assert!(jobs.observe(SOON).await.children.is_empty());
}

/// Starts what it is told under a supervisor whose handle it was given before that one ran.
struct Starter(Supervisor);

impl Role for Starter {
    type Msg = (ChildSpec, Reply<Result<(), Failure>>);
    type Args = Supervisor;
    const KIND: &'static str = "starter";

    async fn start(jobs: Supervisor, _ctx: &Context<Self::Msg>) -> Result<Self, Failure> {
        Ok(Self(jobs))
    }

    async fn handle(&mut self, (child, reply): Self::Msg, _ctx: &Context<Self::Msg>) -> Result<Next, Failure> {
        reply.send(self.0.start_child(child).await);
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        json!(null)
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_reaches_its_supervisor_before_and_after_a_restart_which_forgets_the_children_started_later() {
    let journal = Journal::default();
    let [a, b] = ["a", "b"].map(|name| actor(name, &journal));
    let starter = Address::new("starter", 4);
    let jobs = Supervisor::unbound("root/jobs");
    let (spec, mut events) = spec("root");
    let inner = SupervisorSpec::new("jobs").bind(&jobs).intensity(0, SOON);
    let spec = spec.child(ChildSpec::role::<Starter>("starter", &starter, jobs.clone(), Restart::Permanent));
    let root = Supervisor::start(spec.child(ChildSpec::supervisor(inner, Restart::Permanent))).await.unwrap();
    events.until_started(&["starter", "root/jobs"]).await;
    let start = async |child| starter.ask(SOON, |reply| (child, reply)).await.unwrap();

    start(a.child(Restart::Permanent)).await.unwrap();
    start(b.child(Restart::Permanent)).await.unwrap();
    b.send(Order::Fail);
    events.until_started(&["root/jobs"]).await;
    assert!(jobs.observe(SOON).await.children.is_empty());
    assert_eq!(a.address.ask(SOON, Order::Ping).await, Err(AskError::Down));
    start(a.child(Restart::Permanent)).await.unwrap();
    assert_eq!(a.life().await, 2);
    let view = root.observe(SOON).await;
    assert_eq!((view.children[1].restarts, view.children[1].state), (1, ActorState::Running));
    assert_eq!(view.children[1].children[0].path, "a");
}
