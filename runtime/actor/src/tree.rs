//! `Tree`: the supervisor itself. It starts its children in order, restarts them by its spec and ends them in reverse.
//!
//! It never waits for a child while it could serve others: starts, halts and pauses run beside it and come back as
//! commands. Only its own start and its own end wait.

use futures_util::future::join_all;
use ractor::{ActorCell, ActorId};
use tokio::time::Instant;

use crate::child::{After, Child, Phase};
use crate::context::Context;
use crate::failure::Failure;
use crate::reply::Reply;
use crate::role::Next;
use crate::shell::Behaviour;
use crate::spec::{ChildEvent, ChildSpec, GiveUp, Restart, Strategy, SupervisorSpec};
use crate::supervisor::{Exit, Found, Supervisor};
use crate::vitals::ActorView;

pub(crate) type Done = Result<(), Failure>;

#[derive(Debug)]
pub(crate) enum Command {
    Start(ChildSpec, Reply<Done>),
    Ensure(ChildSpec, Reply<Done>),
    Stop(String, Reply<Done>),
    Restart(String, Reply<Done>),
    Find(String, Reply<Option<Found>>),
    Spawned(u64, Result<ActorCell, Failure>),
    Halted(u64),
    PauseOver(u64),
}

pub(crate) struct Tree {
    spec: SupervisorSpec,
    children: Vec<Child>,
    tokens: u64,
    exit: Option<Exit>,
}

type Ctx = Context<Command>;

impl Behaviour for Tree {
    type Msg = Command;
    type Args = SupervisorSpec;
    const KIND: &'static str = "supervisor";

    fn supervisor(spec: &SupervisorSpec) -> Option<Supervisor> {
        Some(spec.handle.clone())
    }

    async fn start(mut spec: SupervisorSpec, ctx: &Ctx) -> Result<Self, Failure> {
        spec.handle.record_exit(None);
        let children = std::mem::take(&mut spec.children);
        let mut tree = Self { spec, children: Vec::new(), tokens: 0, exit: None };
        for child in children {
            if let Err(failure) = tree.start_first(child, ctx).await {
                return Err(tree.end(failure).await);
            }
        }
        Ok(tree)
    }

    async fn handle(&mut self, command: Command, ctx: &Ctx) -> Result<Next, Failure> {
        let done = match command {
            Command::Start(child, reply) => {
                self.start_child(child, reply, ctx);
                Ok(())
            }
            Command::Ensure(child, reply) => {
                match self.find(child.name()) {
                    Some(_) => reply.send(Ok(())),
                    None => self.start_child(child, reply, ctx),
                }
                Ok(())
            }
            Command::Stop(name, reply) => {
                self.stop_child(&name, reply, ctx);
                Ok(())
            }
            Command::Restart(name, reply) => {
                self.restart_child(&name, reply, ctx);
                Ok(())
            }
            Command::Find(path, reply) => {
                self.look_for(path, reply, ctx);
                Ok(())
            }
            Command::Spawned(token, result) => self.spawned(token, result, ctx),
            Command::Halted(token) => {
                self.halted(token);
                Ok(())
            }
            Command::PauseOver(token) => {
                if let Some(child) = self.children.iter_mut().find(|child| child.token == token) {
                    child.phase = Phase::Waiting(None);
                }
                Ok(())
            }
        };
        self.conclude(done, ctx).await
    }

    async fn child_ended(&mut self, life: ActorId, end: Done, ctx: &Ctx) -> Result<Next, Failure> {
        let done = match self.children.iter().position(|child| child.lived(life)) {
            Some(i) => self.ended(i, end, ctx),
            None => Ok(()),
        };
        self.conclude(done, ctx).await
    }

    async fn stop(&mut self, _ctx: &Ctx) {
        self.halt_all().await;
        self.exit = Some(Exit::Stopped);
    }

