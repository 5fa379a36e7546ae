//! When the server's own stores fail: no update and no job is lost by it, and a job that cannot get on is given up alone.

use super::shaky::{broken, damaged, full};
use super::*;
use crate::patience::SAME;
use nsfl_store::StoreError;

fn one_round() -> Value {
    json!({"max_round_num": 1, "client_num": 2, "threshold_client_num": 1, "evaluate_interval": 0})
}

/// With a quorum of one: a refusal would leave the round with the other's update alone.
async fn judged_in_spite_of(operation: &'static str, error: fn() -> StoreError, client: &str) {
    let mut world = World::new(&["quiet", "silent"], one_round()).await;
    world.starter.start(world.run.clone()).await.unwrap();
    let order = world.task_of(client).await;
    world.troubles.next(operation, 1, error);
    world.hand_in(&order, 4.0).await;
    let again = world.task_of(client).await;
    assert_eq!(again.key, order.key, "its client is asked for the same update again");
    world.hand_in(&again, 4.0).await;
    let accepted = world.event("update-accepted", 0).await;
    assert_eq!(accepted.fields["client"], client);
    let other = if client == "quiet" { "silent" } else { "quiet" };
    let other = TaskOrder { key: nsfl_types::TaskKey { client: other.parse().unwrap(), ..order.key }, ..order };
    world.hand_in(&other, 2.0).await;
    assert!(matches!(world.end().await, RunEvent::Finished));
    assert_eq!(world.output("checkpoint_1.safetensors"), weights(3.0));
}

#[tokio::test]
async fn an_update_that_the_server_fails_to_look_at_is_asked_for_again_and_counts() {
    for (operation, error) in [("retain", broken as fn() -> StoreError), ("retain", full), ("open", broken)] {
        judged_in_spite_of(operation, error, "quiet").await;
    }
}

#[tokio::test]
async fn an_update_that_is_damaged_in_the_server_s_store_is_asked_for_again_and_counts() {
    judged_in_spite_of("open", damaged, "silent").await;
}

#[tokio::test]
async fn an_update_that_is_not_there_is_asked_for_again_and_fails_nobody() {
    let mut world = World::new(&["quiet", "silent"], one_round()).await;
    world.starter.start(world.run.clone()).await.unwrap();
    let order = world.task_of("quiet").await;
    for _ in 0..3 * SAME {
        world.report_done(&order, BlobRef::of(b"never uploaded")).await;
        assert_eq!(world.task_of("quiet").await.key, order.key);
    }
    world.hand_in(&order, 4.0).await;
    assert_eq!(world.event("update-accepted", 0).await.fields["client"], "quiet");
}

#[tokio::test]
async fn a_store_that_fails_once_at_a_job_s_start_does_not_fail_it() {
    for (operation, error) in [("import", broken as fn() -> StoreError), ("open", broken), ("open", damaged)] {
        let mut world = World::new(&["c0"], json!({"max_round_num": 1, "client_num": 1, "evaluate_interval": 0})).await;
        world.troubles.next(operation, 1, error);
        assert!(matches!(world.run_to_its_end().await, RunEvent::Finished), "{operation}");
    }
}

#[tokio::test]
async fn a_store_that_keeps_failing_at_a_job_s_start_fails_it_with_the_cause_and_a_full_one_is_waited_for() {
    let hyper = json!({"max_round_num": 1, "client_num": 1, "evaluate_interval": 0});
    let mut world = World::new(&["c0"], hyper.clone()).await;
    world.troubles.next("import", u32::MAX, broken);
    let RunEvent::Failed { code, reason } = world.run_to_its_end().await else { panic!("should fail") };
    assert_eq!(code, Code::Store);
    assert!(reason.contains("tried 2 times") && reason.contains("input/output error"), "{reason}");
    let mut world = World::new(&["c0"], hyper).await;
    world.troubles.next("import", 20, full);
    assert!(matches!(world.run_to_its_end().await, RunEvent::Finished));
    assert_eq!(world.troubles.asked("import"), 21);
}

#[tokio::test]
async fn a_model_that_is_not_there_fails_the_job_at_once() {
    let mut world = World::new(&["c0"], json!({})).await;
    std::fs::remove_file(world.folder.path().join("storage/default/m.safetensors")).unwrap();
    let RunEvent::Failed { code, .. } = world.run_to_its_end().await else { panic!("should fail") };
    assert_eq!((code, world.troubles.asked("import")), (Code::NotFound, 1));
}

