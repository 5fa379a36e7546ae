//! How fast FedAvg sums: the check of an update when it arrives, the delta a client makes, the sum of a round.
//! `cargo bench -p nsfl-aggregate`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a stopwatch"
)]

use nsfl_aggregate::{FedAvg, MemberFacts, aggregate};
use nsfl_tensor::{DType, Layout, WeightsView, check_update, write_delta};
use std::convert::Infallible;
use std::time::Instant;

const CLIENTS: usize = 20;

fn main() {
    measure("from memory", 10_000_000, 5);
    measure("from cache", 50_000, 500);
}

fn measure(place: &str, parameters: usize, repeats: usize) {
    let layout = Layout::new([("w".to_owned(), DType::F32, vec![parameters])]).unwrap();
    let files: Vec<Vec<u8>> = (0..=CLIENTS).map(|i| weights(&layout, i as u32)).collect();
    let views: Vec<_> = files.iter().map(|f| WeightsView::parse(f).unwrap()).collect();
    let (base, updates) = (&views[0], &views[1..]);
    println!("{parameters} parameters, {CLIENTS} clients, {place}; ns per parameter and client, one core");
    let per = parameters as f64 * CLIENTS as f64 / 1e9;

    let (time, facts) = best(repeats, || updates.iter().map(|u| check_update(&layout, u).unwrap()).collect::<Vec<_>>());
    println!("  check   {:.3}", time / per);

    let delta = |update| write_delta(base, update, |_| Ok::<_, Infallible>(())).is_ok();
    let (time, _) = best(repeats, || updates.iter().all(delta));
    println!("  delta   {:.3}", time / per);

    let members: Vec<_> = facts.into_iter().map(|facts| MemberFacts { weight: 100.0, facts }).collect();
    let plan = FedAvg::default().plan(&layout, &members).unwrap();
    let (time, _) = best(repeats, || aggregate(&plan, base, updates, |_| Ok::<_, Infallible>(()), |_| ()).is_ok());
    println!("  fedavg  {:.3}", time / per);
}

/// The shortest of some repetitions, in seconds, and the last result.
fn best<T>(repeats: usize, mut work: impl FnMut() -> T) -> (f64, T) {
    let mut timed = || {
        let start = Instant::now();
        let result = work();
        (start.elapsed().as_secs_f64(), result)
    };
    let first = timed();
    (1..repeats).fold(first, |best, _| {
        let next = timed();
        (best.0.min(next.0), next.1)
    })
}

fn weights(layout: &Layout, seed: u32) -> Vec<u8> {
    let mut file = layout.header_bytes();
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    for _ in 0..layout.data_len() / 4 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        file.extend_from_slice(&((f64::from(state) / f64::from(u32::MAX) - 0.5) as f32).to_le_bytes());
    }
    file
}
