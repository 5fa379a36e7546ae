//! What must hold for a run: its order of steps, its retries, its end. Faults at random are in `tests/`.

mod begin;
mod extended;
mod kept;
mod late;

use super::*;
use crate::round::{RoundOutcome, UpdateRef};
use nsfl_types::{JobKey, Metrics};

const NOW: Timestamp = Timestamp(10);

fn id(name: &str) -> ClientId {
    name.parse().unwrap()
}

fn blob(text: &str) -> BlobRef {
    BlobRef::of(text.as_bytes())
}

fn plan(max_round_num: u32) -> RunPlan {
    RunPlan {
        job: JobKey::new("default".parse().unwrap(), "x".parse().unwrap()),
        run: 1,
        max_round_num,
        evaluate_interval: 0,
        save_interval: 0,
        rounds: RoundPolicy {
            client_num: 2,
            cohort: 2,
            quorum: 2,
            round_timeout_ms: 1000,
            close_at_threshold: false,
            late: LatePolicy::Drop,
        },
        retry: RetryPolicy { max_attempts: 3, backoff_base_ms: 100, backoff_max_ms: 150 },
    }
}

fn key(round: u32, attempt: u32, kind: TaskKind, client: &str) -> TaskKey {
    TaskKey { job: plan(1).job, run: 1, round, attempt, kind, client: id(client) }
}

fn feed(run: &mut RunMachine, now: Timestamp, input: RunInput) -> Vec<RunEffect> {
    let mut effects = Vec::new();
    run.handle(now, input, &mut effects);
    effects
}

/// Answers every effect as a faultless world does and tells what was done, in short words.
fn play(run: &mut RunMachine, first: RunInput) -> Vec<String> {
    let mut inputs = std::collections::VecDeque::from([first]);
    let mut words = Vec::new();
    while let Some(input) = inputs.pop_front() {
        for effect in feed(run, NOW, input) {
            match effect {
                RunEffect::InitModel => {
                    words.push("init".to_owned());
                    inputs.push_back(RunInput::ModelReady { model: blob("m0") });
                }
                RunEffect::SelectCohort { round, attempt, kind, count, .. } => {
                    assert_eq!(count, 2);
                    let clients = vec![id("b"), id("a")];
                    inputs.push_back(RunInput::CohortSelected { round, attempt, kind, clients });
                }
                RunEffect::SendTask { key, .. } => {
                    let trains = key.kind == TaskKind::Train;
                    let update = UpdateRef {
                        blob: trains.then(|| blob(&key.to_string())),
                        extra: None,
                        metrics: Metrics([("accuracy".to_owned(), f64::from(key.round) / 10.0)].into()),
                        weight: 1.0,
                    };
                    inputs.push_back(RunInput::UpdateStored { key, update });
                }
                RunEffect::Aggregate { round, attempt, members, .. } => {
                    let names: Vec<_> = members.iter().map(|m| m.client.as_str()).collect();
                    words.push(format!("aggregate {round} {}", names.join("+")));
                    inputs.push_back(RunInput::Aggregated { round, attempt, model: blob(&format!("m{round}")) });
                }
                RunEffect::SaveCheckpoint { round, model, accuracy } => {
                    assert_eq!(model, blob(&format!("m{round}")));
                    words.push(format!("save {round} {accuracy:?}"));
                    inputs.push_back(RunInput::CheckpointSaved { round });
                }
                RunEffect::RoundClosed { round, kind: TaskKind::Evaluate, .. } => {
                    words.push(format!("evaluated {round}"))
                }
                RunEffect::Finished { round, accuracy, .. } => words.push(format!("finished {round} {accuracy:?}")),
                RunEffect::Failed { reason, .. } => words.push(reason),
                _ => {}
            }
        }
    }
    words
}

/// A run whose first train round is open.
fn collecting(plan: RunPlan) -> RunMachine {
    let mut run = RunMachine::new(plan);
    feed(&mut run, NOW, RunInput::Begin { initial: Some(blob("m0")) });
    let clients = vec![id("a"), id("b")];
    feed(&mut run, NOW, RunInput::CohortSelected { round: 1, attempt: 1, kind: TaskKind::Train, clients });
    run
}

fn stored(client: &str) -> RunInput {
    let update = UpdateRef { blob: Some(blob(client)), extra: None, metrics: Metrics::default(), weight: 1.0 };
    RunInput::UpdateStored { key: key(1, 1, TaskKind::Train, client), update }
}

