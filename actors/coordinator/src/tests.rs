//! Runs of a job from beginning to end, undisturbed and disturbed.

mod extended;
mod late;
mod links;
mod offers;
mod rules;
mod scripts;
mod shaky;
mod trouble;
mod world;

use super::*;
use nsfl_actor::{Address, ChildSpec, Context, Directory, Failure, Next, Restart, Role, Supervisor, SupervisorSpec};
use nsfl_aggregate::Rules;
use nsfl_messages::wire::{TaskCommand, TaskOrder, TaskReport};
use nsfl_messages::{
    Cohort, CoordinatorMsg, GatewayMsg, JobRun, LiveEvent, RunEvent, SchedulerMsg, SelectorMsg, Starter as _,
};
use nsfl_package::pack_entries;
use nsfl_store::memory::{MemoryBlobStore, MemoryJobStore};
use nsfl_store::{BlobStore, Change, EventRecord, JobRecord, JobStore, MemberState, Owner, RoundState, put_bytes};
use nsfl_tensor::{DType, Layout, WeightsView};
use nsfl_trainer::TrainerCommand;
use nsfl_types::{BlobRef, Cause, ClientId, Code, JobKey, JobSpec, JobState, Metrics, TaskKind, Timestamp};
use nsfl_workflow::RetryPolicy;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use world::{Bounds, WAIT, World, delta, key, like, weights};

#[tokio::test]
async fn each_round_adds_the_mean_of_exactly_its_members_and_the_checkpoint_is_the_model() {
    let hyper = json!({"max_round_num": 3, "client_num": 3, "threshold_client_num": 3, "save_interval": 0});
    let mut world = World::new(&["c0", "c1", "c2"], hyper).await;
    assert!(matches!(world.run_to_its_end().await, RunEvent::Finished));
    // Means of 1, 2, 4 in rounds 1 and 3, of their negative halves in round 2.
    let mean = 7.0_f64 / 3.0;
    #[allow(clippy::cast_possible_truncation)]
    let expected = [mean, -mean / 2.0, mean].iter().fold(0.0_f32, |w, d| (f64::from(w) + d) as f32);
    assert_eq!(world.output("checkpoint_3.safetensors"), weights(expected));
    let metrics: Value = serde_json::from_slice(&world.output("metrics.json")).unwrap();
    assert_eq!(metrics["accuracy"], json!([null, 0.5, 0.5]));
    let rounds = world.store.rounds(&key(), 1).await.unwrap();
    assert_eq!(rounds.iter().filter(|r| r.state == RoundState::Complete).count(), 5);
    let checkpoints = world.store.checkpoints(&key()).await.unwrap();
    assert_eq!((checkpoints.len(), checkpoints[0].accuracy), (1, Some(0.5)));
}

#[tokio::test]
async fn a_wrong_update_is_refused_with_its_code_and_the_round_goes_on_without_it() {
    let hyper = json!({"max_round_num": 1, "client_num": 2, "threshold_client_num": 1, "evaluate_interval": 0});
    let mut world = World::new(&["c0", "nan"], hyper).await;
    assert!(matches!(world.run_to_its_end().await, RunEvent::Finished));
    assert_eq!(world.output("checkpoint_1.safetensors"), weights(1.0));
    let members = world.store.members(&key(), 1, 1).await.unwrap();
    let nan = members.iter().find(|m| m.task.client.as_str() == "nan").unwrap();
    assert_eq!((nan.state, nan.code), (MemberState::Refused, Some(Code::NotFinite)));
    assert!(nan.reason.contains("'w'"), "{}", nan.reason);
}

#[tokio::test]
async fn a_job_whose_coordinator_and_aggregator_are_killed_in_every_round_ends_with_the_same_model() {
    let hyper = json!({"max_round_num": 6, "client_num": 3, "threshold_client_num": 3, "save_interval": 0});
    let mut calm = World::new(&["c0", "c1", "c2"], hyper.clone()).await;
    assert!(matches!(calm.run_to_its_end().await, RunEvent::Finished));
    let mut stormy = World::new(&["c0", "c1", "c2"], hyper).await;
    let (end, last) = stormy.run_killed_in_every_round().await;
    assert!(matches!(end, RunEvent::Finished), "{end:?}");
    assert!(last >= 2, "the job was disturbed");
    assert_eq!(stormy.output("checkpoint_6.safetensors"), calm.output("checkpoint_6.safetensors"));
}

#[tokio::test]
async fn a_round_without_quorum_fails_the_run_with_who_and_why() {
    let hyper = json!({"max_round_num": 1, "client_num": 2, "threshold_client_num": 2});
    let mut world = World::new(&["c0", "nan"], hyper).await;
    let RunEvent::Failed { code, reason } = world.run_to_its_end().await else { panic!("should fail") };
    assert_eq!(code, Code::NoQuorum);
    assert!(reason.contains("nan") && reason.contains("not-finite"), "{reason}");
    assert!(world.blobs.sweep(std::time::Duration::ZERO).await.is_ok());
}

#[tokio::test]
async fn an_initial_model_that_is_none_fails_the_run_and_not_the_clients() {
    let mut world = World::new(&["c0"], json!({})).await;
    std::fs::write(world.folder.path().join("storage/default/m.safetensors"), b"pickle").unwrap();
    let RunEvent::Failed { code, reason } = world.run_to_its_end().await else { panic!("should fail") };
    assert_eq!(code, Code::BadUpdate);
    assert!(reason.contains("initial model"), "{reason}");
    assert!(world.commands.try_recv().is_err(), "no client was asked");
}

/// c0 has answered; quiet is awaited.
async fn waiting_for_quiet(grace_s: u64) -> World {
    let hyper = json!({"max_round_num": 1, "client_num": 2, "threshold_client_num": 2, "evaluate_interval": 0});
    let bounds = Bounds { link_grace: Duration::from_secs(grace_s), ..Bounds::default() };
    let world = World::within(bounds, &["c0", "quiet"], hyper, json!({}), |_| {}).await;
    world.starter.start(world.run.clone()).await.unwrap();
    world.event("update-accepted", 0).await;
    world
}
