//! What a supervision tree shall be: children, strategy, intensity, back-off. Plain values; `tree` acts on them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::failure::Failure;
use crate::member::{Member, Seat};
use crate::role::Role;
use crate::simulation;
use crate::supervisor::Supervisor;
use crate::tree::Tree;

/// Whom a failure of one child restarts (Erlang/OTP's three). Under the last two, siblings are first ended orderly,
/// last started first, and those that are [`Restart::Temporary`] stay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Only the child.
    OneForOne,
    /// All children.
    OneForAll,
    /// The child and those started after it.
    RestForOne,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// After any end.
    Permanent,
    /// Only after a failure.
    Transient,
    /// Never: a failure is [`ChildEvent::GaveUp`].
    Temporary,
}

/// More than `max_restarts` within `period` is too much: of all children together under [`GiveUp::Escalate`], of one
/// child under [`GiveUp::Drop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    pub max_restarts: u32,
    pub period: Duration,
}

/// The pause before the n-th restart in a row: `base` · 2ⁿ⁻¹, at most `max`, then a random share of it between a half
/// and the whole. A child that ran for longer than the intensity's period begins again at `base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub base: Duration,
    pub max: Duration,
}

impl Backoff {
    /// `failures`: how many restarts in a row came before.
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        let whole = self.base.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(self.max);
        whole.mul_f64(simulation::share().unwrap_or_else(|| rand::random_range(0.5..=1.0)))
    }
}

/// What happens when a child exceeds the intensity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// The supervisor ends its children and fails itself, to its parent; a root ends with [`crate::Exit::Escalated`].
    Escalate,
    /// Only this child is given up.
    Drop,
}

/// What happened to a child. Told from inside the supervisor: the listener must be quick and must not panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildEvent {
    Started {
        path: String,
    },
    /// Will be started again, for the `restarts`-th time, `after` that pause.
    Restarting {
        path: String,
        restarts: u32,
        failure: Failure,
        after: Duration,
    },
    Stopped {
        path: String,
    },
    GaveUp {
        path: String,
        failure: Failure,
    },
}

pub(crate) type Listener = Arc<dyn Fn(&ChildEvent) + Send + Sync>;

/// A supervisor and its first children. [`SupervisorSpec::new`] gives: one for one, 5 restarts in 60 s, back-off
/// 100 ms to 10 s, escalate, no children.
#[derive(Clone)]
pub struct SupervisorSpec {
    pub name: String,
    pub strategy: Strategy,
    pub intensity: Intensity,
    pub backoff: Backoff,
    pub give_up: GiveUp,
    pub children: Vec<ChildSpec>,
    pub on_event: Option<Listener>,
    pub(crate) handle: Supervisor,
}

impl SupervisorSpec {
    /// `name` is its name among its siblings and, unless [`Self::bind`] says otherwise, its path.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            handle: Supervisor::unbound(name.clone()),
            name,
            strategy: Strategy::OneForOne,
            intensity: Intensity { max_restarts: 5, period: Duration::from_secs(60) },
            backoff: Backoff { base: Duration::from_millis(100), max: Duration::from_secs(10) },
            give_up: GiveUp::Escalate,
            children: Vec::new(),
            on_event: None,
        }
    }

    #[must_use]
    pub fn strategy(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }

    #[must_use]
    pub fn intensity(self, max_restarts: u32, period: Duration) -> Self {
        Self { intensity: Intensity { max_restarts, period }, ..self }
    }

    #[must_use]
    pub fn backoff(self, base: Duration, max: Duration) -> Self {
        Self { backoff: Backoff { base, max }, ..self }
    }

    #[must_use]
    pub fn give_up(self, give_up: GiveUp) -> Self {
        Self { give_up, ..self }
    }

    /// One more child, started after those before it.
    #[must_use]
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    #[must_use]
    pub fn on_event(self, listener: impl Fn(&ChildEvent) + Send + Sync + 'static) -> Self {
        Self { on_event: Some(Arc::new(listener)), ..self }
    }

    /// Reach this supervisor by a handle made before.
    #[must_use]
    pub fn bind(self, handle: &Supervisor) -> Self {
        Self { handle: handle.clone(), ..self }
    }

    /// The handle this supervisor is reached by, before its start and across its restarts.
    pub fn handle(&self) -> Supervisor {
        self.handle.clone()
    }
}

impl fmt::Debug for SupervisorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorSpec")
            .field("name", &self.name)
            .field("strategy", &self.strategy)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}

/// One child: how to start it, when to restart it, how long its orderly end may take.
#[derive(Clone)]
pub struct ChildSpec {
    pub(crate) name: String,
    pub(crate) member: Arc<dyn Member>,
    pub(crate) restart: Restart,
    pub(crate) shutdown: Duration,
}

impl ChildSpec {
    /// A role at `address`. Its `name` is unique among its siblings. It has 5 s to end.
    pub fn role<R: Role>(name: impl Into<String>, address: &Address<R::Msg>, args: R::Args, restart: Restart) -> Self {
        let member = Arc::new(Seat::<R>::new(address.clone(), args));
        Self { name: name.into(), member, restart, shutdown: Duration::from_secs(5) }
    }

    /// A supervisor below a supervisor. It has 30 s to end, its children's time included.
    pub fn supervisor(spec: SupervisorSpec, restart: Restart) -> Self {
        let name = spec.name.clone();
        let member = Arc::new(Seat::<Tree>::new(spec.handle.address().clone(), spec));
        Self { name, member, restart, shutdown: Duration::from_secs(30) }
    }

    /// How long it may take to drain its mailbox and stop; then it is killed.
    #[must_use]
    pub fn shutdown(self, shutdown: Duration) -> Self {
        Self { shutdown, ..self }
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChildSpec({}, {:?})", self.name, self.restart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_with_jitter_up_to_its_maximum() {
        let backoff = Backoff { base: Duration::from_millis(100), max: Duration::from_secs(2) };
        for (failures, whole_ms) in [(0, 100), (1, 200), (2, 400), (4, 1600), (5, 2000), (40, 2000), (u32::MAX, 2000)] {
            for _ in 0..100 {
                let ms = backoff.delay(failures).as_secs_f64() * 1e3;
                assert!(ms >= f64::from(whole_ms) / 2.0 && ms <= f64::from(whole_ms), "{failures}: {ms}");
            }
        }
    }
}
