//! What every job store must do.

use super::sample::{checkpoint, event, job, job_key, member, round, run};
use crate::{Change, JobRecord, JobStore, MemberState, Steps, StoreError};
use nsfl_types::TaskKind::{Evaluate, Train};
use nsfl_types::{JobState, Timestamp};
use std::path::Path;
use std::sync::Arc;

/// Checks a job store. `open` makes a store in the folder given.
pub async fn job_store<S: JobStore>(open: impl AsyncFn(&Path) -> S) {
    let fresh = async || {
        let folder = tempfile::tempdir().unwrap();
        (open(folder.path()).await, folder)
    };
    a_batch_whose_last_change_fails_leaves_nothing(&fresh().await.0).await;
    a_job_is_inserted_once_and_updated_only_when_there(&fresh().await.0).await;
    a_write_by_a_replaced_generation_is_fenced(&fresh().await.0).await;
    what_was_asked_for_before_an_empty_batch_is_read_after_it(&fresh().await.0).await;
    deleting_a_job_takes_all_that_is_its_own_and_nothing_else(&fresh().await.0).await;
    a_zombie_cannot_bring_back_a_deleted_job(&fresh().await.0).await;
    within_a_batch_each_change_sees_those_before_it(&fresh().await.0).await;
    what_is_written_is_read_to_the_last_bit(&fresh().await.0).await;
    lists_are_in_the_order_promised(&fresh().await.0).await;
    records_written_again_replace_the_first(&fresh().await.0).await;
    a_members_steps_stay_when_they_are_not_told_again(&fresh().await.0).await;
    failures_are_listed_the_newest_first_up_to_a_limit(&fresh().await.0).await;
    event_ids_count_up_and_are_never_given_twice(&fresh().await.0).await;
    events_are_read_after_an_id_up_to_a_limit_of_one_job_or_all(&fresh().await.0).await;
    the_newest_event_is_told_to_those_who_wait(&fresh().await.0).await;
    let (store, _folder) = fresh().await;
    commits_side_by_side_all_happen(Arc::new(store)).await;
}

/// Checks that records are there after the store was closed and opened again.
pub async fn job_store_persists<S: JobStore>(open: impl AsyncFn(&Path) -> S) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.commit(everything("a")).await.unwrap();
    store
        .commit(vec![Change::InsertJob(job("b")), Change::AppendEvent(event(Some("b"), "job-created"))])
        .await
        .unwrap();
    store.commit(vec![Change::DeleteJob(job_key("b"))]).await.unwrap();
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(*store.newest_event().borrow(), 2);
    assert_holds_everything(&store, "a").await;
    assert_eq!(store.jobs().await.unwrap(), [job("a")]);
    store.commit(vec![Change::AppendEvent(event(None, "node-started"))]).await.unwrap();
    assert_eq!(ids(&store, None, 0, 10).await, [1, 3], "the id of a removed event is not given again");
}

async fn a_batch_whose_last_change_fails_leaves_nothing(store: &dyn JobStore) {
    store.commit(vec![Change::InsertJob(job("taken"))]).await.unwrap();
    let mut batch = everything("a");
    batch.push(Change::UpdateJob(JobRecord { state: JobState::Failed, ..job("taken") }));
    batch.push(Change::InsertJob(job("taken")));
    let refused = store.commit(batch).await;
    assert!(matches!(refused, Err(StoreError::Exists(_))), "{refused:?}");
    assert_eq!(store.jobs().await.unwrap(), [job("taken")]);
    assert_holds_nothing(store, "a").await;
    assert_eq!(ids(store, None, 0, 10).await, [0; 0]);
}