fn aggregating(plan: RunPlan) -> RunMachine {
    let mut run = collecting(plan);
    feed(&mut run, NOW, stored("a"));
    feed(&mut run, NOW, stored("b"));
    run
}

#[test]
fn a_run_evaluates_and_saves_when_due_and_after_its_last_round() {
    let mut run = RunMachine::new(RunPlan { evaluate_interval: 2, save_interval: 3, ..plan(5) });
    assert_eq!(
        play(&mut run, RunInput::Begin { initial: None }),
        [
            "init",
            "aggregate 1 a+b",
            "aggregate 2 a+b",
            "evaluated 2",
            "aggregate 3 a+b",
            "save 3 None",
            "aggregate 4 a+b",
            "evaluated 4",
            "aggregate 5 a+b",
            "evaluated 5",
            "save 5 Some(0.5)",
            "finished 5 Some(0.5)",
        ]
    );
    let mut bare = RunMachine::new(plan(2));
    let first = RunInput::Begin { initial: Some(blob("m")) };
    let words = ["aggregate 1 a+b", "aggregate 2 a+b", "save 2 None", "finished 2 None"];
    assert_eq!(play(&mut bare, first), words);
}

#[test]
fn what_is_needed_no_longer_is_retired_before_the_next_tasks_are_sent() {
    let mut run = aggregating(plan(2));
    let effects = feed(&mut run, NOW, RunInput::Aggregated { round: 1, attempt: 1, model: blob("m1") });
    let retired = |client| RunEffect::RetireUpdate { task: key(1, 1, TaskKind::Train, client), update: blob(client) };
    assert!(matches!(effects[0], RunEffect::RoundClosed { round: 1, model: Some(_), .. }));
    assert_eq!(
        effects[1..],
        [
            retired("a"),
            retired("b"),
            RunEffect::RetireModel { model: blob("m0") },
            RunEffect::Progress { done: 1, total: 2 },
            RunEffect::SelectCohort { round: 2, attempt: 1, kind: TaskKind::Train, count: 2, except: BTreeSet::new() },
        ]
    );
    let mut unchanged = aggregating(plan(2));
    let effects = feed(&mut unchanged, NOW, RunInput::Aggregated { round: 1, attempt: 1, model: blob("m0") });
    assert!(!effects.iter().any(|e| matches!(e, RunEffect::RetireModel { .. })), "the model in use stays");
}

#[test]
fn a_failed_round_is_tried_again_after_growing_pauses_and_then_fails_the_run() {
    let mut run = collecting(plan(9));
    let mut now = NOW;
    for (attempt, pause) in [(1, 100), (2, 150)] {
        let key = key(1, attempt, TaskKind::Train, "a");
        let (code, reason) = (Code::TrainerFailed, "boom".to_owned());
        feed(&mut run, now, RunInput::TaskFailed { key, code, reason });
        assert_eq!(run.deadline(), Some(now.plus_ms(pause)));
        assert_eq!((run.view().round, run.view().attempt), (1, attempt + 1));
        assert_eq!(feed(&mut run, now.plus_ms(pause - 1), RunInput::Tick), []);
        now = now.plus_ms(pause);
        let select = RunEffect::SelectCohort {
            round: 1,
            attempt: attempt + 1,
            kind: TaskKind::Train,
            count: 2,
            except: BTreeSet::new(),
        };
        assert_eq!(feed(&mut run, now, RunInput::Tick), [select]);
        let clients = vec![id("a"), id("b")];
        let selected = RunInput::CohortSelected { round: 1, attempt: attempt + 1, kind: TaskKind::Train, clients };
        feed(&mut run, now, selected);
    }
    let deadline = run.deadline().unwrap();
    let effects = feed(&mut run, deadline, RunInput::Tick);
    let reason = "round 1 failed 3 times, last: 0 updates, quorum 2, at the deadline: a was silent; b was silent";
    let failed = RunEffect::Failed { code: Code::NoQuorum, reason: reason.to_owned() };
    assert_eq!(effects.last(), Some(&failed));
    assert!(run.is_over());
}

