//! Before the first round: what is the server's trouble is tried again, what the job's author has to repair fails at once.

use super::*;

fn initialising() -> RunMachine {
    let mut run = RunMachine::new(plan(1));
    assert_eq!(feed(&mut run, NOW, RunInput::Begin { initial: None }), [RunEffect::InitModel]);
    run
}

fn no_model(code: Code) -> RunInput {
    RunInput::ModelFailed { code, reason: "why".into() }
}

#[test]
fn the_server_s_trouble_at_the_first_model_is_tried_again_and_then_fails_the_run() {
    let mut run = initialising();
    for failures in 1..3 {
        assert_eq!(feed(&mut run, NOW, no_model(Code::Store)), []);
        assert_eq!(feed(&mut run, NOW, no_model(Code::Store)), [], "the same failure told twice");
        let at = run.deadline().unwrap();
        assert_eq!(at, NOW.plus_ms(run.plan().retry.pause_ms(failures)));
        assert_eq!(feed(&mut run, Timestamp(at.0 - 1), RunInput::Tick), []);
        assert_eq!(feed(&mut run, at, RunInput::Tick), [RunEffect::InitModel]);
    }
    let reason = "tried 3 times, last: no initial model: why".to_owned();
    assert_eq!(feed(&mut run, NOW, no_model(Code::Store)), [RunEffect::Failed { code: Code::Store, reason }]);
}

#[test]
fn the_run_that_had_trouble_at_its_beginning_goes_on_as_any_other_also_over_a_restart() {
    let mut run = initialising();
    let packages = || RunInput::PackFailed { code: Code::Internal, reason: "why".into() };
    assert_eq!(feed(&mut run, NOW, packages()), []);
    let mut run = RunMachine::restore(&run.snapshot()).unwrap();
    let mut owed = Vec::new();
    run.resume(NOW, &mut owed);
    assert_eq!(owed, []);
    let at = run.deadline().unwrap();
    assert_eq!(feed(&mut run, at, RunInput::Tick), [RunEffect::InitModel]);
    let words = play(&mut run, RunInput::ModelReady { model: blob("m0") });
    assert_eq!(words, ["aggregate 1 a+b", "save 1 None", "finished 1 None"]);
}

#[test]
fn a_run_begins_once_the_full_disk_has_room_however_long_that_takes() {
    let mut run = initialising();
    for _ in 0..100 {
        assert_eq!(feed(&mut run, NOW, no_model(Code::DiskFull)), []);
        let at = run.deadline().unwrap();
        assert_eq!(feed(&mut run, at, RunInput::Tick), [RunEffect::InitModel]);
    }
}

#[test]
fn what_the_author_has_to_repair_fails_at_once() {
    for code in [Code::NotFound, Code::BadUpdate, Code::WrongShape, Code::TooLarge, Code::BadDocument] {
        let reason = "no initial model: why".to_owned();
        assert_eq!(feed(&mut initialising(), NOW, no_model(code)), [RunEffect::Failed { code, reason }]);
    }
    for code in [Code::ScriptMissing, Code::BadPackage, Code::Unsupported] {
        let failed = RunInput::PackFailed { code, reason: "why".into() };
        assert_eq!(feed(&mut initialising(), NOW, failed), [RunEffect::Failed { code, reason: "why".into() }]);
    }
}

#[test]
fn a_run_that_is_stopped_before_its_first_model_stops() {
    let mut run = initialising();
    feed(&mut run, NOW, no_model(Code::Store));
    assert_eq!(feed(&mut run, NOW, RunInput::Stop), [RunEffect::Stopped]);
}