async fn a_job_is_inserted_once_and_updated_only_when_there(store: &dyn JobStore) {
    let changed = JobRecord { state: JobState::Running, started: Some(Timestamp(3)), ..job("a") };
    let refused = store.commit(vec![Change::UpdateJob(changed.clone())]).await;
    assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    store.commit(vec![Change::InsertJob(job("a"))]).await.unwrap();
    let refused = store.commit(vec![Change::InsertJob(changed.clone())]).await;
    assert!(matches!(refused, Err(StoreError::Exists(_))), "{refused:?}");
    assert_eq!(store.job(&job_key("a")).await.unwrap(), Some(job("a")));
    store.commit(vec![Change::UpdateJob(changed.clone())]).await.unwrap();
    assert_eq!(store.job(&job_key("a")).await.unwrap(), Some(changed));
    assert_eq!(store.job(&job_key("b")).await.unwrap(), None);
}

async fn a_write_by_a_replaced_generation_is_fenced(store: &dyn JobStore) {
    store.commit(vec![Change::InsertJob(job("a")), Change::PutRun(run("a", 2))]).await.unwrap();
    store.commit(vec![Change::PutRun(run("a", 2))]).await.unwrap();
    store.commit(vec![Change::PutRun(run("a", 3))]).await.unwrap();
    let zombie = store.commit(vec![Change::PutRound(round("a", 1, Train, 1)), Change::PutRun(run("a", 2))]).await;
    assert!(matches!(zombie, Err(StoreError::Fenced { stored: 3, tried: 2, .. })), "{zombie:?}");
    assert_eq!(store.run(&job_key("a"), 1).await.unwrap(), Some(run("a", 3)));
    assert_eq!(store.rounds(&job_key("a"), 1).await.unwrap(), []);
}

async fn what_was_asked_for_before_an_empty_batch_is_read_after_it(store: &dyn JobStore) {
    for n in 0..50 {
        let name = format!("j{n}");
        // asked for, and then nobody waits for it any more
        tokio::select! {
            biased;
            done = store.commit(vec![Change::InsertJob(job(&name))]) => done.unwrap(),
            () = std::future::ready(()) => {}
        }
        store.commit(Vec::new()).await.unwrap();
        assert!(store.job(&job_key(&name)).await.unwrap().is_some(), "{name}");
    }
}

async fn deleting_a_job_takes_all_that_is_its_own_and_nothing_else(store: &dyn JobStore) {
    store.commit(everything("a")).await.unwrap();
    store.commit(everything("ab")).await.unwrap();
    store.commit(vec![Change::AppendEvent(event(None, "node-started"))]).await.unwrap();
    store.commit(vec![Change::DeleteJob(job_key("a")), Change::DeleteJob(job_key("never-was"))]).await.unwrap();
    assert_eq!(store.job(&job_key("a")).await.unwrap(), None);
    assert_holds_nothing(store, "a").await;
    assert_holds_everything(store, "ab").await;
    store.commit(vec![Change::InsertJob(job("a"))]).await.unwrap();
    assert_holds_nothing(store, "a").await;
    assert_eq!(ids(store, None, 0, 10).await.len(), 2);
}

async fn a_zombie_cannot_bring_back_a_deleted_job(store: &dyn JobStore) {
    store.commit(vec![Change::InsertJob(job("a")), Change::DeleteJob(job_key("a"))]).await.unwrap();
    for change in [
        Change::PutRun(run("a", 1)),
        Change::PutRound(round("a", 1, Train, 1)),
        Change::PutMember(member("a", 1, Train, "x")),
        Change::PutCheckpoint(checkpoint("a", "one", 1)),
    ] {
        let refused = store.commit(vec![change]).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    }
    let farewell = vec![Change::DeleteJob(job_key("a")), Change::AppendEvent(event(Some("a"), "job-deleted"))];
    store.commit(farewell).await.unwrap();
    assert_eq!(ids(store, Some("a"), 0, 10).await.len(), 1, "an event may speak of a job that is gone");
}