#[test]
fn a_round_without_clients_is_tried_again_and_recorded() {
    let mut run = RunMachine::new(plan(1));
    feed(&mut run, NOW, RunInput::Begin { initial: Some(blob("m")) });
    let clients = vec![id("a"), id("a")];
    let one = RunInput::CohortSelected { round: 1, attempt: 1, kind: TaskKind::Train, clients };
    let effects = feed(&mut run, NOW, one);
    let reason = "1 clients were selected, quorum 2".to_owned();
    let failed = RoundOutcome::Failed { code: Code::NoClients, reason };
    assert!(matches!(&effects[..], [RunEffect::RoundClosed { outcome, .. }] if *outcome == failed));
    assert_eq!(run.view().phase, "pausing");
}

#[test]
fn a_round_waits_for_clients_as_long_as_it_takes_and_goes_on_as_soon_as_one_is_back() {
    let mut run = RunMachine::new(plan(1));
    feed(&mut run, NOW, RunInput::Begin { initial: Some(blob("m")) });
    let mut now = NOW;
    for attempt in 1..=50 {
        let none = RunInput::NoCohort { round: 1, attempt, kind: TaskKind::Train, reason: "nobody".into() };
        feed(&mut run, now, none);
        assert!(!run.is_over());
        now = run.deadline().unwrap();
        feed(&mut run, now, RunInput::Tick);
    }
    let none = RunInput::NoCohort { round: 1, attempt: 51, kind: TaskKind::Train, reason: "nobody".into() };
    feed(&mut run, now, none);
    let back = feed(&mut run, now, RunInput::ClientReported { client: id("a"), tasks: Vec::new() });
    assert!(matches!(back[..], [RunEffect::SelectCohort { round: 1, attempt: 52, .. }]), "{back:?}");
}

#[test]
fn a_failed_evaluation_is_recorded_and_skipped() {
    let retry = RetryPolicy { max_attempts: 1, ..plan(1).retry };
    let mut run = aggregating(RunPlan { evaluate_interval: 1, retry, ..plan(2) });
    feed(&mut run, NOW, RunInput::Aggregated { round: 1, attempt: 1, model: blob("m1") });
    let none = RunInput::NoCohort { round: 1, attempt: 1, kind: TaskKind::Evaluate, reason: "0 of 2".into() };
    let effects = feed(&mut run, NOW, none);
    assert!(matches!(effects[0], RunEffect::RoundClosed { kind: TaskKind::Evaluate, .. }));
    assert_eq!(effects[1], RunEffect::Progress { done: 1, total: 2 });
    assert_eq!((run.view().round, run.view().kind), (2, TaskKind::Train));
}

#[test]
fn a_restart_gives_an_open_round_its_whole_time_again_however_the_clock_was_set() {
    let hour = 3_600_000;
    for now in [Timestamp(NOW.0 + hour), Timestamp(0)] {
        let mut run = collecting(plan(1));
        let timeout = run.plan().rounds.round_timeout_ms;
        run.resume(now, &mut Vec::new());
        assert_eq!(run.deadline(), Some(now.plus_ms(timeout)));
        assert_eq!(feed(&mut run, now, RunInput::Tick), []);
    }
}

#[test]
fn a_restart_does_not_pause_longer_than_the_longest_pause() {
    let mut run = aggregating(plan(1));
    let failed = RunInput::AggregateFailed { round: 1, attempt: 1, code: Code::Store, reason: "gone".into() };
    feed(&mut run, Timestamp(NOW.0 + 3_600_000), failed);
    run.resume(NOW, &mut Vec::new());
    assert_eq!(run.deadline(), Some(NOW.plus_ms(run.plan().retry.backoff_max_ms)));
}

#[test]
fn a_failed_aggregation_is_repeated_with_the_same_members_and_then_fails_the_run() {
    let mut run = aggregating(plan(1));
    let mut owed = Vec::new();
    run.resume(Timestamp(0), &mut owed);
    let aggregate = owed.pop().unwrap();
    let failed = || RunInput::AggregateFailed { round: 1, attempt: 1, code: Code::Store, reason: "gone".into() };
    for _ in 0..2 {
        assert_eq!(feed(&mut run, NOW, failed()), []);
        assert_eq!(feed(&mut run, NOW, failed()), [], "the same failure told twice");
        let at = run.deadline().unwrap();
        assert_eq!(feed(&mut run, at, RunInput::Tick), std::slice::from_ref(&aggregate));
    }
    let effects = feed(&mut run, NOW, failed());
    let reason = "the aggregation of round 1 failed 3 times, last: gone".to_owned();
    assert_eq!(effects.last(), Some(&RunEffect::Failed { code: Code::Store, reason }));
}

