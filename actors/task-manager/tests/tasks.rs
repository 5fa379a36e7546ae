//! What a client promises on a task while all goes well, and when the task itself is at fault.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod world;

use nsfl_messages::wire::{RegistryReport, TaskCommand, TaskOrder, TaskReport};
use nsfl_store::BlobStore as _;
use nsfl_types::{BlobRef, Code, Metrics, Runtime, TaskKey, TaskKind};
use std::sync::atomic::Ordering;
use world::{
    DELTA, Heard, TRAINS, TRAINS_ON_GO, key, model, order, read_when_there, runs, soon, train, world, world_with,
};

fn samples(n: f64) -> Metrics {
    Metrics([("sample_num".to_owned(), n)].into())
}

async fn failure(world: &mut world::World, key: &TaskKey) -> (Code, String) {
    let failed = world.report_that(|report| matches!(report, TaskReport::Failed { .. })).await;
    match failed {
        TaskReport::Failed { key: failed, code, reason, .. } if failed == *key => (code, reason),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_order_becomes_a_delta_on_the_server_and_after_the_ack_nothing_is_left() {
    let mut world = world(TRAINS).await;
    world.order(&train(1)).await;
    assert_eq!(world.report().await, TaskReport::Started { key: train(1) });
    let update = BlobRef::of(&model(&DELTA));
    let done = TaskReport::Done { key: train(1), update: Some(update), extra: None, metrics: samples(30.0) };
    assert_eq!(world.report().await, TaskReport::Uploading { key: train(1) });
    assert_eq!(world.report().await, done);
    assert_eq!(world.hub.blobs.open(update.digest).await.unwrap(), model(&DELTA));
    assert!(world.blobs.stat(update.digest).await.unwrap().is_some(), "kept until the server has answered");
    world.command(&TaskCommand::Ack { key: train(1) }).await;
    world.until_nothing_is_held(&[update.digest, world.base.digest, BlobRef::of(&model(&world::LOCAL)).digest]).await;
}

#[tokio::test]
async fn an_evaluation_reports_metrics_without_a_blob() {
    let script = r#"echo '{"version":1,"outcome":"done","metrics":{"accuracy":0.75}}' > result.json"#;
    let mut world = world(script).await;
    let task = key(1, TaskKind::Evaluate);
    world.order(&task).await;
    let metrics = Metrics([("accuracy".to_owned(), 0.75)].into());
    assert_eq!(world.done(&task).await, TaskReport::Done { key: task, update: None, extra: None, metrics });
}

#[tokio::test]
async fn a_builtin_task_with_an_optimizer_finds_what_the_last_accepted_one_kept() {
    let trains = TRAINS
        .replace("cp ", "cat state/n 2>/dev/null > n; echo $(($(cat n) + 1)) > out/state/n; cp n ../../seen; cp ");
    let mut world = world(&trains).await;
    let optimizer = Some(r#"{"name":"scaffold"}"#.to_owned());
    for (round, accepted, seen) in [(1, true, ""), (2, false, "1"), (3, true, "1"), (4, true, "2")] {
        let order = TaskOrder { optimizer: optimizer.clone(), ..order(&train(round), world.base) };
        world.command(&TaskCommand::Run(order.into())).await;
        world.done(&train(round)).await;
        assert_eq!(std::fs::read_to_string(world.path("seen")).unwrap().trim(), seen, "round {round}");
        let refused = TaskCommand::Refuse { key: train(round), code: Code::Late, reason: String::new() };
        world.command(&if accepted { TaskCommand::Ack { key: train(round) } } else { refused }).await;
        world.until_nothing_is_held(&[]).await;
    }
}

#[tokio::test]
async fn a_base_that_is_still_held_is_not_fetched_again() {
    let mut world = world(TRAINS).await;
    for task in [train(1), key(1, TaskKind::Evaluate), train(2)] {
        world.order(&task).await;
        world.done(&task).await;
    }
    assert_eq!(world.hub.read.load(Ordering::Relaxed), world.base.len);
}

#[tokio::test]
async fn a_task_beyond_capacity_waits_and_runs_when_there_is_a_slot() {
    let mut world = world(TRAINS_ON_GO).await;
    world.order(&train(1)).await;
    world.order(&train(2)).await;
    assert_eq!(world.report().await, TaskReport::Started { key: train(1) });
    soon("a heartbeat that tells of both", async {
        loop {
            match world.heard.recv().await.unwrap() {
                Heard::Registry(RegistryReport::Heartbeat(load)) if load.current_tasks == 2 => return,
                Heard::Registry(_) => {}
                Heard::Task(report) => panic!("{report:?}"),
            }
        }
    })
    .await;
    std::fs::write(world.path("go"), "").unwrap();
    world.report_that(|report| *report == TaskReport::Started { key: train(2) }).await;
    world.done(&train(2)).await;
}

#[tokio::test]
async fn an_order_for_a_known_task_has_it_report_again() {
    let mut world = world(TRAINS_ON_GO).await;
    let started = TaskReport::Started { key: train(1) };
    world.order(&train(1)).await;
    assert_eq!(world.report().await, started);
    world.order(&train(1)).await;
    assert_eq!(world.report().await, started);
}

#[tokio::test]
async fn what_the_client_cannot_do_is_refused_by_its_code() {
    let mut world = world(TRAINS).await;
    let refused = [
        (TaskOrder { runtime: Runtime::Pytorch, ..order(&train(1), world.base) }, Code::Unsupported),
        (TaskOrder { datasets: vec!["secret".into()], ..order(&train(1), world.base) }, Code::BadDataset),
        (order(&TaskKey { client: "c2".parse().unwrap(), ..train(1) }, world.base), Code::WrongIdentity),
        (TaskOrder { parameters: "x".repeat(100_000), ..order(&train(1), world.base) }, Code::TooLarge),
    ];
    for (order, code) in refused {
        let key = order.key.clone();
        world.command(&TaskCommand::Run(order.into())).await;
        assert_eq!(failure(&mut world, &key).await.0, code);
    }
    world.until_nothing_is_held(&[]).await;
}

#[tokio::test]
async fn a_trainer_that_fails_is_reported_with_its_code_and_last_words() {
    let mut world = world("echo 'no such file: digits.csv' >&2; exit 3").await;
    world.order(&train(1)).await;
    let failed = world.report_that(|report| matches!(report, TaskReport::Failed { .. })).await;
    let TaskReport::Failed { code, reason, cause: Some(cause), .. } = failed else { panic!("{failed:?}") };
    assert_eq!(code, Code::TrainerFailed);
    assert!(reason.contains("exit code 3") && reason.contains("no such file: digits.csv"), "{reason}");
    assert_eq!((cause.exit.as_deref(), cause.log.as_str()), (Some("exit code 3"), "no such file: digits.csv"));
    world.command(&TaskCommand::Ack { key: train(1) }).await;
    world.until_nothing_is_held(&[world.base.digest]).await;
}

#[tokio::test]
async fn weights_that_are_not_the_models_are_reported_as_such() {
    let wrong = "head -c 40 ../../local.safetensors > weights.safetensors
        echo '{\"version\":1,\"outcome\":\"done\",\"metrics\":{}}' > result.json";
    let mut world = world(wrong).await;
    world.order(&train(1)).await;
    assert_eq!(failure(&mut world, &train(1)).await.0, Code::BadUpdate);
}

#[tokio::test]
async fn a_trainer_that_takes_too_long_is_killed_and_reported() {
    let mut world = world("echo $$ > ../../pid; sleep 1000").await;
    let order = TaskOrder { timeout_ms: 300, ..order(&train(1), world.base) };
    world.command(&TaskCommand::Run(order.into())).await;
    assert_eq!(failure(&mut world, &train(1)).await.0, Code::TrainerTimeout);
    let pid = read_when_there(&world.path("pid")).await;
    soon("the trainer's end", async {
        while runs(&pid) {
            tokio::task::yield_now().await
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_task_takes_its_processes_along() {
    let mut world = world("sleep 1000 & echo $! > ../../grandchild; echo $$ > ../../child; wait").await;
    world.order(&train(1)).await;
    world.report_that(|report| *report == TaskReport::Started { key: train(1) }).await;
    let pids = [read_when_there(&world.path("child")).await, read_when_there(&world.path("grandchild")).await];
    assert!(pids.iter().all(|pid| runs(pid)));
    world.command(&TaskCommand::Cancel { key: train(1) }).await;
    soon("their end", async {
        while pids.iter().any(|pid| runs(pid)) {
            tokio::task::yield_now().await
        }
    })
    .await;
    world.until_nothing_is_held(&[world.base.digest]).await;
}

#[tokio::test]
async fn a_waiting_task_that_is_cancelled_never_runs() {
    let mut world = world_with(TRAINS, |site| site.info.max_tasks = 0).await;
    world.order(&train(1)).await;
    soon("its record", async {
        while world.site.tasks.all().await.unwrap().is_empty() {
            tokio::task::yield_now().await
        }
    })
    .await;
    world.command(&TaskCommand::Cancel { key: train(1) }).await;
    world.until_nothing_is_held(&[world.base.digest]).await;
    let order = TaskOrder { runtime: Runtime::Pytorch, ..order(&train(2), world.base) };
    world.command(&TaskCommand::Run(order.into())).await;
    let next = world.report().await;
    assert!(matches!(&next, TaskReport::Failed { key, .. } if *key == train(2)), "nothing came before it: {next:?}");
}
