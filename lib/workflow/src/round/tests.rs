//! What must hold for one attempt of one round.

use super::*;
use nsfl_types::{JobKey, TaskKind};

const END: Timestamp = Timestamp(1000);
const NOW: Timestamp = Timestamp(10);

fn id(name: &str) -> ClientId {
    name.parse().unwrap()
}

fn update(text: &str, samples: f64) -> UpdateRef {
    let metrics = Metrics([("sample_num".to_owned(), samples)].into());
    UpdateRef { blob: Some(BlobRef::of(text.as_bytes())), extra: None, metrics, weight: samples }
}

fn round(quorum: u32, close_at_threshold: bool, cohort: &[&str]) -> RoundMachine {
    let job = JobKey::new("default".parse().unwrap(), "x".parse().unwrap());
    let name = RoundId { job, run: 1, round: 2, attempt: 1, kind: TaskKind::Train };
    let rules = RoundRules { quorum, close_at_threshold, deadline: END, late: LatePolicy::Drop };
    RoundMachine::open(name, BlobRef::of(b"base"), rules, cohort.iter().map(|c| id(c)).collect(), &mut vec![])
}

fn feed(round: &mut RoundMachine, now: Timestamp, input: RoundInput) -> Vec<RunEffect> {
    let mut effects = Vec::new();
    round.handle(now, input, &mut effects);
    effects
}

fn store(round: &mut RoundMachine, now: Timestamp, client: &str) -> Vec<RunEffect> {
    feed(round, now, RoundInput::Stored { client: id(client), update: update(client, 1.0) })
}

fn fail(round: &mut RoundMachine, client: &str) -> Vec<RunEffect> {
    let (code, reason) = (Code::TrainerFailed, "exit status 1".to_owned());
    feed(round, NOW, RoundInput::Failed { client: id(client), code, reason })
}

fn is_complete(round: &RoundMachine) -> bool {
    round.outcome() == Some(&RoundOutcome::Complete)
}

#[test]
fn with_its_quorum_met_a_round_still_waits_for_the_others_until_the_deadline() {
    let mut waiting = round(1, false, &["a", "b"]);
    store(&mut waiting, NOW, "a");
    assert_eq!(waiting.deadline(), Some(END));
    let mut all_replied = waiting.clone();
    fail(&mut all_replied, "b");
    assert!(is_complete(&all_replied));
    let effects = feed(&mut waiting, END, RoundInput::Tick);
    assert!(is_complete(&waiting));
    assert_eq!(effects, [RunEffect::CancelTask { key: waiting.id().task(&id("b")) }]);
    assert_eq!(waiting.deadline(), None);
}

#[test]
fn closing_at_the_threshold_waits_for_nobody_else() {
    let mut round = round(1, true, &["a", "b"]);
    store(&mut round, NOW, "b");
    assert!(is_complete(&round));
}

#[test]
fn a_round_fails_as_soon_as_its_quorum_is_out_of_reach() {
    let mut round = round(2, false, &["a", "b", "c"]);
    fail(&mut round, "a");
    assert_eq!(round.outcome(), None);
    let (code, reason) = (Code::NotFinite, "NaN in w1".to_owned());
    feed(&mut round, NOW, RoundInput::Refused { client: id("c"), code, reason });
    let reason = "0 updates, quorum 2, and no more can come: a failed (trainer-failed: exit status 1); \
                  b was silent; c was refused (not-finite: NaN in w1)";
    let failed = RoundOutcome::Failed { code: Code::NoQuorum, reason: reason.to_owned() };
    assert_eq!(round.outcome(), Some(&failed));
}

#[test]
fn an_update_at_the_deadline_is_late_even_if_no_tick_came() {
    let mut round = round(1, false, &["a", "b"]);
    let effects = store(&mut round, END, "a");
    assert!(matches!(round.outcome(), Some(RoundOutcome::Failed { code: Code::NoQuorum, .. })));
    assert!(matches!(effects.last(), Some(RunEffect::RefuseUpdate { code: Code::Late, .. })), "{effects:?}");
}

