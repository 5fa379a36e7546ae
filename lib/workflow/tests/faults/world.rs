//! The simulation: a coordinator's driver, clients, a network and a clock that moves only when told.

use crate::client::{Client, Out, client_id};
use crate::invariants::Ledger;
use nsfl_types::{BlobRef, ClientId, Code, JobKey, TaskKey, TaskKind, Timestamp};
use nsfl_workflow::{
    LatePolicy, RetryPolicy, RoundPolicy, RunEffect, RunInput, RunMachine, RunPhase, RunPlan, RunView, TaskInput,
};
use std::collections::BTreeMap;
use std::fmt;

/// One thing that happens; `which` is taken modulo what there is.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Deliver {
        which: usize,
    },
    Duplicate {
        which: usize,
    },
    Lose {
        which: usize,
    },
    Pass {
        ms: u64,
    },
    /// The coordinator dies while it handles its next input: persisted, but only so many effects carried out.
    CrashAfterNext {
        carried_out: usize,
    },
    CrashServer,
    CrashClient {
        which: usize,
    },
    Reconnect {
        which: usize,
    },
    BreakTrainer {
        which: usize,
    },
    BreakAggregation,
}

/// What is under way. `Own` is inside a process and dies with it; the rest is on the network.
#[derive(Debug, Clone)]
enum Wire {
    ServerOwn(RunInput),
    ClientOwn(ClientId, TaskKey, TaskInput),
    ToServer(RunInput),
    ToClient(TaskKey, ToClient),
}

#[derive(Debug, Clone)]
enum ToClient {
    Send(BlobRef),
    Answer(TaskInput),
}

impl Wire {
    fn is_on_network(&self) -> bool {
        matches!(self, Wire::ToServer(_) | Wire::ToClient(..))
    }
}

pub(crate) struct World {
    now: Timestamp,
    machine: RunMachine,
    stored: Vec<u8>,
    ledger: Ledger,
    clients: BTreeMap<ClientId, Client>,
    wires: Vec<Wire>,
    crash_after: Option<usize>,
    aggregation_is_broken: bool,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.machine.plan())
    }
}

impl World {
    pub(crate) fn new(
        max_round_num: u32,
        client_num: u32,
        quorum: u32,
        [evaluate_interval, save_interval]: [u32; 2],
        close_at_threshold: bool,
        late: LatePolicy,
    ) -> Self {
        let plan = RunPlan {
            job: JobKey::new("default".parse().expect("a name"), "x".parse().expect("a name")),
            run: 1,
            max_round_num,
            evaluate_interval,
            save_interval,
            rounds: RoundPolicy {
                client_num,
                cohort: client_num,
                quorum,
                round_timeout_ms: 1000,
                close_at_threshold,
                late,
            },
            retry: RetryPolicy { max_attempts: 10_000, backoff_base_ms: 10, backoff_max_ms: 100 },
        };
        let clients = (0..client_num).map(client_id).map(|id| (id.clone(), Client::new(id))).collect();
        let machine = RunMachine::new(plan);
        let mut world = Self {
            now: Timestamp(1),
            stored: machine.snapshot(),
            machine,
            ledger: Ledger::new(quorum, client_num, late),
            clients,
            wires: Vec::new(),
            crash_after: None,
            aggregation_is_broken: false,
        };
        world.server(RunInput::Begin { initial: None });
        world
    }

    pub(crate) fn view(&self) -> RunView {
        self.machine.view()
    }

    pub(crate) fn last_attempt(&self) -> u32 {
        self.view().attempt
    }

