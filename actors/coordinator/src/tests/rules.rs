//! Jobs by other rules than the mean: what a rule keeps from round to round, what it asks of members, what it does not
//! believe.

use super::*;

fn hyper(clients: usize, rounds: u32) -> Value {
    json!({
        "max_round_num": rounds, "client_num": clients, "threshold_client_num": clients, "evaluate_interval": 0,
        "save_interval": 0, "learning_rate": 0.1,
    })
}

fn rule(name: &str, params: &Value) -> Value {
    json!({"aggregator": {"name": name, "params": params}})
}

/// The weights' value; all are the same.
fn value(file: &[u8]) -> f32 {
    let view = WeightsView::parse(file).unwrap();
    let values: Vec<f32> = view.tensor(0).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert!(values.iter().all(|value| value.to_bits() == values[0].to_bits()), "{values:?}");
    values[0]
}

#[tokio::test]
async fn what_a_rule_keeps_survives_restarts_in_every_round_bit_for_bit() {
    let clients = ["c0", "c1", "c2"];
    for name in ["fedadam", "fedavgm", "centered_clipping"] {
        let fields = rule(name, &json!({}));
        let mut calm = World::with(&clients, hyper(3, 6), fields.clone(), |_| {}).await;
        assert!(matches!(calm.run_to_its_end().await, RunEvent::Finished));
        let mut stormy = World::with(&clients, hyper(3, 6), fields, |_| {}).await;
        let (end, last) = stormy.run_killed_in_every_round().await;
        assert!(matches!(end, RunEvent::Finished), "{name}: {end:?}");
        assert!(last >= 2, "the job was disturbed");
        for file in ["checkpoint_6.safetensors", "checkpoint_6.state.safetensors"] {
            assert_eq!(stormy.output(file), calm.output(file), "{name}: {file}");
        }
    }
}

#[tokio::test]
async fn a_job_by_fedadam_moves_as_the_rule_says_and_its_state_is_beside_the_checkpoint() {
    let mut world = World::with(&["c0"], hyper(1, 2), rule("fedadam", &json!({})), |_| {}).await;
    assert!(matches!(world.run_to_its_end().await, RunEvent::Finished));
    // Δ is 1, then -0.5
    let (mut x, mut m, mut v) = (0.0_f64, 0.0_f64, 1e-6_f64);
    for delta in [1.0, -0.5_f64] {
        (m, v) = (0.9 * m + 0.1 * delta, 0.99 * v + 0.01 * delta * delta);
        x += 0.1 * m / (v.sqrt() + 1e-3);
    }
    assert!((f64::from(value(&world.output("checkpoint_2.safetensors"))) - x).abs() < 1e-6);
    let state = world.output("checkpoint_2.state.safetensors");
    let names: Vec<String> =
        WeightsView::parse(&state).unwrap().layout().tensors().iter().map(|t| t.name.clone()).collect();
    assert_eq!(names, ["fedadam.m/w", "fedadam.v/w"]);
    assert!((f64::from(value(&state)) - m).abs() < 1e-6);
}

#[tokio::test]
async fn a_run_that_starts_from_a_checkpoint_goes_on_with_what_its_rule_had_kept() {
    let fields = rule("fedadam", &json!({}));
    let mut whole = World::with(&["c0", "c1"], hyper(2, 4), fields.clone(), |_| {}).await;
    assert!(matches!(whole.run_to_its_end().await, RunEvent::Finished));
    let mut halves = World::with(&["c0", "c1"], hyper(2, 2), fields, |_| {}).await;
    assert!(matches!(halves.run_to_its_end().await, RunEvent::Finished));
    let mut spec = (*halves.run.spec).clone();
    spec.model = nsfl_types::ModelSource::Checkpoint("V1-2".into());
    halves.run = JobRun { run: 2, spec: Arc::new(spec), ..halves.run.clone() };
    assert!(matches!(halves.run_to_its_end().await, RunEvent::Finished));
    let second = halves.folder.path().join("storage/default/out/fl_j_output_V2");
    for (file, of) in [("checkpoint_4.safetensors", "checkpoint_2.safetensors")]
        .into_iter()
        .chain([("checkpoint_4.state.safetensors", "checkpoint_2.state.safetensors")])
    {
        assert_eq!(std::fs::read(second.join(of)).unwrap(), whole.output(file), "{file}");
    }
    // without it the rule begins afresh
    let state = halves.folder.path().join("storage/default/out/fl_j_output_V1/checkpoint_2.state.safetensors");
    std::fs::remove_file(state).unwrap();
    halves.run = JobRun { run: 3, ..halves.run.clone() };
    assert!(matches!(halves.run_to_its_end().await, RunEvent::Finished));
    let third = halves.folder.path().join("storage/default/out/fl_j_output_V3/checkpoint_2.safetensors");
    assert_ne!(std::fs::read(third).unwrap(), whole.output("checkpoint_4.safetensors"));
}

