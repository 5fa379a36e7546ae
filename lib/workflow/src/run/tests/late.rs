//! Runs whose late updates count.

use super::*;

fn with(cohort: u32, late: LatePolicy) -> RunPlan {
    let mut plan = plan(9);
    plan.rounds = RoundPolicy { client_num: cohort, cohort, close_at_threshold: true, late, ..plan.rounds };
    plan
}

fn buffer(k: u32, max_staleness: Option<u32>) -> LatePolicy {
    LatePolicy::Buffer { k, max_staleness }
}

fn task(round: u32, client: &str) -> TaskKey {
    key(round, 1, TaskKind::Train, client)
}

/// The update of the client's task that began in this round.
fn done(round: u32, client: &str) -> RunInput {
    let update = UpdateRef {
        blob: Some(blob(&format!("{client} {round}"))),
        extra: None,
        metrics: Metrics::default(),
        weight: 1.0,
    };
    RunInput::UpdateStored { key: task(round, client), update }
}

fn selected(round: u32, clients: &[&str]) -> RunInput {
    let clients = clients.iter().map(|client| id(client)).collect();
    RunInput::CohortSelected { round, attempt: 1, kind: TaskKind::Train, clients }
}

fn begun(plan: RunPlan, clients: &[&str]) -> RunMachine {
    let mut run = RunMachine::new(plan);
    feed(&mut run, NOW, RunInput::Begin { initial: Some(blob("m0")) });
    feed(&mut run, NOW, selected(1, clients));
    run
}

fn summed(run: &mut RunMachine, round: u32) -> Vec<RunEffect> {
    feed(run, NOW, RunInput::Aggregated { round, attempt: 1, model: blob(&format!("m{round}")) })
}

/// Of whom the next model is to be made, with their staleness.
fn members(effects: &[RunEffect]) -> Option<Vec<(String, u32)>> {
    effects.iter().find_map(|effect| match effect {
        RunEffect::Aggregate { members, .. } => {
            Some(members.iter().map(|m| (m.client.to_string(), m.staleness)).collect())
        }
        _ => None,
    })
}

fn of(list: &[(&str, u32)]) -> Option<Vec<(String, u32)>> {
    Some(list.iter().map(|(client, staleness)| ((*client).to_owned(), *staleness)).collect())
}

fn sends(effects: &[RunEffect]) -> Vec<TaskKey> {
    let sent = effects.iter().filter_map(|effect| match effect {
        RunEffect::SendTask { key, .. } => Some(key.clone()),
        _ => None,
    });
    sent.collect()
}

fn is_past(effects: &[RunEffect]) -> bool {
    matches!(effects, [RunEffect::PastTask { brings: true, .. }])
}

fn is_refused(effects: &[RunEffect], code: Code) -> bool {
    effects.iter().any(|effect| matches!(effect, RunEffect::RefuseUpdate { code: found, .. } if *found == code))
}

#[test]
fn a_late_update_counts_in_the_round_that_is_open_when_it_comes_and_its_client_is_not_asked_meanwhile() {
    let mut run = begun(with(3, LatePolicy::Stale { max_staleness: 2 }), &["a", "b", "c"]);
    feed(&mut run, NOW, done(1, "a"));
    assert_eq!(members(&feed(&mut run, NOW, done(1, "b"))), of(&[("a", 0), ("b", 0)]));
    let effects = summed(&mut run, 1);
    let select = effects.iter().find_map(|effect| match effect {
        RunEffect::SelectCohort { round: 2, count, except, .. } => Some((*count, except.clone())),
        _ => None,
    });
    assert_eq!(select, Some((3, [id("c")].into())));
    assert!(!effects.contains(&RunEffect::RetireModel { model: blob("m0") }), "c works from it");
    assert_eq!(run.needs().bases, [blob("m0")]);
    assert_eq!(sends(&feed(&mut run, NOW, selected(2, &["a", "b", "c"]))), [task(2, "a"), task(2, "b")]);
    assert_eq!(run.view().staleness, [(id("c"), 1)].into());
    let late = feed(&mut run, NOW, done(1, "c"));
    assert!(late.contains(&RunEffect::AckUpdate { key: task(1, "c") }), "{late:?}");
    assert_eq!(feed(&mut run, NOW, done(1, "c")), [RunEffect::AckUpdate { key: task(1, "c") }], "a duplicate");
    assert_eq!(members(&feed(&mut run, NOW, done(2, "a"))), None, "late ones do not count for the quorum");
    assert_eq!(members(&feed(&mut run, NOW, done(2, "b"))), of(&[("a", 0), ("b", 0), ("c", 1)]));
    let effects = summed(&mut run, 2);
    for model in ["m0", "m1"] {
        assert!(effects.contains(&RunEffect::RetireModel { model: blob(model) }), "{model}");
    }
}