    pub(crate) fn finished(&self) -> bool {
        let all = self.machine.plan().max_round_num as usize;
        matches!(self.machine.phase(), RunPhase::Finished { .. }) && self.ledger.complete_rounds().len() == all
    }

    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Deliver { which } if !self.wires.is_empty() => {
                let wire = self.wires.remove(which % self.wires.len());
                self.deliver(wire);
            }
            Action::Duplicate { which } if !self.wires.is_empty() => {
                self.wires.push(self.wires[which % self.wires.len()].clone());
            }
            Action::Lose { which } => {
                if let Some(index) = self.on_network(which) {
                    self.wires.remove(index);
                }
            }
            Action::Pass { ms } => self.pass(ms),
            Action::CrashAfterNext { carried_out } => self.crash_after = Some(carried_out),
            Action::CrashServer => self.crash_server(),
            Action::CrashClient { which } => {
                let id = self.pick(which);
                self.wires.retain(|wire| !matches!(wire, Wire::ClientOwn(owner, ..) if *owner == id));
                self.client(&id, |client, now| client.restart(now));
            }
            Action::Reconnect { which } => {
                let id = self.pick(which);
                self.client(&id, |client, now| client.link_up(now));
            }
            Action::BreakTrainer { which } => {
                let id = self.pick(which);
                let client = self.clients.get_mut(&id).expect("picked from the clients");
                client.is_broken = !client.is_broken;
            }
            Action::BreakAggregation => self.aggregation_is_broken = !self.aggregation_is_broken,
            Action::Deliver { .. } | Action::Duplicate { .. } => {}
        }
    }

    /// From now on all is well: everything arrives, nothing dies, links come up again, time passes.
    pub(crate) fn end_all_faults(&mut self) {
        self.crash_after = None;
        self.aggregation_is_broken = false;
        self.clients.values_mut().for_each(|client| client.is_broken = false);
        for _ in 0..200 {
            if self.machine.is_over() {
                return;
            }
            for _ in 0..1000 {
                if self.wires.is_empty() {
                    break;
                }
                self.act(Action::Deliver { which: 0 });
            }
            if self.machine.is_over() {
                return;
            }
            (0..self.clients.len()).for_each(|which| self.act(Action::Reconnect { which }));
            if self.wires.len() == self.clients.len() {
                let deadlines = self.clients.values().filter_map(Client::next_deadline);
                let next = deadlines.chain(self.machine.deadline()).min();
                self.pass(next.map_or(1, |at| at.since_ms(self.now)));
            }
        }
    }

    fn pick(&self, which: usize) -> ClientId {
        self.clients.keys().nth(which % self.clients.len()).expect("within the clients").clone()
    }

    fn on_network(&self, which: usize) -> Option<usize> {
        let indices: Vec<usize> = (0..self.wires.len()).filter(|i| self.wires[*i].is_on_network()).collect();
        (!indices.is_empty()).then(|| indices[which % indices.len()])
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        if self.machine.deadline().is_some_and(|at| at <= self.now) {
            self.server(RunInput::Tick);
        }
        for id in self.clients.keys().cloned().collect::<Vec<_>>() {
            self.client(&id, |client, now| client.tick(now));
        }
    }

    fn deliver(&mut self, wire: Wire) {
        match wire {
            Wire::ServerOwn(input) | Wire::ToServer(input) => self.server(input),
            Wire::ClientOwn(id, key, input) => self.client(&id, |client, now| client.handle(now, &key, input)),
            Wire::ToClient(key, ToClient::Send(base)) => {
                let id = key.client.clone();
                self.client(&id, |client, now| client.offer(now, key, base));
            }
            Wire::ToClient(key, ToClient::Answer(input)) => {
                let id = key.client.clone();
                self.client(&id, |client, now| client.handle(now, &key, input));
            }
        }
    }

    fn client(&mut self, id: &ClientId, step: impl FnOnce(&mut Client, Timestamp) -> Vec<Out>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        for out in step(client, self.now) {
            self.wires.push(match out {
                Out::Own(key, input) => Wire::ClientOwn(id.clone(), key, input),
                Out::ToServer(input) => Wire::ToServer(input),
            });
        }
    }

    /// The driver: handle, persist, carry out; or die on the way.
    fn server(&mut self, input: RunInput) {
        let mut effects = Vec::new();
        self.machine.handle(self.now, input, &mut effects);
        self.stored = self.machine.snapshot();
        self.ledger.observe(&effects, &self.machine);
        let carried_out = self.crash_after.take();
        effects.truncate(carried_out.unwrap_or(usize::MAX));
        effects.into_iter().for_each(|effect| self.carry_out(effect));
        if carried_out.is_some() {
            self.crash_server();
        }
    }

    fn crash_server(&mut self) {
        self.wires.retain(|wire| !matches!(wire, Wire::ServerOwn(_)));
        let restored = RunMachine::restore(&self.stored).expect("our own snapshot");
        assert_eq!(restored, self.machine, "a snapshot holds all of the machine");
        self.machine = restored;
        let mut effects = Vec::new();
        self.machine.resume(self.now, &mut effects);
        self.stored = self.machine.snapshot();
        self.ledger.effects_after_crash_are_a_subset_of_owed(&self.machine, &effects);
        effects.into_iter().for_each(|effect| self.carry_out(effect));
    }

    fn carry_out(&mut self, effect: RunEffect) {
        let to_client = |key: TaskKey, input| Wire::ToClient(key, ToClient::Answer(input));
        let wire = match effect {
            RunEffect::InitModel => Wire::ServerOwn(RunInput::ModelReady { model: BlobRef::of(b"first") }),
            RunEffect::SelectCohort { round, attempt, kind, count, except } => {
                let free = self.clients.keys().filter(|client| !except.contains(client));
                let clients: Vec<ClientId> = free.take(count as usize).cloned().collect();
                if clients.is_empty() {
                    let reason = "nobody is free".to_owned();
                    return self.wires.push(Wire::ServerOwn(RunInput::NoCohort { round, attempt, kind, reason }));
                }
                Wire::ServerOwn(RunInput::CohortSelected { round, attempt, kind, clients })
            }
            RunEffect::SendTask { key, base } => Wire::ToClient(key, ToClient::Send(base)),
            RunEffect::CancelTask { key } => to_client(key, TaskInput::Cancelled),
            RunEffect::AckUpdate { key } => to_client(key, TaskInput::Acked),
            RunEffect::RefuseUpdate { key, code, .. } => to_client(key, TaskInput::Refused { code }),
            RunEffect::PastTask { key, brings } => {
                let answer = match (self.ledger.has_counted(&key), brings) {
                    (true, _) => TaskInput::Acked,
                    (false, true) => TaskInput::Refused { code: Code::Late },
                    (false, false) => TaskInput::Cancelled,
                };
                to_client(key, answer)
            }
            RunEffect::Aggregate { round, attempt, .. } if self.aggregation_is_broken => {
                let (code, reason) = (Code::Internal, "broken".to_owned());
                Wire::ServerOwn(RunInput::AggregateFailed { round, attempt, code, reason })
            }
            RunEffect::Aggregate { round, attempt, members, .. } => {
                let blobs: Vec<_> = members.iter().map(|member| member.update.blob).collect();
                let model = BlobRef::of(format!("{round} {blobs:?}").as_bytes());
                Wire::ServerOwn(RunInput::Aggregated { round, attempt, model })
            }
            RunEffect::SaveCheckpoint { round, accuracy, .. } => {
                let evaluated = self.view().kind == TaskKind::Evaluate;
                assert_eq!(accuracy.is_some(), evaluated, "a checkpoint has its own round's accuracy");
                Wire::ServerOwn(RunInput::CheckpointSaved { round })
            }
            _ => return,
        };
        self.wires.push(wire);
    }
}