async fn within_a_batch_each_change_sees_those_before_it(store: &dyn JobStore) {
    let changed = JobRecord { state: JobState::Stopped, ..job("a") };
    store
        .commit(vec![
            Change::InsertJob(job("a")),
            Change::PutRun(run("a", 5)),
            Change::DeleteJob(job_key("a")),
            Change::InsertJob(job("a")),
            Change::PutRun(run("a", 1)),
            Change::UpdateJob(changed.clone()),
        ])
        .await
        .unwrap();
    assert_eq!(store.run(&job_key("a"), 1).await.unwrap(), Some(run("a", 1)));
    assert_eq!(store.job(&job_key("a")).await.unwrap(), Some(changed));
    let zombie = store.commit(vec![Change::PutRun(run("a", 9)), Change::PutRun(run("a", 8))]).await;
    assert!(matches!(zombie, Err(StoreError::Fenced { stored: 9, tried: 8, .. })), "{zombie:?}");
    assert_eq!(store.run(&job_key("a"), 1).await.unwrap(), Some(run("a", 1)));
}

async fn what_is_written_is_read_to_the_last_bit(store: &dyn JobStore) {
    store.commit(everything("a")).await.unwrap();
    assert_holds_everything(store, "a").await;
    assert_eq!(store.run(&job_key("a"), 2).await.unwrap(), None);
}

async fn lists_are_in_the_order_promised(store: &dyn JobStore) {
    let rounds = [
        round("a", 1, Train, 1),
        round("a", 1, Train, 2),
        round("a", 1, Evaluate, 1),
        round("a", 2, Train, 1),
        round("a", 10, Train, 1),
    ];
    let members = [
        member("a", 1, Train, "x"),
        member("a", 1, Train, "y"),
        member("a", 1, Evaluate, "x"),
        member("a", 2, Train, "w"),
    ];
    let saved = [checkpoint("a", "z", 1), checkpoint("a", "y", 2), checkpoint("a", "x", 10)];
    let mut batch: Vec<_> = ["b", "a.b", "a"].iter().map(|id| Change::InsertJob(job(id))).collect();
    batch.extend(rounds.iter().rev().cloned().map(Change::PutRound));
    batch.extend(members.iter().rev().cloned().map(Change::PutMember));
    batch.extend(saved.iter().rev().cloned().map(Change::PutCheckpoint));
    store.commit(batch).await.unwrap();
    assert_eq!(store.jobs().await.unwrap(), [job("a"), job("a.b"), job("b")]);
    assert_eq!(store.rounds(&job_key("a"), 1).await.unwrap(), rounds);
    assert_eq!(store.members(&job_key("a"), 1, 1).await.unwrap(), members);
    assert_eq!(store.checkpoints(&job_key("a")).await.unwrap(), saved);
    assert_eq!(store.rounds(&job_key("a"), 2).await.unwrap(), []);
    assert_eq!(store.members(&job_key("a"), 1, 2).await.unwrap(), []);
    // one whose update went into a later round's model is in both
    let late = crate::MemberRecord { counted: Some(2), ..members[0].clone() };
    store.commit(vec![Change::PutMember(late.clone())]).await.unwrap();
    assert_eq!(store.members(&job_key("a"), 1, 2).await.unwrap(), std::slice::from_ref(&late));
    assert_eq!(store.members(&job_key("a"), 1, 1).await.unwrap()[0], late);
    store.commit(vec![Change::PutMember(members[0].clone())]).await.unwrap();
}

async fn records_written_again_replace_the_first(store: &dyn JobStore) {
    store.commit(everything("a")).await.unwrap();
    let mut again = round("a", 1, Train, 1);
    (again.closed, again.model, again.reason, again.cause) = (None, None, "no quorum".into(), None);
    let mut silent = member("a", 1, Train, "x");
    (silent.code, silent.metrics, silent.cause) = (None, Default::default(), None);
    let mut unmeasured = checkpoint("a", "one", 1);
    unmeasured.accuracy = None;
    let batch = vec![
        Change::PutRound(again.clone()),
        Change::PutMember(silent.clone()),
        Change::PutCheckpoint(unmeasured.clone()),
    ];
    store.commit(batch).await.unwrap();
    assert_eq!(store.rounds(&job_key("a"), 1).await.unwrap(), [again]);
    assert_eq!(store.members(&job_key("a"), 1, 1).await.unwrap(), [silent]);
    assert_eq!(store.checkpoints(&job_key("a")).await.unwrap(), [unmeasured]);
}

