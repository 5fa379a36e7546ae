//! `Simulation`: the wall clock, the jitter, blocking work and sudden ends of the actors of one thread, in the hand of
//! whoever replays what they do. Nothing outside a simulation changes.
//!
//! It goes with a current-thread runtime whose time is paused: then nothing an actor sees is left to the machine.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use ractor::{ActorCell, ActorId, ActorStatus};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

thread_local! {
    static HERE: RefCell<Option<World>> = const { RefCell::new(None) };
}

struct World {
    wall_ms: u64,
    start: Instant,
    chance: StdRng,
    node: String,
    lives: BTreeMap<u64, Known>,
    born: u64,
}

struct Known {
    node: String,
    parent: Option<u64>,
    path: String,
    cell: ActorCell,
}

/// One life of an actor or a supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Counts lives in the order they began.
    pub number: u64,
    /// The node whose tree it belongs to.
    pub node: String,
    pub path: String,
}

/// This thread's actors are simulated until this is dropped.
#[derive(Debug)]
pub struct Simulation {
    not_send: PhantomData<*const ()>,
}

impl Simulation {
    /// Call it within the paused runtime. `wall_ms`: the wall clock now, milliseconds since the Unix epoch.
    pub fn enter(seed: u64, wall_ms: u64) -> Self {
        let chance = StdRng::seed_from_u64(seed);
        let world =
            World { wall_ms, start: Instant::now(), chance, node: String::new(), lives: BTreeMap::new(), born: 0 };
        HERE.set(Some(world));
        Self { not_send: PhantomData }
    }

    /// Sets the wall clock forward, or back.
    pub fn shift_clock(&self, by_ms: i64) {
        here(|world| world.wall_ms = world.wall_ms.saturating_add_signed(by_ms));
    }

    /// Roots started from now on, and all below them, are this node's.
    pub fn on_node(&self, name: &str) {
        here(|world| name.clone_into(&mut world.node));
    }

    /// Who lives now, in the order they began.
    pub fn lives(&self) -> Vec<Life> {
        let lives = here(|world| {
            world.lives.retain(|_, known| known.cell.get_status() < ActorStatus::Stopping);
            let life = |(number, known): (&u64, &Known)| Life {
                number: *number,
                node: known.node.clone(),
                path: known.path.clone(),
            };
            world.lives.iter().map(life).collect()
        });
        lives.unwrap_or_default()
    }

    /// Ends a life and those below it as a crash does: at their next await, without a word. Its supervisor learns of it.
    pub fn kill(&self, number: u64) {
        // in an order of ours: ractor, left to itself, ends children in that of a hash table
        let doomed = here(|world| {
            let mut doomed = BTreeMap::new();
            for (n, known) in &world.lives {
                if *n == number || known.parent.is_some_and(|parent| doomed.contains_key(&parent)) {
                    doomed.insert(*n, known.cell.clone());
                }
            }
            world.lives.retain(|n, _| !doomed.contains_key(n));
            doomed
        });
        doomed.into_iter().flatten().for_each(|(_, cell)| cell.kill());
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        let world = HERE.take();
        drop(world);
    }
}

/// The simulated wall clock, if this thread is simulated.
pub(crate) fn now_ms() -> Option<u64> {
    here(|world| {
        let elapsed = Instant::now().saturating_duration_since(world.start);
        world.wall_ms.saturating_add(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    })
}

/// A simulated random share between a half and the whole.
pub(crate) fn share() -> Option<f64> {
    here(|world| world.chance.random_range(0.5..=1.0))
}

pub(crate) fn is_on() -> bool {
    here(|_| ()).is_some()
}

/// A life has begun below `parent`, or as a root.
pub(crate) fn born(path: &str, cell: &ActorCell, parent: Option<ActorId>) {
    here(|world| {
        let above = parent.and_then(|id| world.lives.iter().rev().find(|(_, known)| known.cell.get_id() == id));
        if parent.is_some() && above.is_none() {
            // its parent has just been killed, and takes it along
            return;
        }
        let node = above.map_or_else(|| world.node.clone(), |(_, known)| known.node.clone());
        let parent = above.map(|(number, _)| *number);
        world.born += 1;
        world.lives.insert(world.born, Known { node, parent, path: path.to_owned(), cell: cell.clone() });
    });
}

fn here<T>(act: impl FnOnce(&mut World) -> T) -> Option<T> {
    HERE.with_borrow_mut(|world| world.as_mut().map(act))
}
