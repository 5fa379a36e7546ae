//! What must hold for a choice, whatever the candidates.

use crate::{Candidate, Capacity, Request, select};
use nsfl_types::{ClientId, Runtime};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn id(name: &str) -> ClientId {
    name.parse().unwrap()
}

fn candidate(name: &str) -> Candidate {
    Candidate {
        client: id(name),
        runtimes: vec![Runtime::Builtin],
        label: String::new(),
        max_tasks: 1,
        current_tasks: 0,
        cordoned: false,
        resource: Capacity { cpu: 4.0, gpu: 0.0, memory_mb: 2000.0 },
        datasets: [("digits".to_owned(), 64)].into(),
    }
}

fn request(count: u32) -> Request {
    Request {
        count,
        runtime: Runtime::Builtin,
        resource: Capacity { cpu: 1.0, gpu: 0.0, memory_mb: 1000.0 },
        datasets: vec!["digits".into()],
        labels: vec![],
        only: vec![],
        random: false,
        untrained_first: false,
        used: BTreeSet::new(),
    }
}

fn names(clients: &[ClientId]) -> Vec<&str> {
    clients.iter().map(ClientId::as_str).collect()
}

#[test]
fn the_score_counts_batches_of_32_and_ten_times_the_gpus() {
    let mut request = request(1);
    let mut client = candidate("c1");
    client.datasets = [("digits".into(), 33), ("unused".into(), 9999)].into();
    client.resource = Capacity { cpu: 3.0, gpu: 2.0, memory_mb: 1500.0 };
    assert!((crate::score(&request, &client) - (2.0 + 20.0 + 3.0 + 1.5)).abs() < 1e-12);
    request.datasets.clear();
    assert!((crate::score(&request, &client) - 24.5).abs() < 1e-12);
}

#[test]
fn the_best_scored_come_first_and_ties_go_by_name() {
    let mut rich = candidate("z");
    rich.datasets.insert("digits".into(), 6400);
    let chosen = select(&request(2), &[candidate("b"), candidate("a"), rich], 0);
    assert_eq!(names(&chosen.clients), ["z", "a"]);
    assert_eq!(chosen.to_string(), "2 of 2 clients");
}

#[test]
fn untrained_clients_come_before_better_ones() {
    let mut rich = candidate("z");
    rich.resource.gpu = 8.0;
    let request = Request { untrained_first: true, used: [id("z"), id("a")].into(), ..request(3) };
    let candidates = [candidate("a"), candidate("b"), rich];
    let chosen = select(&request, &candidates, 0);
    assert_eq!(names(&chosen.clients), ["b", "z", "a"]);
    let by_score_only = Request { untrained_first: false, ..request };
    assert_eq!(names(&select(&by_score_only, &candidates, 0).clients), ["z", "a", "b"]);
}

#[test]
fn each_client_left_out_has_its_reason() {
    let change = |name: &str, how: fn(&mut Candidate)| {
        let mut c = candidate(name);
        c.label = "hospital".into();
        how(&mut c);
        c
    };
    let candidates = [
        change("c0", |_| {}),
        change("c1", |c| c.datasets.clear()),
        change("c2", |c| c.runtimes = vec![Runtime::Pytorch]),
        change("c3", |c| c.resource.cpu = 0.5),
        change("c4", |c| c.resource.memory_mb = f64::NAN),
        change("c5", |c| c.cordoned = true),
        change("c6", |c| c.current_tasks = 1),
        change("c7", |c| c.label = "bank".into()),
        candidate("c8"),
    ];
    let only = (0..10).filter(|i| *i != 8).map(|i| id(&format!("c{i}"))).collect();
    let request = Request { labels: vec!["hospital".into()], only, ..request(3) };
    let mut chosen = select(&request, &candidates, 0);
    let reasons: Vec<String> = chosen.left_out.iter().map(|l| format!("{} {}", l.client, l.reason)).collect();
    assert_eq!(
        reasons,
        [
            "c1 lacks data set 'digits'",
            "c2 lacks runtime builtin",
            "c3 has 0.5 CPU cores of 1",
            "c4 has NaN MB of memory of 1000",
            "c5 is cordoned",
            "c6 is busy (1 of 1 tasks)",
            "c7 has label 'bank'",
            "c8 is not among the job's clients",
            "c9 is not connected",
        ]
    );
    assert!(chosen.to_string().ends_with("; c5 is cordoned; and 4 more"), "{chosen}");
    chosen.left_out.truncate(1);
    assert_eq!(chosen.to_string(), "1 of 3 clients: c1 lacks data set 'digits'");
}