    fn observe(&self, mut view: ActorView, until: Instant, reply: Reply<ActorView>, ctx: &Ctx) {
        // A tenth is kept for the way back, so that one stuck child does not make its supervisors look stuck.
        let within = until.saturating_duration_since(Instant::now()) * 9 / 10;
        let children: Vec<_> = self.children.iter().map(|child| child.observe(within)).collect();
        ctx.track(async move {
            view.children = join_all(children).await;
            reply.send(view);
        });
    }
}

impl Tree {
    async fn start_first(&mut self, spec: ChildSpec, ctx: &Ctx) -> Done {
        if self.find(&spec.name).is_some() {
            return Err(Failure::new(format!("two children are called {}", spec.name)));
        }
        let mut child = Child::new(spec, false);
        let started = child.spec.member.spawn(Some(ctx.cell())).await;
        let cell = started.map_err(|failure| failure.context(format!("{} failed to start", child.path())))?;
        child.came_up(cell);
        self.tell(ChildEvent::Started { path: child.path() });
        self.children.push(child);
        Ok(())
    }

    fn start_child(&mut self, spec: ChildSpec, reply: Reply<Done>, ctx: &Ctx) {
        if self.find(&spec.name).is_some() {
            return reply.send(Err(Failure::new(format!("there is a child called {}", spec.name))));
        }
        let mut child = Child::new(spec, true);
        child.callers.push(reply);
        self.children.push(child);
        self.launch(self.children.len() - 1, ctx);
    }

    fn stop_child(&mut self, name: &str, reply: Reply<Done>, ctx: &Ctx) {
        let Some(i) = self.find(name) else { return reply.send(Err(no_child(name))) };
        let child = &mut self.children[i];
        match &mut child.phase {
            Phase::Down => return reply.send(Ok(())),
            Phase::Waiting(_) => self.settle(i, None),
            Phase::Starting(task) => {
                task.abort();
                child.answer(&Err(Failure::new("stopped while it started")));
                self.settle(i, None);
            }
            Phase::Up(_) => {
                child.callers.push(reply);
                return self.halt(i, After::Down, ctx);
            }
            Phase::Halting(_, after) => {
                *after = After::Down;
                return child.callers.push(reply);
            }
        }
        reply.send(Ok(()));
    }

    fn restart_child(&mut self, name: &str, reply: Reply<Done>, ctx: &Ctx) {
        let Some(i) = self.find(name) else { return reply.send(Err(no_child(name))) };
        let child = &mut self.children[i];
        child.callers.push(reply);
        child.cause = None;
        match &mut child.phase {
            Phase::Down | Phase::Waiting(_) => child.phase = Phase::Waiting(None),
            Phase::Starting(_) => {}
            Phase::Up(_) => self.halt(i, After::Start, ctx),
            Phase::Halting(_, after) => *after = After::Start,
        }
    }

    /// A child, or whoever a supervisor below finds; they are asked beside, one after the other.
    fn look_for(&self, path: String, reply: Reply<Option<Found>>, ctx: &Ctx) {
        if let Some(child) = self.children.iter().find(|child| child.spec.member.vitals().path == path) {
            let (parent, name) = (self.spec.handle.clone(), child.spec.name.clone());
            return reply.send(Some(Found::new(parent, name, child.spec.member.vitals())));
        }
        let below: Vec<_> = self.children.iter().filter_map(|child| child.spec.member.supervisor()).collect();
        ctx.run(async move {
            for supervisor in below {
                if let Some(found) = supervisor.find(&path).await {
                    return reply.send(Some(found));
                }
            }
            reply.send(None);
        });
    }

    fn spawned(&mut self, token: u64, result: Result<ActorCell, Failure>, ctx: &Ctx) -> Done {
        let Some(i) = self.children.iter().position(|child| child.token == token) else {
            // Stopped while it started, and the stop came too late to prevent it.
            result.into_iter().for_each(|cell| cell.kill());
            return Ok(());
        };
        let child = &mut self.children[i];
        match result {
            Ok(cell) => {
                child.came_up(cell);
                let path = child.path();
                self.tell(ChildEvent::Started { path });
                Ok(())
            }
            Err(failure) if child.dynamic && !child.has_been_up() => {
                child.answer(&Err(failure));
                self.children.remove(i);
                Ok(())
            }
            Err(failure) => self.failed(i, failure, ctx),
        }
    }

