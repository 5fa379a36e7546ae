//! Jobs whose late updates count: in the next round, or in the next step of a buffer. With restarts in between.

use super::*;

fn hyper(fields: &Value) -> Value {
    let mut hyper = json!({"client_num": 3, "max_round_num": 2, "evaluate_interval": 0, "save_interval": 0});
    for (name, value) in fields.as_object().unwrap() {
        hyper[name] = value.clone();
    }
    hyper
}

/// The first weight.
fn value(file: &[u8]) -> f64 {
    let view = WeightsView::parse(file).unwrap();
    f64::from(f32::from_le_bytes(view.tensor(0)[..4].try_into().unwrap()))
}

fn kept(world: &World, round: u32) -> KeptRound {
    KeptRound::parse(&world.output(&format!("round_{round}.json"))).unwrap()
}

async fn made_again(world: &World, round: u32) -> BlobRef {
    let scratch = world.folder.path().join("again");
    let (rules, blobs, round) = (Rules::default(), world.blobs.clone(), kept(world, round));
    round.again(&world.run.spec, &rules, blobs, 64 << 20, scratch).await.unwrap().0
}

async fn restart(world: &World) {
    world.jobs.restart_child("default/j").await.unwrap();
}

#[tokio::test]
async fn an_update_that_comes_after_its_round_counts_in_the_next_for_less_whatever_was_restarted() {
    let stale = json!({"late": "stale", "threshold_client_num": 2, "close_at_threshold": true});
    let mut world = World::new(&["c0", "quiet", "silent"], hyper(&stale)).await;
    world.starter.start(world.run.clone()).await.unwrap();
    let (late, silent) = (world.task_of("quiet").await, world.task_of("silent").await);
    world.event("update-accepted", 0).await;
    world.hand_in(&silent, 2.0).await;
    // c0 moves by 1 and silent by 2; quiet goes on
    let second = world.task_of("silent").await;
    assert_eq!((second.key.round, late.key.round), (2, 1));
    restart(&world).await;
    let again = world.task_of("quiet").await;
    assert_eq!((&again.key, again.base), (&late.key, late.base), "it is owed the model it began with");
    world.hand_in(&late, 4.0).await;
    // c0 and silent, c0 and quiet
    world.event("update-accepted", 3).await;
    restart(&world).await;
    world.hand_in(&second, 1.0).await;
    assert!(matches!(world.end().await, RunEvent::Finished));
    let weight = 1.0 / 2_f64.sqrt();
    let expected = 1.5 + (-0.5 + 1.0 + 4.0 * weight) / (2.0 + weight);
    assert!((value(&world.output("checkpoint_2.safetensors")) - expected).abs() < 1e-6);
    let members = world.store.members(&key(), 1, 2).await.unwrap();
    let quiet = members.iter().find(|m| m.task == late.key).unwrap();
    assert_eq!((quiet.state, quiet.counted), (MemberState::Accepted, Some(2)));
    let round = world.store.rounds(&key(), 1).await.unwrap().into_iter().find(|r| r.round == 2).unwrap();
    assert_eq!((round.accepted, round.metrics.get("staleness")), (3, Some(1.0 / 3.0)));
    assert_eq!(Some(made_again(&world, 2).await), round.model);
}

fn buffer(k: u32) -> Value {
    json!({"aggregator": {"name": "fedbuff", "params": {"k": k, "learning_rate": 1.0}}})
}

#[tokio::test]
async fn a_step_is_made_of_the_first_k_updates_to_whatever_models_and_is_made_again_to_the_bit() {
    let clients = &["c0", "quiet", "silent"];
    let mut world = World::with(clients, hyper(&json!({"late": "buffer"})), buffer(2), |_| {}).await;
    world.starter.start(world.run.clone()).await.unwrap();
    let (late, silent) = (world.task_of("quiet").await, world.task_of("silent").await);
    world.event("update-accepted", 0).await;
    restart(&world).await;
    world.hand_in(&silent, 2.0).await;
    // c0 works from the new model at once; quiet has the old one still
    world.event("update-accepted", 2).await;
    restart(&world).await;
    let again = world.task_of("quiet").await;
    assert_eq!((&again.key, again.base), (&late.key, late.base));
    world.hand_in(&late, 4.0).await;
    assert!(matches!(world.end().await, RunEvent::Finished));
    let expected = 1.5 + (-0.5 + 4.0 / 2_f64.sqrt()) / 2.0;
    assert!((value(&world.output("checkpoint_2.safetensors")) - expected).abs() < 1e-6);
    let kept = kept(&world, 2);
    let members: Vec<_> = kept.members.iter().map(|m| (m.client.as_str(), m.staleness)).collect();
    assert_eq!(members, [("c0", 0), ("quiet", 1)]);
    assert_eq!(kept.members[1].begun.as_ref().map(|begun| begun.base), Some(late.base));
    assert_eq!(made_again(&world, 2).await, kept.model);
}

#[tokio::test]
async fn a_job_by_a_buffer_whose_actors_are_killed_in_every_step_ends_with_the_same_model() {
    let hyper = hyper(&json!({"late": "buffer", "max_round_num": 6, "evaluate_interval": 2}));
    let mut calm = World::with(&["c0", "c1", "c2"], hyper.clone(), buffer(3), |_| {}).await;
    assert!(matches!(calm.run_to_its_end().await, RunEvent::Finished));
    let mut stormy = World::with(&["c0", "c1", "c2"], hyper, buffer(3), |_| {}).await;
    let (end, last) = stormy.run_killed_in_every_round().await;
    assert!(matches!(end, RunEvent::Finished), "{end:?}");
    assert!(last >= 2, "the job was disturbed");
    assert_eq!(stormy.output("checkpoint_6.safetensors"), calm.output("checkpoint_6.safetensors"));
}