#[test]
fn a_round_whose_stored_updates_are_damaged_is_tried_again_from_its_clients() {
    let mut run = aggregating(plan(1));
    let damaged = RunInput::AggregateFailed { round: 1, attempt: 1, code: Code::WrongDigest, reason: "bit".into() };
    let effects = feed(&mut run, NOW, damaged);
    assert!(matches!(effects[0], RunEffect::RoundClosed { round: 1, attempt: 1, model: None, .. }), "{effects:?}");
    let at = run.deadline().unwrap();
    let effects = feed(&mut run, at, RunInput::Tick);
    assert!(matches!(effects[..], [RunEffect::SelectCohort { round: 1, attempt: 2, kind: TaskKind::Train, .. }]));
}

#[test]
fn a_full_disk_is_waited_for_as_long_as_it_takes() {
    let mut run = aggregating(plan(1));
    for _ in 0..100 {
        let full = RunInput::AggregateFailed { round: 1, attempt: 1, code: Code::DiskFull, reason: "full".into() };
        assert_eq!(feed(&mut run, NOW, full), []);
        let at = run.deadline().unwrap();
        assert!(matches!(feed(&mut run, at, RunInput::Tick)[..], [RunEffect::Aggregate { .. }]));
    }
}

#[test]
fn updates_of_other_rounds_runs_and_jobs_are_answered_and_not_counted() {
    let mut run = aggregating(plan(2));
    feed(&mut run, NOW, RunInput::Aggregated { round: 1, attempt: 1, model: blob("m1") });
    let clients = vec![id("a"), id("b")];
    feed(&mut run, NOW, RunInput::CohortSelected { round: 2, attempt: 1, kind: TaskKind::Train, clients });
    let good = key(2, 1, TaskKind::Train, "a");
    let cases = [
        (key(2, 2, TaskKind::Train, "a"), Code::Stale),
        (key(2, 1, TaskKind::Evaluate, "a"), Code::Stale),
        (key(2, 1, TaskKind::Train, "z"), Code::Stale),
        (TaskKey { run: 2, ..good.clone() }, Code::Stale),
        (TaskKey { job: JobKey { id: "y".parse().unwrap(), ..good.job.clone() }, ..good }, Code::Stale),
    ];
    for past in [key(1, 1, TaskKind::Train, "a"), key(1, 1, TaskKind::Evaluate, "a")] {
        let update = UpdateRef { blob: Some(blob("u")), extra: None, metrics: Metrics::default(), weight: 1.0 };
        let effects = feed(&mut run, NOW, RunInput::UpdateStored { key: past.clone(), update });
        assert_eq!(effects, [RunEffect::PastTask { key: past, brings: true }]);
    }
    for (key, expected) in cases {
        let update = UpdateRef { blob: Some(blob("u")), extra: None, metrics: Metrics::default(), weight: 1.0 };
        let effects = feed(&mut run, NOW, RunInput::UpdateStored { key: key.clone(), update });
        assert!(
            matches!(&effects[..], [RunEffect::RefuseUpdate { key: k, code, .. }] if *k == key && *code == expected),
            "{key}: {effects:?}"
        );
    }
    assert_eq!(run.view().accepted, 0);
}

#[test]
fn a_client_that_comes_back_is_told_what_to_do_and_what_to_drop() {
    let mut run = collecting(plan(1));
    let report = |client: &str, tasks: Vec<TaskKey>| RunInput::ClientReported { client: id(client), tasks };
    let wanted = key(1, 1, TaskKind::Train, "a");
    let old = TaskKey { run: 7, ..wanted.clone() };
    let foreign = TaskKey { job: JobKey { id: "y".parse().unwrap(), ..wanted.job.clone() }, ..wanted.clone() };
    let send = RunEffect::SendTask { key: wanted.clone(), base: blob("m0") };
    let cancel = RunEffect::CancelTask { key: old.clone() };
    assert_eq!(feed(&mut run, NOW, report("a", vec![old, foreign])), [cancel, send.clone()]);
    // It has the task; it is sent again all the same, since what was granted with it may be gone.
    assert_eq!(feed(&mut run, NOW, report("a", vec![wanted.clone()])), [send]);
    feed(&mut run, NOW, stored("a"));
    assert_eq!(feed(&mut run, NOW, report("a", vec![])), []);
    assert_eq!(feed(&mut run, NOW, report("a", vec![wanted.clone()])), [RunEffect::AckUpdate { key: wanted }]);
    let stranger = key(1, 1, TaskKind::Train, "z");
    assert_eq!(feed(&mut run, NOW, report("z", vec![stranger.clone()])), [RunEffect::CancelTask { key: stranger }]);
}

