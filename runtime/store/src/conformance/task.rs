//! What every task store must do.

use super::sample::{task, task_key};
use crate::{MAX_TASK_RECORD, StoreError, TaskRecord, TaskStore};
use nsfl_types::TaskKind;
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;

/// Checks a task store. `open` makes a store in the folder given.
pub async fn task_store<S: TaskStore>(open: impl AsyncFn(&Path) -> S) {
    let fresh = async || {
        let folder = tempfile::tempdir().unwrap();
        (open(folder.path()).await, folder)
    };
    what_was_put_is_listed_by_key(&fresh().await.0).await;
    a_record_put_again_replaces_the_first(&fresh().await.0).await;
    a_removed_record_is_gone_and_removing_it_again_is_nothing(&fresh().await.0).await;
    a_record_above_the_limit_is_refused_and_one_at_the_limit_is_not(&fresh().await.0).await;
    writes_that_nobody_waits_for_are_done_in_order_and_before_what_is_asked_next(&fresh().await.0).await;
}

/// Checks that records are there after the store was closed and opened again.
pub async fn task_store_persists<S: TaskStore>(open: impl AsyncFn(&Path) -> S) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.put(task("a", "x", 10)).await.unwrap();
    store.put(task("a", "y", MAX_TASK_RECORD)).await.unwrap();
    store.put(task("a", "z", 10)).await.unwrap();
    store.remove(&task("a", "z", 0).key).await.unwrap();
    drop(store);
    assert_eq!(open(folder.path()).await.all().await.unwrap(), [task("a", "x", 10), task("a", "y", MAX_TASK_RECORD)]);
}

async fn what_was_put_is_listed_by_key(store: &dyn TaskStore) {
    let record = |attempt, kind, client| TaskRecord { key: task_key("j", attempt, kind, client), snapshot: vec![1] };
    let ordered = [
        record(1, TaskKind::Train, "b"),
        record(1, TaskKind::Evaluate, "a"),
        record(2, TaskKind::Train, "a"),
        record(10, TaskKind::Train, "a"),
    ];
    for index in [3, 0, 2, 1] {
        store.put(ordered[index].clone()).await.unwrap();
    }
    assert_eq!(store.all().await.unwrap(), ordered);
}

async fn a_record_put_again_replaces_the_first(store: &dyn TaskStore) {
    store.put(task("a", "x", 1)).await.unwrap();
    store.put(task("a", "x", 2)).await.unwrap();
    assert_eq!(store.all().await.unwrap(), [task("a", "x", 2)]);
}

async fn a_removed_record_is_gone_and_removing_it_again_is_nothing(store: &dyn TaskStore) {
    store.put(task("a", "x", 1)).await.unwrap();
    store.put(task("b", "x", 1)).await.unwrap();
    store.remove(&task("a", "x", 0).key).await.unwrap();
    store.remove(&task("a", "x", 0).key).await.unwrap();
    assert_eq!(store.all().await.unwrap(), [task("b", "x", 1)]);
}

async fn a_record_above_the_limit_is_refused_and_one_at_the_limit_is_not(store: &dyn TaskStore) {
    store.put(task("a", "x", MAX_TASK_RECORD)).await.unwrap();
    let refused = store.put(task("a", "y", MAX_TASK_RECORD + 1)).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    assert_eq!(store.all().await.unwrap().len(), 1);
}

/// As when executors of one task are killed one after the other while they write.
async fn writes_that_nobody_waits_for_are_done_in_order_and_before_what_is_asked_next(store: &dyn TaskStore) {
    let key = task("a", "x", 0).key;
    for last in 1..=20 {
        for len in 0..=last {
            begun_and_left(store.put(task("a", "x", len))).await;
        }
        assert_eq!(store.all().await.unwrap(), [task("a", "x", last)]);
        begun_and_left(store.remove(&key)).await;
        assert_eq!(store.all().await.unwrap(), []);
    }
}

/// Polled once: it was asked for, and nobody waits for it.
async fn begun_and_left<T>(asked: impl Future<Output = T>) {
    let mut asked = pin!(asked);
    poll_fn(|context| {
        let _ = asked.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}
