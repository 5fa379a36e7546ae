//! What a client promises when parts of it, the link or the server die in the middle of a task.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod world;

use async_trait::async_trait;
use nsfl_messages::wire::{TaskCommand, TaskReport};
use nsfl_store::memory::MemoryTaskStore;
use nsfl_store::{Certainty, StoreError, TaskRecord, TaskStore};
use nsfl_types::{Code, TaskKey};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use world::{TRAINS, TRAINS_ON_GO, read_when_there, runs, soon, train, world, world_with};

/// Fails writes in a range of their count, after having done them: whoever writes cannot know.
struct Faulty {
    store: MemoryTaskStore,
    writes: AtomicUsize,
    fail: std::ops::Range<usize>,
}

impl Faulty {
    fn new(fail: std::ops::Range<usize>) -> Arc<Self> {
        Arc::new(Self { store: MemoryTaskStore::default(), writes: AtomicUsize::new(0), fail })
    }
}

#[async_trait]
impl TaskStore for Faulty {
    async fn put(&self, record: TaskRecord) -> Result<(), StoreError> {
        self.store.put(record).await?;
        if self.fail.contains(&self.writes.fetch_add(1, Ordering::Relaxed)) {
            let source = Box::new(std::io::Error::other("the disk has gone"));
            return Err(StoreError::Backend { what: "a test".into(), certainty: Certainty::MaybeDone, source });
        }
        Ok(())
    }

    async fn remove(&self, key: &TaskKey) -> Result<(), StoreError> {
        self.store.remove(key).await
    }

    async fn all(&self) -> Result<Vec<TaskRecord>, StoreError> {
        self.store.all().await
    }
}

#[tokio::test]
async fn a_task_survives_the_failure_of_whoever_writes_its_record() {
    // 0: the task manager records the order; 1: fetched, now training; 2: trained; 3: uploaded; 4: ended
    for write in 0..5 {
        let faulty = Faulty::new(write..write + 1);
        let tasks = faulty.clone();
        let mut world = world_with(TRAINS, |site| site.tasks = tasks).await;
        world.order(&train(1)).await;
        world.done(&train(1)).await;
        world.command(&TaskCommand::Ack { key: train(1) }).await;
        world.until_nothing_is_held(&[world.base.digest]).await;
        assert!(faulty.writes.load(Ordering::Relaxed) > write, "write {write} was never made");
    }
}

#[tokio::test]
async fn a_task_whose_executor_fails_again_and_again_is_reported_as_failed() {
    // the record of "training" cannot be written, six lives long
    let mut world = world_with(TRAINS_ON_GO, |site| site.tasks = Faulty::new(1..8)).await;
    world.order(&train(1)).await;
    let failed = world.report_that(|report| matches!(report, TaskReport::Failed { .. })).await;
    let TaskReport::Failed { key, code, reason, .. } = failed else { panic!() };
    assert_eq!((key, code), (train(1), Code::Internal));
    assert!(reason.contains("the disk has gone"), "{reason}");
    world.command(&TaskCommand::Ack { key: train(1) }).await;
    world.until_nothing_is_held(&[world.base.digest]).await;
}

#[tokio::test]
async fn a_node_that_restarts_in_the_middle_finishes_its_task_and_kills_no_stranger() {
    let mut world = world("echo $$ > ../../pid; sleep 1000").await;
    world.order(&train(1)).await;
    let pid = read_when_there(&world.path("pid")).await;
    world.stop_client().await;
    soon("the trainer's end", async {
        while runs(&pid) {
            tokio::task::yield_now().await
        }
    })
    .await;
    std::fs::write(world.path("trainer.sh"), TRAINS).unwrap();
    world.start_client().await;
    let inventory = world.report_that(|report| matches!(report, TaskReport::Inventory { .. })).await;
    assert_eq!(inventory, TaskReport::Inventory { tasks: vec![train(1)] });
    world.done(&train(1)).await;
}

#[tokio::test]
async fn the_task_manager_may_die_while_a_trainer_works() {
    let mut world = world(TRAINS_ON_GO).await;
    world.order(&train(1)).await;
    world.report_that(|report| *report == TaskReport::Started { key: train(1) }).await;
    let tree = world.tree.clone().unwrap();
    tree.restart_child("task-manager").await.unwrap();
    let inventory = world.report_that(|report| matches!(report, TaskReport::Inventory { .. })).await;
    assert_eq!(inventory, TaskReport::Inventory { tasks: vec![train(1)] });
    std::fs::write(world.path("go"), "").unwrap();
    let next = world.report_that(|report| !matches!(report, TaskReport::Uploading { .. })).await;
    assert!(matches!(next, TaskReport::Done { .. }), "the same trainer goes on, none is started anew: {next:?}");
    world.command(&TaskCommand::Ack { key: train(1) }).await;
    world.until_nothing_is_held(&[world.base.digest]).await;
}

#[tokio::test]
async fn a_server_that_comes_back_is_told_what_is_held_and_again_what_was_not_answered() {
    let mut world = world(TRAINS).await;
    world.order(&train(1)).await;
    let done = world.done(&train(1)).await;
    world.stop_server().await;
    world.start_server().await;
    let inventory = world.report_that(|report| matches!(report, TaskReport::Inventory { .. })).await;
    assert_eq!(inventory, TaskReport::Inventory { tasks: vec![train(1)] });
    assert_eq!(world.done(&train(1)).await, done);
    world.command(&TaskCommand::Ack { key: train(1) }).await;
    world.until_nothing_is_held(&[world.base.digest]).await;
}

#[tokio::test]
async fn a_task_trains_on_while_the_server_is_away() {
    let mut world = world(TRAINS_ON_GO).await;
    world.order(&train(1)).await;
    world.report_that(|report| *report == TaskReport::Started { key: train(1) }).await;
    world.stop_server().await;
    std::fs::write(world.path("go"), "").unwrap();
    let trained = nsfl_types::BlobRef::of(&world::model(&world::DELTA)).digest;
    soon("the delta", async {
        use nsfl_store::BlobStore as _;
        while world.blobs.stat(trained).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.start_server().await;
    world.done(&train(1)).await;
}

#[tokio::test]
async fn a_server_that_comes_back_while_a_trainer_works_is_told_so() {
    let mut world = world(TRAINS_ON_GO).await;
    let started = TaskReport::Started { key: train(1) };
    world.order(&train(1)).await;
    assert_eq!(world.report().await, started);
    world.stop_server().await;
    world.start_server().await;
    assert_eq!(world.report().await, TaskReport::Inventory { tasks: vec![train(1)] });
    assert_eq!(world.report().await, started);
}