#[test]
fn another_seed_draws_other_clients() {
    let candidates: Vec<_> = (0..20).map(|i| candidate(&format!("c{i}"))).collect();
    let request = Request { random: true, ..request(5) };
    let draws: BTreeSet<_> = (0..20).map(|seed| select(&request, &candidates, seed).clients).collect();
    assert!(draws.len() > 15);
    let drawn: BTreeSet<_> = draws.iter().flatten().collect();
    assert_eq!(drawn.len(), 20, "everybody is drawn sooner or later");
}

prop_compose! {
    fn any_candidates()(
        rows in prop::collection::vec((0..4_u64, 0..3_u32, any::<bool>(), 0..3_u8, 0..200_u64), 0..12)
    ) -> Vec<Candidate> {
        rows.into_iter().enumerate().map(|(i, (cpu, tasks, cordoned, gpu, samples))| {
            let mut c = candidate(&format!("c{i}"));
            (c.current_tasks, c.max_tasks, c.cordoned) = (tasks, 2, cordoned && tasks == 0);
            c.resource.cpu = cpu as f64;
            c.resource.gpu = f64::from(gpu);
            c.datasets.insert("digits".into(), samples);
            c
        }).collect()
    }
}

prop_compose! {
    fn any_request()(count in 0..8_u32, random: bool, untrained_first: bool, used in 0..4096_u32) -> Request {
        let used = (0..12).filter(|i| used & (1 << i) != 0).map(|i| id(&format!("c{i}"))).collect();
        Request { random, untrained_first, used, ..request(count) }
    }
}

proptest! {
    #[test]
    fn a_choice_is_as_many_as_wanted_of_those_who_fit(
        request in any_request(), candidates in any_candidates(), seed: u64,
    ) {
        let chosen = select(&request, &candidates, seed);
        let out: BTreeSet<_> = chosen.left_out.iter().map(|l| &l.client).collect();
        let is_fit = |c: &Candidate| c.resource.cpu >= 1.0 && c.current_tasks < c.max_tasks && !c.cordoned;
        for c in &candidates {
            prop_assert_eq!(is_fit(c), !out.contains(&c.client));
        }
        let fit: BTreeSet<_> = candidates.iter().filter(|c| is_fit(c)).map(|c| &c.client).collect();
        prop_assert_eq!(chosen.clients.len(), fit.len().min(request.count as usize));
        let distinct: BTreeSet<_> = chosen.clients.iter().collect();
        prop_assert_eq!(distinct.len(), chosen.clients.len());
        prop_assert!(distinct.is_subset(&fit));
        if request.untrained_first {
            prop_assert!(chosen.clients.is_sorted_by_key(|c| request.used.contains(c)));
        }
    }

    #[test]
    fn the_order_of_the_candidates_does_not_matter(
        request in any_request(), candidates in any_candidates(), seed: u64, turn in 0..12_usize,
    ) {
        let mut others = candidates.clone();
        others.rotate_left(turn % candidates.len().max(1));
        others.reverse();
        prop_assert_eq!(select(&request, &candidates, seed), select(&request, &others, seed));
    }

    #[test]
    fn who_was_not_chosen_can_leave_without_changing_the_choice(
        request in any_request(), candidates in any_candidates(), seed: u64,
    ) {
        let chosen = select(&request, &candidates, seed).clients;
        for gone in candidates.iter().filter(|c| !chosen.contains(&c.client)) {
            let rest: Vec<_> = candidates.iter().filter(|c| c.client != gone.client).cloned().collect();
            prop_assert_eq!(&select(&request, &rest, seed).clients, &chosen);
        }
    }
}