async fn a_members_steps_stay_when_they_are_not_told_again(store: &dyn JobStore) {
    let told = |sent, started, uploading, bytes| Steps {
        sent: Some(sent).filter(|at| *at > 0).map(Timestamp),
        started: Some(started).filter(|at| *at > 0).map(Timestamp),
        uploading: Some(uploading).filter(|at| *at > 0).map(Timestamp),
        bytes: Some(bytes).filter(|bytes| *bytes > 0),
    };
    let mut batch = vec![Change::InsertJob(job("a"))];
    // sent again after a restart, then accepted
    for steps in [told(1, 0, 0, 0), told(0, 2, 0, 0), told(9, 9, 0, 0), told(0, 0, 3, 4), Steps::default()] {
        batch.push(Change::PutMember(crate::MemberRecord { steps, ..member("a", 1, Train, "x") }));
    }
    store.commit(batch).await.unwrap();
    let read = store.members(&job_key("a"), 1, 1).await.unwrap();
    assert_eq!(read.into_iter().map(|member| member.steps).collect::<Vec<_>>(), [told(1, 2, 3, 4)]);
}

async fn failures_are_listed_the_newest_first_up_to_a_limit(store: &dyn JobStore) {
    let of = |round: u32, attempt: u32, kind, client: &str, state| {
        let mut record = member("a", attempt, kind, client);
        (record.task.round, record.state) = (round, state);
        record
    };
    let failed = [
        of(10, 1, Train, "x", MemberState::Straggler),
        of(2, 2, Train, "x", MemberState::Failed),
        of(2, 1, Evaluate, "x", MemberState::Refused),
        of(2, 1, Train, "y", MemberState::Failed),
        of(2, 1, Train, "x", MemberState::Failed),
    ];
    let well =
        [MemberState::Invited, MemberState::Started, MemberState::Accepted].map(|state| of(11, 1, Train, "x", state));
    let mut other_run = of(12, 1, Train, "x", MemberState::Failed);
    other_run.task.run = 2;
    let mut batch = vec![Change::InsertJob(job("a")), Change::PutMember(other_run)];
    batch.extend(failed.iter().chain(&well).cloned().map(Change::PutMember));
    store.commit(batch).await.unwrap();
    assert_eq!(store.failures(&job_key("a"), 1, 10).await.unwrap(), failed);
    assert_eq!(store.failures(&job_key("a"), 1, 2).await.unwrap(), failed[..2]);
    assert_eq!(store.failures(&job_key("b"), 1, 10).await.unwrap(), []);
}

async fn event_ids_count_up_and_are_never_given_twice(store: &dyn JobStore) {
    store.commit(vec![Change::InsertJob(job("a"))]).await.unwrap();
    for _ in 0..2 {
        store.commit(vec![Change::AppendEvent(event(Some("a"), "job-queued"))]).await.unwrap();
    }
    assert_eq!(ids(store, None, 0, 10).await, [1, 2]);
    store.commit(vec![Change::DeleteJob(job_key("a")), Change::AppendEvent(event(None, "x"))]).await.unwrap();
    assert_eq!(ids(store, None, 0, 10).await, [3]);
}

async fn events_are_read_after_an_id_up_to_a_limit_of_one_job_or_all(store: &dyn JobStore) {
    let batch = [Some("a"), Some("b"), None, Some("a"), Some("a")].map(|job| Change::AppendEvent(event(job, "x")));
    store.commit(batch.into()).await.unwrap();
    assert_eq!(ids(store, None, 0, 10).await, [1, 2, 3, 4, 5]);
    assert_eq!(ids(store, None, 2, 2).await, [3, 4]);
    assert_eq!(ids(store, Some("a"), 0, 2).await, [1, 4]);
    assert_eq!(ids(store, Some("a"), 4, 10).await, [5]);
    assert_eq!(ids(store, None, u64::MAX, 10).await, [0; 0]);
    assert_eq!(ids(store, None, 0, 0).await, [0; 0]);
}