#[test]
fn where_late_updates_are_dropped_a_round_is_closed_with_all_it_invited() {
    let mut run = begun(with(3, LatePolicy::Drop), &["a", "b", "c"]);
    feed(&mut run, NOW, done(1, "a"));
    let closed = feed(&mut run, NOW, done(1, "b"));
    assert!(closed.contains(&RunEffect::CancelTask { key: task(1, "c") }), "{closed:?}");
    assert!(is_refused(&feed(&mut run, NOW, done(1, "c")), Code::Late));
    let effects = summed(&mut run, 1);
    let members = effects.iter().find_map(|effect| match effect {
        RunEffect::RoundClosed { members, goes_on: false, .. } => Some(members.len()),
        _ => None,
    });
    assert_eq!(members, Some(3), "{effects:?}");
}

#[test]
fn a_task_that_is_too_late_for_any_round_is_called_back() {
    let mut run = begun(with(3, LatePolicy::Stale { max_staleness: 1 }), &["a", "b", "c"]);
    for round in [1, 2] {
        feed(&mut run, NOW, done(round, "a"));
        let closed = feed(&mut run, NOW, done(round, "b"));
        let called_back = closed.contains(&RunEffect::CancelTask { key: task(1, "c") });
        assert_eq!(called_back, round == 2, "round {round}");
        summed(&mut run, round);
        feed(&mut run, NOW, selected(round + 1, &["a", "b"]));
    }
    assert!(is_past(&feed(&mut run, NOW, done(1, "c"))));
}

#[test]
fn an_attempt_that_fails_keeps_the_updates_it_has() {
    let mut run = begun(with(2, LatePolicy::Stale { max_staleness: 1 }), &["a", "b"]);
    feed(&mut run, NOW, done(1, "a"));
    let failed = RunInput::TaskFailed { key: task(1, "b"), code: Code::TrainerFailed, reason: "boom".into() };
    let effects = feed(&mut run, NOW, failed);
    assert!(!effects.iter().any(|e| matches!(e, RunEffect::RetireUpdate { .. })), "{effects:?}");
    let at = run.deadline().unwrap();
    let effects = feed(&mut run, at, RunInput::Tick);
    let except = [id("a")].into();
    assert_eq!(effects, [RunEffect::SelectCohort { round: 1, attempt: 2, kind: TaskKind::Train, count: 1, except }]);
    let again = RunInput::CohortSelected { round: 1, attempt: 2, kind: TaskKind::Train, clients: vec![id("b")] };
    feed(&mut run, at, again);
    let RunInput::UpdateStored { update, .. } = done(1, "b") else { unreachable!() };
    let second = RunInput::UpdateStored { key: key(1, 2, TaskKind::Train, "b"), update };
    assert_eq!(members(&feed(&mut run, at, second)), of(&[("a", 0), ("b", 0)]));
}

#[test]
fn a_step_is_over_with_the_kth_update_and_whoever_is_done_makes_room_for_another() {
    let mut run = begun(with(3, buffer(2, None)), &["a", "b", "c"]);
    let effects = feed(&mut run, NOW, done(1, "a"));
    let except = ["a", "b", "c"].map(id).into();
    let ask = RunEffect::SelectCohort { round: 1, attempt: 1, kind: TaskKind::Train, count: 1, except };
    assert_eq!(effects.last(), Some(&ask));
    assert_eq!(sends(&feed(&mut run, NOW, selected(1, &["d"]))), [task(1, "d")]);
    assert_eq!(members(&feed(&mut run, NOW, done(1, "b"))), of(&[("a", 0), ("b", 0)]));
    // c comes while the model is made
    assert!(feed(&mut run, NOW, done(1, "c")).contains(&RunEffect::AckUpdate { key: task(1, "c") }));
    summed(&mut run, 1);
    let effects = feed(&mut run, NOW, selected(2, &["a", "c"]));
    assert_eq!(sends(&effects), [task(2, "a"), task(2, "c")]);
    // of one client an update to the old model and one to the new
    assert_eq!(members(&feed(&mut run, NOW, done(2, "c"))), of(&[("c", 1), ("c", 0)]));
    summed(&mut run, 2);
    feed(&mut run, NOW, selected(3, &["b"]));
    feed(&mut run, NOW, done(2, "a"));
    assert_eq!(members(&feed(&mut run, NOW, done(1, "d"))), of(&[("a", 1), ("d", 2)]));
}

