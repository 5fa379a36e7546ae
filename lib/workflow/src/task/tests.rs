//! What must hold for a task on its client.

use super::*;
use nsfl_types::{BlobRef, JobKey, Metrics, TaskKey, TaskKind};

const NOW: Timestamp = Timestamp(10);

fn order() -> TaskOrder {
    let job = JobKey::new("default".parse().unwrap(), "x".parse().unwrap());
    let client = "c1".parse().unwrap();
    let key = TaskKey { job, run: 1, round: 1, attempt: 1, kind: TaskKind::Train, client };
    TaskOrder { key, base: BlobRef::of(b"m"), timeout_ms: 500, spec: r#"{"task_entry":"echo"}"#.to_owned() }
}

fn accepted() -> TaskMachine {
    TaskMachine::accept(order(), &mut vec![])
}

fn feed(task: &mut TaskMachine, now: Timestamp, input: TaskInput) -> Vec<TaskEffect> {
    let mut effects = Vec::new();
    task.handle(now, input, &mut effects);
    effects
}

fn running() -> TaskMachine {
    let mut task = accepted();
    let started = [TaskEffect::StartTrainer, TaskEffect::Report { report: Report::Started }];
    assert_eq!(feed(&mut task, NOW, TaskInput::Fetched), started);
    task
}

fn update() -> UpdateRef {
    UpdateRef { blob: Some(BlobRef::of(b"u")), extra: None, metrics: Metrics::default(), weight: 30.5 }
}

const UPLOAD: fn() -> TaskEffect = || TaskEffect::Upload { blobs: vec![BlobRef::of(b"u")] };
const DONE: fn() -> TaskEffect = || TaskEffect::Report { report: Report::Done { update: update() } };

fn offering() -> TaskMachine {
    let mut task = running();
    let ended = TaskInput::TrainerEnded { outcome: Outcome::Done { update: update() } };
    assert_eq!(feed(&mut task, NOW, ended), [UPLOAD()]);
    task
}

#[test]
fn an_update_is_uploaded_then_reported_then_forgotten_when_acknowledged() {
    let mut task = offering();
    assert_eq!(feed(&mut task, NOW, TaskInput::Uploaded), [DONE()]);
    assert_eq!(feed(&mut task, NOW, TaskInput::Acked), [TaskEffect::KeepState, TaskEffect::Forget]);
    assert_eq!(feed(&mut task, NOW, TaskInput::Acked), []);
}

#[test]
fn state_is_kept_for_an_accepted_update_only() {
    let keeps = |task: &mut TaskMachine, answer| feed(task, NOW, answer).contains(&TaskEffect::KeepState);
    assert!(keeps(&mut offering(), TaskInput::Acked));
    assert!(!keeps(&mut offering(), TaskInput::Refused { code: Code::Late }));
    assert!(!keeps(&mut offering(), TaskInput::Cancelled));
    let ended = |outcome| {
        let mut task = running();
        feed(&mut task, NOW, TaskInput::TrainerEnded { outcome });
        task
    };
    let measured = Outcome::Done { update: UpdateRef { blob: None, ..update() } };
    assert!(!keeps(&mut ended(measured), TaskInput::Acked), "an evaluation");
    let failed = Outcome::Failed { code: Code::ScriptExit, reason: String::new(), cause: None };
    assert!(!keeps(&mut ended(failed), TaskInput::Acked), "a failure");
}

#[test]
fn an_evaluation_has_nothing_to_upload() {
    let mut task = running();
    let update = UpdateRef { blob: None, ..update() };
    let ended = TaskInput::TrainerEnded { outcome: Outcome::Done { update: update.clone() } };
    assert_eq!(feed(&mut task, NOW, ended), [TaskEffect::Report { report: Report::Done { update } }]);
}

#[test]
fn an_outcome_is_handed_in_again_until_it_is_answered() {
    let failed = Outcome::Failed { code: Code::TrainerFailed, reason: "boom".into(), cause: None };
    let mut task = running();
    let report = TaskEffect::Report { report: failed.clone().into() };
    assert_eq!(feed(&mut task, NOW, TaskInput::TrainerEnded { outcome: failed }), std::slice::from_ref(&report));
    let mut pauses = Vec::new();
    let mut now = NOW;
    for _ in 0..8 {
        let at = task.deadline().unwrap();
        assert_eq!(feed(&mut task, Timestamp(at.0 - 1), TaskInput::Tick), []);
        assert_eq!(feed(&mut task, at, TaskInput::Tick), std::slice::from_ref(&report));
        pauses.push(at.since_ms(now) / 1000);
        now = at;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(feed(&mut task, now, TaskInput::LinkUp), std::slice::from_ref(&report));
    assert_eq!(task.deadline(), Some(now.plus_ms(1000)), "a new link begins with short pauses");
    assert_eq!(feed(&mut task, now, TaskInput::Refused { code: Code::Late }), [TaskEffect::Forget]);
}

#[test]
fn a_trainer_that_does_not_end_by_itself_is_killed_and_reported() {
    let mut task = running();
    let late = 500 + PATIENCE_MS;
    assert_eq!(feed(&mut task, NOW.plus_ms(late - 1), TaskInput::Tick), []);
    let effects = feed(&mut task, NOW.plus_ms(late), TaskInput::Tick);
    let reason = "the trainer did not end within 500 ms, and not when told to".to_owned();
    let report = Report::Failed { code: Code::TrainerTimeout, reason, cause: None };
    assert_eq!(effects, [TaskEffect::KillTrainer, TaskEffect::Report { report }]);
    let ended = TaskInput::TrainerEnded { outcome: Outcome::Done { update: update() } };
    assert_eq!(feed(&mut task, NOW.plus_ms(late + 1), ended), [], "its end is no news");
}

#[test]
fn a_cancelled_task_leaves_no_trainer_behind() {
    assert_eq!(feed(&mut running(), NOW, TaskInput::Cancelled), [TaskEffect::KillTrainer, TaskEffect::Forget]);
    assert_eq!(feed(&mut accepted(), NOW, TaskInput::Cancelled), [TaskEffect::Forget]);
    let mut ended = running();
    feed(&mut ended, NOW, TaskInput::Cancelled);
    for input in [TaskInput::Offered, TaskInput::Fetched, TaskInput::LinkUp, TaskInput::Tick] {
        assert_eq!(feed(&mut ended, NOW.plus_ms(9999), input), []);
    }
}

#[test]
fn a_fetch_cut_off_is_repeated_and_one_refused_is_reported() {
    let mut task = accepted();
    let fetch = [TaskEffect::Fetch { base: order().base }];
    assert_eq!(feed(&mut task, NOW, TaskInput::FetchFailed { code: Code::LinkLost, reason: String::new() }), []);
    let retry_at = task.deadline().unwrap();
    assert_eq!(feed(&mut task, retry_at, TaskInput::Tick), fetch);
    assert_eq!(task.deadline(), None);
    assert_eq!(feed(&mut task, NOW, TaskInput::LinkUp), fetch);
    let (code, reason) = (Code::BlobRefused, "not yours".to_owned());
    let report = Report::Failed { code, reason: reason.clone(), cause: None };
    assert_eq!(feed(&mut task, NOW, TaskInput::FetchFailed { code, reason }), [TaskEffect::Report { report }]);
}

#[test]
fn after_a_restart_a_result_is_kept_and_a_trainer_starts_again() {
    let resumed = |task: TaskMachine| {
        let mut effects = Vec::new();
        let mut task = TaskMachine::restore(&task.snapshot()).unwrap();
        task.resume(Timestamp(5000), &mut effects);
        (effects, task.deadline())
    };
    assert_eq!(resumed(offering()), (vec![UPLOAD()], Some(Timestamp(6000))));
    let mut uploaded = offering();
    feed(&mut uploaded, NOW, TaskInput::Uploaded);
    assert_eq!(resumed(uploaded).0, [DONE()]);
    let started = vec![TaskEffect::StartTrainer, TaskEffect::Report { report: Report::Started }];
    assert_eq!(resumed(running()), (started, Some(Timestamp(5500 + PATIENCE_MS))), "with its full time");
    assert_eq!(resumed(accepted()).0, [TaskEffect::Fetch { base: order().base }]);
    let mut ended = running();
    feed(&mut ended, NOW, TaskInput::Cancelled);
    assert_eq!(resumed(ended), (vec![TaskEffect::Forget], None));
    let mut accepted = offering();
    feed(&mut accepted, NOW, TaskInput::Acked);
    assert_eq!(resumed(accepted), (vec![TaskEffect::KeepState, TaskEffect::Forget], None), "both are owed still");
}

#[test]
fn the_stored_form_is_the_golden_one() {
    let golden = include_str!("../../golden/task.2.json").trim_end();
    let task = offering();
    assert_eq!(String::from_utf8(task.snapshot()).unwrap(), golden);
    assert_eq!(TaskMachine::restore(golden.as_bytes()).unwrap(), task);
    let first = include_str!("../../golden/task.1.json").trim_end();
    assert_eq!(TaskMachine::restore(first.as_bytes()).unwrap(), task, "of version 1");
}

#[test]
fn an_update_that_is_asked_for_again_is_brought_again() {
    let mut task = offering();
    feed(&mut task, NOW, TaskInput::Uploaded);
    assert_eq!(feed(&mut task, NOW, TaskInput::LinkUp), [DONE()], "nobody asked for the update itself");
    assert_eq!(feed(&mut task, NOW, TaskInput::Offered), [UPLOAD()]);
    assert_eq!(feed(&mut task, NOW, TaskInput::Uploaded), [DONE()]);
}