    fn halted(&mut self, token: u64) {
        let Some(i) = self.children.iter().position(|child| child.token == token) else { return };
        match self.children[i].phase {
            Phase::Halting(_, After::Start) => self.children[i].phase = Phase::Waiting(None),
            _ => self.settle(i, None),
        }
    }

    fn ended(&mut self, i: usize, end: Done, ctx: &Ctx) -> Done {
        if matches!(self.children[i].phase, Phase::Starting(_)) {
            self.children[i].has_started();
            self.tell(ChildEvent::Started { path: self.children[i].path() });
        }
        let child = &mut self.children[i];
        let restart = child.spec.restart;
        match end {
            _ if child.doomed && restart != Restart::Temporary => {
                child.doomed = false;
                child.phase = Phase::Waiting(None);
                Ok(())
            }
            Ok(()) if restart != Restart::Permanent => {
                self.settle(i, None);
                Ok(())
            }
            Ok(()) => self.failed(i, Failure::new("stopped, though it is permanent"), ctx),
            Err(failure) => self.failed(i, failure, ctx),
        }
    }

    /// A child failed, or failed to start: restart it, give it up, or (`Err`) give up altogether.
    fn failed(&mut self, i: usize, failure: Failure, ctx: &Ctx) -> Done {
        let SupervisorSpec { intensity, backoff, give_up, strategy, .. } = self.spec;
        let child = &mut self.children[i];
        child.answer(&Err(failure.clone()));
        child.doomed = false;
        child.cause = Some(failure.to_string());
        let path = child.path();
        let restarts = child.spec.member.vitals().restarts();
        if child.spec.restart == Restart::Temporary {
            tracing::warn!(actor = path, restarts, error = %failure, "actor failed");
            self.settle(i, Some(failure));
            return Ok(());
        }
        child.record_restart();
        let counted: usize = match give_up {
            GiveUp::Drop => child.restarts_within(intensity.period),
            GiveUp::Escalate => self.children.iter_mut().map(|child| child.restarts_within(intensity.period)).sum(),
        };
        let child = &mut self.children[i];
        if counted > intensity.max_restarts as usize {
            tracing::error!(actor = path, restarts, error = %failure, "actor given up");
            if give_up == GiveUp::Drop {
                self.settle(i, Some(failure));
                return Ok(());
            }
            child.phase = Phase::Down;
            return Err(failure.context(format!("{path} failed too often")));
        }
        let after = child.pause(&backoff, &intensity);
        self.tokens += 1;
        child.token = self.tokens;
        child.phase = Phase::Waiting(Some(ctx.send_after(after, Command::PauseOver(child.token))));
        let siblings = match strategy {
            Strategy::OneForOne => i..i,
            Strategy::OneForAll => 0..self.children.len(),
            Strategy::RestForOne => i..self.children.len(),
        };
        for sibling in &mut self.children[siblings] {
            if matches!(sibling.phase, Phase::Up(_) | Phase::Starting(_)) {
                sibling.doomed = true;
                sibling.cause.get_or_insert_with(|| format!("together with {path}"));
            }
        }
        let after_ms = after.as_millis() as u64;
        tracing::warn!(actor = path, restarts, error = %failure, after_ms, "actor failed and will be restarted");
        self.tell(ChildEvent::Restarting { path, restarts: restarts + 1, failure, after });
        Ok(())
    }