#[test]
fn an_update_that_comes_twice_is_acknowledged_twice_and_counted_once() {
    let mut round = round(2, false, &["a", "b"]);
    let ack = RunEffect::AckUpdate { key: round.id().task(&id("a")) };
    let first = store(&mut round, NOW, "a");
    assert!(matches!(first[..], [RunEffect::MemberChanged { .. }, RunEffect::AckUpdate { .. }]), "{first:?}");
    assert_eq!(store(&mut round, NOW, "a"), std::slice::from_ref(&ack));
    assert_eq!((round.accepted().len(), round.outcome()), (1, None));
    store(&mut round, NOW, "b");
    assert!(is_complete(&round));
    assert_eq!(store(&mut round, NOW, "a"), [ack], "also when the round is over");
}

#[test]
fn only_the_first_update_of_a_member_counts() {
    let mut round = round(2, false, &["a", "b"]);
    store(&mut round, NOW, "a");
    let another = RoundInput::Stored { client: id("a"), update: update("other bytes", 9.0) };
    let effects = feed(&mut round, NOW, another);
    assert!(matches!(effects[..], [RunEffect::RefuseUpdate { code: Code::Stale, .. }]), "{effects:?}");
    assert_eq!(round.accepted()[0].update, update("a", 1.0));
}

#[test]
fn who_is_not_in_the_cohort_is_refused() {
    let mut round = round(1, false, &["a"]);
    let effects = store(&mut round, NOW, "z");
    assert!(matches!(effects[..], [RunEffect::RefuseUpdate { code: Code::Stale, .. }]), "{effects:?}");
}

#[test]
fn metrics_that_are_no_numbers_do_not_reach_the_mean_or_the_snapshot() {
    let mut round = round(1, false, &["a", "b"]);
    let mut broken = update("a", 0.1 + 0.2);
    broken.metrics.0.insert("loss".to_owned(), f64::NAN);
    feed(&mut round, NOW, RoundInput::Stored { client: id("a"), update: broken });
    assert_eq!(round.metrics().get("loss"), None);
    let restored = RoundMachine::restore(&round.snapshot()).unwrap();
    assert_eq!(restored.accepted()[0].update.weight.to_bits(), (0.1_f64 + 0.2).to_bits());
}

#[test]
fn a_restart_asks_the_silent_again_and_acknowledges_the_accepted_again() {
    let mut round = round(2, false, &["a", "b", "c"]);
    store(&mut round, NOW, "a");
    fail(&mut round, "c");
    let resumed = |round: &RoundMachine| {
        let mut effects = Vec::new();
        RoundMachine::restore(&round.snapshot()).unwrap().resume(Timestamp(0), Timestamp(0), &mut effects);
        effects
    };
    let key = |client| round.id().task(&id(client));
    let ack = RunEffect::AckUpdate { key: key("a") };
    assert_eq!(resumed(&round), [ack.clone(), RunEffect::SendTask { key: key("b"), base: round.base() }]);
    let cancel = RunEffect::CancelTask { key: key("b") };
    feed(&mut round, END, RoundInput::Tick);
    assert_eq!(resumed(&round), [ack, cancel]);
}

#[test]
fn the_stored_form_is_the_golden_one() {
    let golden = include_str!("../../golden/round.2.json").trim_end();
    let mut round = round(2, false, &["a", "b", "c", "d"]);
    store(&mut round, NOW, "a");
    fail(&mut round, "b");
    feed(&mut round, NOW, RoundInput::Started { client: id("c") });
    assert_eq!(String::from_utf8(round.snapshot()).unwrap(), golden);
    assert_eq!(RoundMachine::restore(golden.as_bytes()).unwrap(), round);
    let first = include_str!("../../golden/round.1.json").trim_end();
    assert_eq!(RoundMachine::restore(first.as_bytes()).unwrap(), round, "of version 1");
}
