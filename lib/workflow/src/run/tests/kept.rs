//! Runs of jobs whose rule keeps a state beside the model.

use super::*;

fn kept(round: u32, name: &str) -> RunInput {
    RunInput::StateKept { round, attempt: 1, state: blob(name) }
}

/// Of a run of two rounds that began with a state and is to be summed.
fn to_be_summed() -> RunMachine {
    let mut run = RunMachine::new(plan(2));
    feed(&mut run, NOW, RunInput::Begin { initial: None });
    feed(&mut run, NOW, kept(0, "s0"));
    assert_eq!(run.rule_state(), None, "the model it goes with is not there");
    feed(&mut run, NOW, RunInput::ModelReady { model: blob("m0") });
    collect(&mut run, 1);
    run
}

fn collect(run: &mut RunMachine, round: u32) {
    let clients = vec![id("a"), id("b")];
    feed(run, NOW, RunInput::CohortSelected { round, attempt: 1, kind: TaskKind::Train, clients });
    for client in ["a", "b"] {
        let RunInput::UpdateStored { update, .. } = stored(client) else { unreachable!() };
        let input = RunInput::UpdateStored { key: key(round, 1, TaskKind::Train, client), update };
        feed(run, NOW, input);
    }
}

#[test]
fn the_state_a_round_is_made_from_goes_with_the_model_it_is_made_from() {
    let mut run = to_be_summed();
    assert_eq!((run.rule_state(), run.needs().state), (Some(blob("s0")), Some(blob("s0"))));
    feed(&mut run, NOW, kept(1, "s1"));
    // between the two the node may die: the round is made again from the state before
    let mut run = RunMachine::restore(&run.snapshot()).unwrap();
    assert_eq!(run.rule_state(), Some(blob("s0")));
    feed(&mut run, NOW, kept(1, "s1"));
    let effects = feed(&mut run, NOW, RunInput::Aggregated { round: 1, attempt: 1, model: blob("m1") });
    assert!(effects.contains(&RunEffect::RetireState { state: blob("s0") }), "{effects:?}");
    assert_eq!(run.rule_state(), Some(blob("s1")));
    assert_eq!(feed(&mut run, NOW, kept(1, "late")), []);
    assert_eq!(RunMachine::restore(&run.snapshot()).unwrap().rule_state(), Some(blob("s1")));
    collect(&mut run, 2);
    feed(&mut run, NOW, kept(2, "s1"));
    let effects = feed(&mut run, NOW, RunInput::Aggregated { round: 2, attempt: 1, model: blob("m2") });
    assert!(!effects.iter().any(|effect| matches!(effect, RunEffect::RetireState { .. })), "the same is kept");
    assert_eq!(run.rule_state(), Some(blob("s1")));
}

#[test]
fn the_stored_form_of_a_run_whose_rule_keeps_a_state_is_the_golden_one() {
    let golden = include_str!("../../../golden/run-kept.2.json").trim_end();
    let mut run = to_be_summed();
    feed(&mut run, NOW, kept(1, "s1"));
    assert_eq!(String::from_utf8(run.snapshot()).unwrap(), golden);
    assert_eq!(RunMachine::restore(golden.as_bytes()).unwrap(), run);
    let first = include_str!("../../../golden/run-kept.1.json").trim_end();
    assert_eq!(RunMachine::restore(first.as_bytes()).unwrap(), run, "of version 1");
}

#[test]
fn the_numbers_a_rule_is_given_come_back_from_a_snapshot_to_the_last_bit() {
    let mut bits = 0x3ff0_1234_5678_9abc_u64;
    let numbers: Vec<f64> = (0..2000)
        .map(|_| {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from_bits(0x3f00_0000_0000_0000 | (bits & 0x00ff_ffff_ffff_ffff))
        })
        .collect();
    let metrics = Metrics(numbers.iter().enumerate().map(|(i, value)| (format!("{i}"), *value)).collect());
    let mut run = RunMachine::new(plan(1));
    feed(&mut run, NOW, RunInput::Begin { initial: Some(blob("m0")) });
    let clients = vec![id("a"), id("b")];
    feed(&mut run, NOW, RunInput::CohortSelected { round: 1, attempt: 1, kind: TaskKind::Train, clients });
    let RunInput::UpdateStored { key, update } = stored("a") else { unreachable!() };
    feed(&mut run, NOW, RunInput::UpdateStored { key, update: UpdateRef { metrics, ..update } });
    assert_eq!(RunMachine::restore(&run.snapshot()).unwrap(), run);
}