/// What the client keeps of the task that counts goes into the next one: so it hears of that one first.
#[test]
fn a_client_that_asks_for_a_task_of_a_closed_round_is_answered_by_the_records_before_it_gets_its_next_task() {
    let mut run = aggregating(plan(2));
    feed(&mut run, NOW, RunInput::Aggregated { round: 1, attempt: 1, model: blob("m1") });
    let clients = vec![id("a"), id("b")];
    feed(&mut run, NOW, RunInput::CohortSelected { round: 2, attempt: 1, kind: TaskKind::Train, clients });
    let (past, next) = (key(1, 1, TaskKind::Train, "a"), key(2, 1, TaskKind::Train, "a"));
    let report = RunInput::ClientReported { client: id("a"), tasks: vec![past.clone()] };
    let expected =
        [RunEffect::PastTask { key: past, brings: false }, RunEffect::SendTask { key: next, base: blob("m1") }];
    assert_eq!(feed(&mut run, NOW, report), expected);
}

#[test]
fn a_stopped_run_calls_its_tasks_back_and_says_so_again_when_asked_again() {
    let mut run = collecting(plan(1));
    feed(&mut run, NOW, stored("a"));
    let effects = feed(&mut run, NOW, RunInput::Stop);
    assert_eq!(effects[0], RunEffect::CancelTask { key: key(1, 1, TaskKind::Train, "b") });
    assert!(matches!(
        effects[1],
        RunEffect::RoundClosed { outcome: RoundOutcome::Failed { code: Code::Cancelled, .. }, .. }
    ));
    assert_eq!(
        effects[2..],
        [RunEffect::RetireUpdate { task: key(1, 1, TaskKind::Train, "a"), update: blob("a") }, RunEffect::Stopped]
    );
    assert_eq!(feed(&mut run, NOW, RunInput::Stop), [RunEffect::Stopped]);
    let late = feed(&mut run, NOW, stored("b"));
    assert!(matches!(late[..], [RunEffect::RefuseUpdate { code: Code::Late, .. }]));
}

#[test]
fn a_run_without_a_model_fails_with_its_reason() {
    let mut run = RunMachine::new(plan(1));
    feed(&mut run, NOW, RunInput::Begin { initial: None });
    let effects = feed(&mut run, NOW, RunInput::ModelFailed { code: Code::NotFound, reason: "no file".into() });
    let reason = "no initial model: no file".to_owned();
    assert_eq!(effects, [RunEffect::Failed { code: Code::NotFound, reason }]);
}

#[test]
fn the_plan_is_the_job_s() {
    let json = br#"{"id":"x","runtime":"builtin","task_entry":"echo","output":"out","redundancy":1.5,
        "hyper_parameters":{"max_round_num":7,"client_num":3,"threshold_client_num":2,"round_timeout":1.5}}"#;
    let (_, spec) = nsfl_types::JobSpec::parse(json).unwrap();
    let plan = RunPlan::new(plan(1).job, 3, &spec, None);
    assert_eq!(
        (plan.run, plan.max_round_num, plan.rounds.client_num, plan.rounds.cohort, plan.rounds.quorum),
        (3, 7, 3, 4, 2)
    );
    assert_eq!((plan.rounds.round_timeout_ms, plan.evaluate_interval, plan.save_interval), (1500, 2, 5));
}

#[test]
fn the_stored_form_is_the_golden_one() {
    let golden = include_str!("../../golden/run.2.json").trim_end();
    let mut run = aggregating(RunPlan { evaluate_interval: 1, ..plan(2) });
    feed(&mut run, NOW, RunInput::AggregateFailed { round: 1, attempt: 1, code: Code::Store, reason: String::new() });
    assert_eq!(String::from_utf8(run.snapshot()).unwrap(), golden);
    assert_eq!(RunMachine::restore(golden.as_bytes()).unwrap(), run);
    let first = include_str!("../../golden/run.1.json").trim_end();
    assert_eq!(RunMachine::restore(first.as_bytes()).unwrap(), run, "of version 1");
}