async fn the_newest_event_is_told_to_those_who_wait(store: &dyn JobStore) {
    let mut newest = store.newest_event();
    assert_eq!(*newest.borrow_and_update(), 0);
    store.commit(vec![Change::InsertJob(job("a"))]).await.unwrap();
    let refused = vec![Change::AppendEvent(event(None, "x")), Change::InsertJob(job("a"))];
    store.commit(refused).await.unwrap_err();
    assert!(!newest.has_changed().unwrap(), "nothing was appended");
    let (_, commit) = tokio::join!(newest.changed(), store.commit(vec![Change::AppendEvent(event(Some("a"), "x")); 2]));
    commit.unwrap();
    let id = *newest.borrow_and_update();
    assert_eq!(Some(&id), ids(store, None, 0, 10).await.last());
    assert_eq!(*store.newest_event().borrow(), id, "who comes later is told too");
}

async fn commits_side_by_side_all_happen(store: Arc<dyn JobStore>) {
    let commits = (0..20).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            // Every fourth clashes with the one before it and must not disturb the others.
            let name = format!("job-{:02}", if n % 4 == 3 { n - 1 } else { n });
            store.commit(vec![Change::AppendEvent(event(Some(&name), "x")), Change::InsertJob(job(&name))]).await
        })
    });
    let mut done = 0;
    for commit in commits.collect::<Vec<_>>() {
        done += usize::from(commit.await.unwrap().is_ok());
    }
    assert_eq!(done, 15);
    assert_eq!(store.jobs().await.unwrap().len(), 15);
    assert_eq!(ids(&*store, None, 0, 100).await.len(), 15);
}

fn everything(id: &str) -> Vec<Change> {
    vec![
        Change::InsertJob(job(id)),
        Change::PutRun(run(id, 1)),
        Change::PutRound(round(id, 1, Train, 1)),
        Change::PutMember(member(id, 1, Train, "x")),
        Change::PutCheckpoint(checkpoint(id, "one", 1)),
        Change::AppendEvent(event(Some(id), "job-queued")),
    ]
}

async fn assert_holds_everything(store: &dyn JobStore, id: &str) {
    let key = job_key(id);
    assert_eq!(store.job(&key).await.unwrap(), Some(job(id)));
    assert_eq!(store.run(&key, 1).await.unwrap(), Some(run(id, 1)));
    assert_eq!(store.rounds(&key, 1).await.unwrap(), [round(id, 1, Train, 1)]);
    assert_eq!(store.members(&key, 1, 1).await.unwrap(), [member(id, 1, Train, "x")]);
    assert_eq!(store.checkpoints(&key).await.unwrap(), [checkpoint(id, "one", 1)]);
    let events = store.events(Some(&key), 0, 10).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(crate::EventRecord { id: 0, ..events[0].clone() }, event(Some(id), "job-queued"));
}

async fn assert_holds_nothing(store: &dyn JobStore, id: &str) {
    let key = job_key(id);
    assert_eq!(store.run(&key, 1).await.unwrap(), None);
    assert_eq!(store.rounds(&key, 1).await.unwrap(), []);
    assert_eq!(store.members(&key, 1, 1).await.unwrap(), []);
    assert_eq!(store.checkpoints(&key).await.unwrap(), []);
    assert_eq!(store.events(Some(&key), 0, 10).await.unwrap(), []);
}

async fn ids(store: &dyn JobStore, job: Option<&str>, after: u64, limit: u32) -> Vec<u64> {
    let events = store.events(job.map(job_key).as_ref(), after, limit).await.unwrap();
    events.into_iter().map(|event| event.id).collect()
}