#[tokio::test]
async fn the_velocity_of_fedavgm_is_stored_with_its_sign() {
    let mut world = World::with(&["c0", "silent"], hyper(2, 1), rule("fedavgm", &json!({})), |_| {}).await;
    world.starter.start(world.run.clone()).await.unwrap();
    world.event("update-accepted", 0).await;
    let silent = world.task_of("silent").await;
    world.hand_in(&silent, 1.0).await;
    assert!(matches!(world.end().await, RunEvent::Finished));
    // c0 and silent moved by 1: v is -1, x is 0.1
    assert_eq!(world.output("checkpoint_1.safetensors"), weights(0.1));
    assert!((value(&world.output("checkpoint_1.state.safetensors")) + 1.0).abs() < 1e-12);
}

#[tokio::test]
async fn a_byzantine_client_does_not_move_a_job_by_a_robust_rule() {
    let five: &[&str] = &["c0", "c1", "c2", "c3", "c20"];
    let three: &[&str] = &["c0", "c1", "c20"];
    // honest clients move by 1, 2, 4, 8, the last by 2^20; η is 0.1
    for (name, params, clients, expected) in [
        ("krum", json!({"f": 1}), five, 0.2),
        ("median", json!({}), five, 0.4),
        ("median", json!({}), three, 0.2),
        ("trimmed_mean", json!({"f": 1}), three, 0.2),
    ] {
        let mut world = World::with(clients, hyper(clients.len(), 1), rule(name, &params), |_| {}).await;
        assert!(matches!(world.run_to_its_end().await, RunEvent::Finished), "{name}");
        assert_eq!(world.output("checkpoint_1.safetensors"), weights(expected), "{name} of {}", clients.len());
    }
    let mut fooled = World::with(five, hyper(5, 1), json!({}), |_| {}).await;
    assert!(matches!(fooled.run_to_its_end().await, RunEvent::Finished));
    assert!(value(&fooled.output("checkpoint_1.safetensors")) > 1000.0, "the mean is moved");
}

#[tokio::test]
async fn an_update_without_a_number_that_the_rule_needs_is_refused_with_the_reason() {
    let mut world = World::with(&["c0"], hyper(1, 1), rule("fednova", &json!({})), |_| {}).await;
    let RunEvent::Failed { code, reason } = world.run_to_its_end().await else { panic!("should fail") };
    assert_eq!(code, Code::NoQuorum);
    let says = "fednova needs the metric 'local_steps' with each update: an integer ≥ 1";
    assert!(reason.contains(says), "{reason}");
    let refused = world.event("update-refused", 0).await;
    assert_eq!((&refused.fields["code"], &refused.fields["reason"]), (&json!("bad-update"), &json!(says)));
}

#[tokio::test]
async fn a_round_that_needs_more_memory_than_the_operator_allows_fails_with_the_bytes() {
    let bounds = Bounds { memory_bytes: 1000, ..Bounds::default() };
    let median = rule("median", &json!({}));
    let mut world = World::within(bounds, &["c0", "c1", "c2"], hyper(3, 1), median, |_| {}).await;
    let RunEvent::Failed { code, reason } = world.run_to_its_end().await else { panic!("should fail") };
    assert_eq!(code, Code::TooLarge, "{reason}");
    assert!(reason.contains("1000 are allowed"), "{reason}");
}

#[tokio::test]
async fn the_last_round_is_held_as_the_operator_says_and_comes_out_the_same_when_made_again() {
    let mut world = World::with(&["c0", "c1"], hyper(2, 3), rule("fedadam", &json!({})), |_| {}).await;
    assert!(matches!(world.run_to_its_end().await, RunEvent::Finished));
    // what the run has kept is released by its end, and swept
    world.blobs.sweep(Duration::ZERO).await.unwrap();
    let kept = KeptRound::parse(&world.output("round_3.json")).unwrap();
    let scratch = world.folder.path().join("again");
    let again = kept.again(&world.run.spec, &Rules::default(), world.blobs.clone(), 1 << 20, scratch).await.unwrap();
    assert_eq!(again, (kept.model, kept.next_state));
    assert_eq!(kept.model, BlobRef::of(&world.output("checkpoint_3.safetensors")));
    let before = world.folder.path().join("storage/default").join(kept_round(&world.run.spec, 1, 2));
    assert!(!before.exists(), "one round is held");
}
