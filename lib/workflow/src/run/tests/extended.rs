//! Runs of jobs that bring scripts or an extender along.

use super::*;

fn packages() -> Packages {
    Packages { scripts: Some(blob("scripts")), extender: Some(blob("extender")) }
}

/// A run with an extender that has broadcast before its first round, whose updates are in.
fn extended() -> RunMachine {
    let mut run = RunMachine::new(plan(2));
    feed(&mut run, NOW, RunInput::Begin { initial: None });
    feed(&mut run, NOW, RunInput::Packed { packages: packages() });
    feed(&mut run, NOW, RunInput::ModelReady { model: blob("m0") });
    feed(&mut run, NOW, RunInput::Broadcast { round: 1, attempt: 1, inputs: Some(blob("i1")) });
    let clients = vec![id("a"), id("b")];
    feed(&mut run, NOW, RunInput::CohortSelected { round: 1, attempt: 1, kind: TaskKind::Train, clients });
    for client in ["a", "b"] {
        let RunInput::UpdateStored { key, mut update } = stored(client) else { unreachable!() };
        update.extra = Some(blob(&format!("put by {client}")));
        feed(&mut run, NOW, RunInput::UpdateStored { key, update });
    }
    run
}

#[test]
fn what_goes_along_with_tasks_is_kept_and_needed_until_it_is_used() {
    let run = extended();
    let again = RunMachine::restore(&run.snapshot()).unwrap();
    assert_eq!(again, run);
    assert_eq!((again.packages(), again.inputs(1), again.inputs(2)), (&packages(), Some(blob("i1")), None));
    let needs = again.needs();
    assert_eq!(needs.packages, [blob("scripts"), blob("extender")]);
    let updates: Vec<BlobRef> = needs.updates.iter().map(|(_, blob)| *blob).collect();
    assert_eq!(updates, ["a", "put by a", "b", "put by b"].map(blob));
    assert_eq!(needs.inputs, Some(blob("i1")));
}

#[test]
fn what_an_extender_says_of_a_round_joins_it_and_is_kept_for_the_next() {
    let mut run = extended();
    let metrics = Metrics([("largest".to_owned(), 4.0)].into());
    let parameters = Some(r#"{"seen":1}"#.to_owned());
    feed(&mut run, NOW, RunInput::Extended { round: 1, attempt: 1, parameters, metrics });
    let effects = feed(&mut run, NOW, RunInput::Aggregated { round: 1, attempt: 1, model: blob("m1") });
    let closed = effects.iter().find_map(|effect| match effect {
        RunEffect::RoundClosed { metrics, .. } => metrics.get("largest"),
        _ => None,
    });
    assert_eq!(closed, Some(4.0));
    assert!(
        effects.contains(&RunEffect::RetireUpdate { task: key(1, 1, TaskKind::Train, "a"), update: blob("put by a") }),
        "{effects:?}"
    );
    assert_eq!(run.kept_parameters(), Some(r#"{"seen":1}"#));
    assert!(!run.has_broadcast(2));
    let effects = feed(&mut run, NOW, RunInput::Broadcast { round: 2, attempt: 1, inputs: Some(blob("i2")) });
    assert_eq!(effects, [RunEffect::RetireInputs { inputs: blob("i1") }]);
    let stale = feed(&mut run, NOW, RunInput::Broadcast { round: 1, attempt: 1, inputs: None });
    assert_eq!((stale, run.inputs(2)), (vec![], Some(blob("i2"))));
}

#[test]
fn an_extender_that_fails_fails_the_round_and_at_last_the_run() {
    let mut run = extended();
    let failed = || RunInput::AggregateFailed {
        round: 1,
        attempt: 1,
        code: Code::ExtenderFailed,
        reason: "ValueError".to_owned(),
    };
    let effects = feed(&mut run, NOW, failed());
    assert!(effects.iter().any(|effect| matches!(
        effect,
        RunEffect::RoundClosed { outcome: RoundOutcome::Failed { code: Code::ExtenderFailed, .. }, .. }
    )));
    assert!(matches!(run.phase(), RunPhase::Pausing { for_clients: false, .. }), "the round is tried again");
    assert!(run.has_broadcast(1), "one broadcast a round");
    let mut run = RunMachine::new(plan(1));
    feed(&mut run, NOW, RunInput::Begin { initial: Some(blob("m0")) });
    let mut now = NOW;
    for attempt in 1.. {
        let (code, reason) = (Code::ExtenderFailed, "ValueError".to_owned());
        feed(&mut run, now, RunInput::BroadcastFailed { round: 1, attempt, code, reason });
        if run.is_over() {
            break;
        }
        now = run.deadline().unwrap();
        feed(&mut run, now, RunInput::Tick);
    }
    assert!(matches!(run.phase(), RunPhase::Failed { code: Code::ExtenderFailed, .. }));
}

#[test]
fn what_a_job_brings_along_and_is_not_there_fails_the_run_by_its_own_words() {
    let mut run = RunMachine::new(plan(1));
    feed(&mut run, NOW, RunInput::Begin { initial: None });
    let reason = "scripts.path 's' is not there".to_owned();
    feed(&mut run, NOW, RunInput::PackFailed { code: Code::ScriptMissing, reason: reason.clone() });
    assert_eq!(run.phase(), &RunPhase::Failed { code: Code::ScriptMissing, reason });
}

#[test]
fn the_stored_form_of_a_run_with_scripts_and_extender_is_the_golden_one() {
    let golden = include_str!("../../../golden/run-extended.2.json").trim_end();
    let mut run = extended();
    let metrics = Metrics([("largest".to_owned(), 4.0)].into());
    let parameters = Some(r#"{"seen":1}"#.to_owned());
    feed(&mut run, NOW, RunInput::Extended { round: 1, attempt: 1, parameters, metrics });
    assert_eq!(String::from_utf8(run.snapshot()).unwrap(), golden);
    assert_eq!(RunMachine::restore(golden.as_bytes()).unwrap(), run);
    let first = include_str!("../../../golden/run-extended.1.json").trim_end();
    assert_eq!(RunMachine::restore(first.as_bytes()).unwrap(), run, "of version 1");
}
