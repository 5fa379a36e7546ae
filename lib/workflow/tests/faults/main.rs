//! One run and its clients over a network that loses, duplicates and reorders, with processes that die at any
//! moment: what must hold at every step, and that the run ends when the faults do.

mod client;
mod invariants;
mod world;

use nsfl_workflow::LatePolicy;
use proptest::prelude::*;
use world::{Action, World};

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        40 => any::<usize>().prop_map(|which| Action::Deliver { which }),
        4 => any::<usize>().prop_map(|which| Action::Duplicate { which }),
        4 => any::<usize>().prop_map(|which| Action::Lose { which }),
        6 => (1..400_u64).prop_map(|ms| Action::Pass { ms }),
        3 => (0..8_usize).prop_map(|carried_out| Action::CrashAfterNext { carried_out }),
        2 => Just(Action::CrashServer),
        3 => any::<usize>().prop_map(|which| Action::CrashClient { which }),
        3 => any::<usize>().prop_map(|which| Action::Reconnect { which }),
        2 => any::<usize>().prop_map(|which| Action::BreakTrainer { which }),
        1 => Just(Action::BreakAggregation),
    ]
}

fn any_late() -> impl Strategy<Value = LatePolicy> {
    prop_oneof![
        Just(LatePolicy::Drop),
        (1..4_u32).prop_map(|max_staleness| LatePolicy::Stale { max_staleness }),
        (any::<u32>(), prop::option::of(0..4_u32))
            .prop_map(|(k, max_staleness)| LatePolicy::Buffer { k, max_staleness }),
    ]
}

fn any_world() -> impl Strategy<Value = World> {
    (1..6_u32, 1..5_u32, any::<u32>(), 0..4_u32, 0..4_u32, any::<bool>(), any_late()).prop_map(
        |(rounds, clients, quorum, evaluate_interval, save_interval, close_at_threshold, late)| {
            let late = match late {
                LatePolicy::Buffer { k, max_staleness } => LatePolicy::Buffer { k: 1 + k % clients, max_staleness },
                other => other,
            };
            let intervals = [evaluate_interval, save_interval];
            World::new(rounds, clients, 1 + quorum % clients, intervals, close_at_threshold, late)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_lost_repeated_or_killed_every_accepted_update_counts_once_and_the_run_ends(
        mut world in any_world(),
        actions in prop::collection::vec(any_action(), 0..200),
    ) {
        for action in actions {
            world.act(action);
        }
        world.end_all_faults();
        prop_assert!(world.finished(), "the run does not end: {:?}", world.view());
    }
}

#[test]
fn without_faults_the_first_attempt_of_each_round_is_complete() {
    let (stale, max_staleness) = (LatePolicy::Stale { max_staleness: 2 }, None);
    for late in [LatePolicy::Drop, stale, LatePolicy::Buffer { k: 3, max_staleness }] {
        let mut world = World::new(5, 4, 4, [1, 2], false, late);
        world.end_all_faults();
        assert!(world.finished());
        assert_eq!(world.last_attempt(), 1);
    }
}