    /// After every input: take what steps are possible now, or end if the input was one failure too many.
    async fn conclude(&mut self, done: Done, ctx: &Ctx) -> Result<Next, Failure> {
        if let Err(failure) = done {
            return Err(self.end(failure).await);
        }
        let halting = self.children.iter().any(|child| matches!(child.phase, Phase::Halting(..)));
        let doomed = |child: &Child| child.doomed && matches!(child.phase, Phase::Up(_));
        if let Some(i) = self.children.iter().rposition(doomed).filter(|_| !halting) {
            let after = match self.children[i].spec.restart {
                Restart::Temporary => After::Down,
                Restart::Permanent | Restart::Transient => After::Start,
            };
            self.halt(i, after, ctx);
        }
        for i in 0..self.children.len() {
            if self.may_start(i) {
                let cause = self.children[i].cause.take();
                self.children[i].spec.member.vitals().record_restart(cause);
                self.launch(i, ctx);
            }
        }
        Ok(Next::Continue)
    }

    /// One for one: when its pause is over. Else: when all pauses are over, and all that must end or start before it
    /// has done so.
    fn may_start(&self, i: usize) -> bool {
        let unsettled = |child: &Child| {
            child.doomed || matches!(child.phase, Phase::Waiting(Some(_)) | Phase::Starting(_) | Phase::Halting(..))
        };
        matches!(self.children[i].phase, Phase::Waiting(None))
            && (self.spec.strategy == Strategy::OneForOne || !self.children.iter().any(unsettled))
    }

    fn launch(&mut self, i: usize, ctx: &Ctx) {
        self.tokens += 1;
        let token = self.tokens;
        let child = &mut self.children[i];
        child.token = token;
        let start = child.spec.member.spawn(Some(ctx.cell()));
        child.phase = Phase::Starting(ctx.spawn(start, move |result| Command::Spawned(token, result.flatten())));
    }

    fn halt(&mut self, i: usize, after: After, ctx: &Ctx) {
        let child = &mut self.children[i];
        let Phase::Up(cell) = &child.phase else { return };
        self.tokens += 1;
        let token = self.tokens;
        child.token = token;
        child.doomed = false;
        ctx.spawn(child.spec.member.halt(cell.clone(), child.spec.shutdown), move |_| Command::Halted(token));
        child.phase = Phase::Halting(cell.clone(), after);
    }

    /// A child has ended for good: orderly, or given up with its failure.
    fn settle(&mut self, i: usize, failure: Option<Failure>) {
        let child = &mut self.children[i];
        child.phase = Phase::Down;
        child.doomed = false;
        child.token = 0;
        let path = child.path();
        child.answer(&failure.clone().map_or(Ok(()), Err));
        if child.dynamic {
            self.children.remove(i);
        }
        self.tell(match failure {
            Some(failure) => ChildEvent::GaveUp { path, failure },
            None => ChildEvent::Stopped { path },
        });
    }

    async fn end(&mut self, failure: Failure) -> Failure {
        tracing::error!(actor = self.spec.handle.path(), error = %failure, "supervisor failed");
        self.halt_all().await;
        self.exit = Some(Exit::Escalated(failure.clone()));
        failure
    }

    async fn halt_all(&mut self) {
        for i in (0..self.children.len()).rev() {
            let child = &mut self.children[i];
            match &child.phase {
                Phase::Starting(task) => task.abort(),
                Phase::Up(cell) | Phase::Halting(cell, _) => {
                    let halt = child.spec.member.halt(cell.clone(), child.spec.shutdown);
                    halt.await;
                    let path = child.path();
                    self.tell(ChildEvent::Stopped { path });
                }
                Phase::Down | Phase::Waiting(_) => {}
            }
            self.children[i].phase = Phase::Down;
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.children.iter().position(|child| child.spec.name == name)
    }

    fn tell(&self, event: ChildEvent) {
        if let Some(listener) = &self.spec.on_event {
            listener(&event);
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // ractor kills the children of a dead actor, but not those that drain or stop already.
        for child in &self.children {
            if let Phase::Up(cell) | Phase::Halting(cell, _) = &child.phase {
                cell.kill();
            }
        }
        let exit = self.exit.take().unwrap_or_else(|| Exit::Escalated(Failure::new("killed")));
        self.spec.handle.record_exit(Some(exit));
    }
}

fn no_child(name: &str) -> Failure {
    Failure::new(format!("there is no child called {name}"))
}