#[tokio::test]
async fn a_coordinator_that_finds_no_room_for_its_first_commit_waits_for_it() {
    let mut world = World::new(&["c0"], json!({"max_round_num": 1, "client_num": 1, "evaluate_interval": 0})).await;
    let left = Mutex::new(3 * SAME);
    world.troubles.when(move |_, run| {
        let mut left = left.lock().unwrap();
        let fails = run.is_some() && *left > 0;
        *left -= u32::from(fails);
        fails.then(full)
    });
    assert!(matches!(world.run_to_its_end().await, RunEvent::Finished));
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_own_supervisor_does_not_start_is_borne_as_often_as_one_whose_coordinator_fails() {
    let hyper = json!({"max_round_num": 1, "client_num": 1, "evaluate_interval": 0});
    let mut world = World::new(&["quiet"], hyper).await;
    world.starter.start(world.run.clone()).await.unwrap();
    let order = world.task_of("quiet").await;
    let left = Arc::new(Mutex::new(SAME - 1));
    let fails = left.clone();
    world.troubles.when(move |_, run| {
        let mut left = fails.lock().unwrap();
        let fails = run.is_some() && *left > 0;
        *left -= u32::from(fails);
        fails.then(broken)
    });
    // what comes of this one start is not the last word
    let _ = world.jobs.restart_child("default/j").await;
    let again = loop {
        tokio::select! {
            command = world.commands.recv() => {
                if let Some(TaskCommand::Run(order)) = command {
                    break order.key;
                }
            }
            msg = world.ends.recv() => {
                if let Some(SchedulerMsg::Run { event: RunEvent::Failed { reason, .. }, .. }) = msg {
                    panic!("given up: {reason}");
                }
            }
        }
    };
    assert_eq!(again, order.key);
    assert_eq!(*left.lock().unwrap(), 0, "all starts failed that were to");
    world.hand_in(&order, 4.0).await;
    assert!(matches!(world.end().await, RunEvent::Finished));
}

/// Each failure comes twenty seconds after the one before: never many in a minute.
#[tokio::test(start_paused = true)]
async fn a_coordinator_that_cannot_get_on_is_given_up_with_its_cause_and_the_other_job_does_not_notice() {
    let hyper = json!({"max_round_num": SAME + 5, "client_num": 1, "evaluate_interval": 0, "save_interval": 0});
    let mut world = World::new(&["quiet"], hyper).await;
    let other = world.another_run("k").await;
    world.starter.start(world.run.clone()).await.unwrap();
    world.starter.start(other.clone()).await.unwrap();
    // each life of its coordinator can begin, and write nothing after that
    let begun = Mutex::new(1);
    world.troubles.when(move |_, run| {
        let run = run.filter(|run| run.job == key())?;
        let mut begun = begun.lock().unwrap();
        let begins = run.generation > *begun;
        *begun = run.generation.max(*begun);
        (!begins).then(broken)
    });
    let start = tokio::time::Instant::now();
    let mut tick = tokio::time::interval(Duration::from_secs(20));
    let (mut orders, mut given_up) = (std::collections::BTreeMap::new(), None);
    loop {
        tokio::select! {
            command = world.commands.recv() => {
                if let Some(TaskCommand::Run(order)) = command {
                    orders.insert(order.key.job.clone(), *order);
                }
            }
            msg = world.ends.recv() => match msg.unwrap() {
                SchedulerMsg::Run { key: who, run, event: RunEvent::Failed { code: Code::Internal, reason } } => {
                    assert_eq!((who, run), (key(), 1));
                    given_up.get_or_insert((reason, start.elapsed()));
                    world.starter.end(&key()).await;
                    orders.remove(&key());
                }
                SchedulerMsg::Run { key: who, event: RunEvent::Finished, .. } => {
                    assert_eq!(who, other.key);
                    break;
                }
                SchedulerMsg::Run { event: RunEvent::Started | RunEvent::Progress { .. }, .. } => {}
                unexpected => panic!("unexpected {unexpected:?}"),
            },
            _ = tick.tick() => {
                for order in orders.values() {
                    world.hand_in(order, 4.0).await;
                }
            }
        }
    }
    let (reason, after) = given_up.expect("it cannot get on");
    let what = "jobs/default/j/coordinator: the round's state could not be stored: store failed while writing: input/output error";
    assert_eq!(reason, format!("failed {SAME} times without getting on, last: {what}"));
    assert!(after >= Duration::from_secs(20 * u64::from(SAME - 1)), "{after:?}");
    let lives = |record: Option<nsfl_store::RunRecord>| record.unwrap().generation;
    assert_eq!(lives(world.store.run(&other.key, 1).await.unwrap()), 1, "its coordinator has had one life");
    assert!(lives(world.store.run(&key(), 1).await.unwrap()) >= u64::from(SAME));
}