#[test]
fn an_update_is_accepted_only_if_its_turn_comes_before_it_is_too_stale() {
    let mut run = begun(with(4, buffer(1, Some(1))), &["a", "b", "c", "d"]);
    assert_eq!(members(&feed(&mut run, NOW, done(1, "a"))), of(&[("a", 0)]));
    assert!(feed(&mut run, NOW, done(1, "b")).contains(&RunEffect::AckUpdate { key: task(1, "b") }));
    assert!(is_refused(&feed(&mut run, NOW, done(1, "c")), Code::Late), "b's goes into model 2, c's would into 3");
    // the buffer is full: the step is taken, and nobody is asked before
    assert_eq!(members(&summed(&mut run, 1)), of(&[("b", 1)]));
    let effects = summed(&mut run, 2);
    assert!(effects.iter().any(|e| matches!(e, RunEffect::SelectCohort { round: 3, count: 4, .. })), "{effects:?}");
}

#[test]
fn a_silent_client_of_a_step_makes_room_when_its_time_is_over() {
    let mut run = begun(with(2, buffer(2, None)), &["a", "b"]);
    feed(&mut run, NOW, done(1, "a"));
    feed(&mut run, NOW, RunInput::NoCohort { round: 1, attempt: 1, kind: TaskKind::Train, reason: "none".into() });
    let at = NOW.plus_ms(1000);
    let effects = feed(&mut run, at, RunInput::Tick);
    assert!(effects.contains(&RunEffect::CancelTask { key: task(1, "b") }), "{effects:?}");
    assert!(is_refused(&feed(&mut run, at, done(1, "b")), Code::Late));
    let effects = feed(&mut run, at, selected(1, &["c"]));
    assert_eq!(sends(&effects), [task(1, "c")]);
    assert_eq!(members(&feed(&mut run, at, done(1, "c"))), of(&[("a", 0), ("c", 0)]));
}

/// A step is open: one update is in, one client works from the model before, more are asked for.
fn in_a_step() -> RunMachine {
    let mut run = begun(with(3, buffer(2, Some(4))), &["a", "b", "c"]);
    feed(&mut run, NOW, done(1, "a"));
    feed(&mut run, NOW, done(1, "b"));
    summed(&mut run, 1);
    feed(&mut run, NOW, selected(2, &["a"]));
    feed(&mut run, NOW, done(2, "a"));
    run
}

#[test]
fn a_restart_owes_each_client_the_model_it_began_with_and_asks_for_clients_again() {
    let mut run = RunMachine::restore(&in_a_step().snapshot()).unwrap();
    let mut owed = Vec::new();
    run.resume(NOW, &mut owed);
    assert!(owed.contains(&RunEffect::SendTask { key: task(1, "c"), base: blob("m0") }), "{owed:?}");
    assert!(owed.contains(&RunEffect::AckUpdate { key: task(2, "a") }));
    assert!(owed.iter().any(|e| matches!(e, RunEffect::SelectCohort { round: 2, count: 2, .. })), "{owed:?}");
    assert_eq!((run.needs().model, run.needs().bases), (Some(blob("m1")), vec![blob("m0")]));
    assert_eq!(members(&feed(&mut run, NOW, done(1, "c"))), of(&[("a", 0), ("c", 1)]));
}

#[test]
fn a_run_that_ends_calls_everyone_back_and_needs_nothing() {
    let mut run = in_a_step();
    let effects = feed(&mut run, NOW, RunInput::Stop);
    assert!(effects.contains(&RunEffect::CancelTask { key: task(1, "c") }), "{effects:?}");
    assert_eq!((run.needs(), run.deadline()), (Needs::default(), None));
}

#[test]
fn the_stored_form_of_a_run_with_tasks_that_outlive_their_round_is_the_golden_one() {
    let golden = include_str!("../../../golden/run-late.2.json").trim_end();
    // and one between two steps: an update waits for the next, a task is under way
    let mut run = begun(with(4, buffer(2, Some(4))), &["a", "b", "c", "d"]);
    for client in ["a", "b", "c"] {
        feed(&mut run, NOW, done(1, client));
    }
    let open = in_a_step();
    let both = [open.snapshot(), run.snapshot()].map(|bytes| String::from_utf8(bytes).unwrap()).join("\n");
    assert_eq!(both, golden);
    let restored: Vec<_> = golden.lines().map(|line| RunMachine::restore(line.as_bytes()).unwrap()).collect();
    assert_eq!(restored, [open, run]);
}
