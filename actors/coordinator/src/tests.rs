//! A coordinator and its aggregator with real supervision; clients, selector and scheduler played by the test.

mod extended;
mod scripts;

use super::*;
use nsfl_actor::{
    Address, ChildSpec, Context, Directory, Failure, GiveUp, Next, Restart, Role, Supervisor, SupervisorSpec,
};
use nsfl_messages::wire::{TaskCommand, TaskReport};
use nsfl_messages::{
    Cohort, CoordinatorMsg, GatewayMsg, JobRun, LiveEvent, RunEvent, SchedulerMsg, SelectorMsg, Starter as _,
};
use nsfl_package::pack_entries;
use nsfl_store::memory::{MemoryBlobStore, MemoryJobStore};
use nsfl_store::{BlobStore, Change, EventRecord, JobRecord, JobStore, MemberState, Owner, RoundState, put_bytes};
use nsfl_tensor::{DType, Layout, WeightsView};
use nsfl_trainer::TrainerCommand;
use nsfl_types::{Cause, ClientId, Code, JobKey, JobSpec, JobState, Metrics, TaskKind, Timestamp};
use nsfl_workflow::RetryPolicy;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// The clients behind the gateway: each answers a task at once with `delta(client, round)`; "nan" sends NaN, "quiet" nothing.
struct Sites {
    blobs: Arc<dyn BlobStore>,
    coordinators: Directory<JobKey, CoordinatorMsg>,
    commands: mpsc::UnboundedSender<TaskCommand>,
}

type SitesArgs = (Arc<dyn BlobStore>, Directory<JobKey, CoordinatorMsg>, mpsc::UnboundedSender<TaskCommand>);

impl Role for Sites {
    type Msg = GatewayMsg;
    type Args = SitesArgs;
    const KIND: &'static str = "sites";

    async fn start((blobs, coordinators, commands): SitesArgs, _: &Context<GatewayMsg>) -> Result<Self, Failure> {
        Ok(Self { blobs, coordinators, commands })
    }

    async fn handle(&mut self, msg: GatewayMsg, _: &Context<GatewayMsg>) -> Result<Next, Failure> {
        let GatewayMsg::ToClient { client, command } = msg;
        self.commands.send(command.clone())?;
        let TaskCommand::Run(order) = command else { return Ok(Next::Continue) };
        if ["silent", "quiet"].contains(&client.as_str()) {
            return Ok(Next::Continue);
        }
        if client.as_str() == "broken" {
            let cause = Cause {
                exit: Some("exit code 1".into()),
                traceback: Some("Traceback\nValueError: no data\n".into()),
                log: "epoch 1".into(),
                ..Cause::default()
            };
            let (code, reason) = (Code::ScriptException, "ValueError: no data".to_owned());
            let report = TaskReport::Failed { key: order.key.clone(), code, reason, cause: Some(cause.into()) };
            if let Some(coordinator) = self.coordinators.get(&order.key.job) {
                let _ = coordinator.try_tell(CoordinatorMsg::Report { client, report });
            }
            return Ok(Next::Continue);
        }
        let (update, metrics) = match order.key.kind {
            TaskKind::Evaluate => (None, [("accuracy".to_owned(), 0.5), ("sample_num".to_owned(), 1.0)].into()),
            TaskKind::Train => {
                let base = self.blobs.open(order.base.digest).await?;
                let bytes = like(&base, delta(&client, order.key.round));
                let blob = put_bytes(self.blobs.as_ref(), bytes.into(), &Owner::new("uploads/x")?).await?;
                (Some(blob), [("sample_num".to_owned(), 1.0)].into())
            }
        };
        // What a script would put: its name, and what it was sent.
        let put = json!({"name": client, "inputs": order.inputs.is_some()}).to_string();
        let zip = pack_entries([("parameters.json", put.as_bytes()), ("files/note", client.as_str().as_bytes())])?;
        let extra = put_bytes(self.blobs.as_ref(), zip.into(), &Owner::new("uploads/x")?).await?;
        let extra = update.map(|_| extra);
        let report = TaskReport::Done { key: order.key.clone(), update, extra, metrics: Metrics(metrics) };
        if let Some(coordinator) = self.coordinators.get(&order.key.job) {
            // A coordinator between two lives asks again.
            let _ = coordinator.try_tell(CoordinatorMsg::Report { client, report });
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        Value::Null
    }
}

/// Client `ci` moves every weight by 2^i.
fn delta(client: &ClientId, round: u32) -> f32 {
    match client.as_str().strip_prefix('c') {
        Some(number) => 2_f32.powi(number.parse().unwrap()) * if round.is_multiple_of(2) { -0.5 } else { 1.0 },
        None => f32::NAN,
    }
}

/// A file of the same tensors, every value this one.
fn like(base: &[u8], value: f32) -> Vec<u8> {
    let layout = WeightsView::parse(base).unwrap().layout().clone();
    let mut bytes = layout.header_bytes();
    bytes.extend(std::iter::repeat_n(value.to_le_bytes(), layout.data_len() / 4).flatten());
    bytes
}

fn weights(value: f32) -> Vec<u8> {
    let layout = Layout::new([("w".to_owned(), DType::F32, vec![3])]).unwrap();
    let mut bytes = layout.header_bytes();
    bytes.extend([value; 3].iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

/// Selects the same clients always.
struct Cohorts(Vec<ClientId>);

impl Role for Cohorts {
    type Msg = SelectorMsg;
    type Args = Vec<ClientId>;
    const KIND: &'static str = "selector";

    async fn start(args: Self::Args, _: &Context<SelectorMsg>) -> Result<Self, Failure> {
        Ok(Self(args))
    }

    async fn handle(&mut self, msg: SelectorMsg, _: &Context<SelectorMsg>) -> Result<Next, Failure> {
        match msg {
            SelectorMsg::Select { reply, .. } => {
                reply.send(Cohort { clients: self.0.clone(), left_out: Vec::new() });
            }
            SelectorMsg::List { reply } => reply.send(Vec::new()),
            _ => {}
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        Value::Null
    }
}

struct Ends(mpsc::UnboundedSender<SchedulerMsg>);

impl Role for Ends {
    type Msg = SchedulerMsg;
    type Args = mpsc::UnboundedSender<SchedulerMsg>;
    const KIND: &'static str = "scheduler";

    async fn start(args: Self::Args, _: &Context<SchedulerMsg>) -> Result<Self, Failure> {
        Ok(Self(args))
    }

    async fn handle(&mut self, msg: SchedulerMsg, _: &Context<SchedulerMsg>) -> Result<Next, Failure> {
        self.0.send(msg)?;
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        Value::Null
    }
}

struct World {
    starter: CoordinatorStarter,
    store: Arc<MemoryJobStore>,
    blobs: Arc<dyn BlobStore>,
    ends: mpsc::UnboundedReceiver<SchedulerMsg>,
    commands: mpsc::UnboundedReceiver<TaskCommand>,
    coordinators: Directory<JobKey, CoordinatorMsg>,
    live: Arc<Mutex<Vec<LiveEvent>>>,
    jobs: Supervisor,
    run: JobRun,
    folder: TempDir,
    _root: Supervisor,
}

impl World {
    async fn new(clients: &[&str], hyper: Value) -> Self {
        Self::with(clients, hyper, json!({}), |_| {}).await
    }

    async fn with_grace(clients: &[&str], hyper: Value, link_grace: Duration) -> Self {
        Self::made(link_grace, Duration::from_secs(60), clients, hyper, json!({}), |_| {}).await
    }

    async fn with(clients: &[&str], hyper: Value, fields: Value, prepare: impl FnOnce(&Path)) -> Self {
        Self::within(Duration::from_secs(60), clients, hyper, fields, prepare).await
    }

    /// With more fields of the document, after `prepare` has filled the namespace's storage; an extender has `time`.
    async fn within(
        time: Duration,
        clients: &[&str],
        hyper: Value,
        fields: Value,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        Self::made(Duration::from_secs(3600), time, clients, hyper, fields, prepare).await
    }

    async fn made(
        link_grace: Duration,
        time: Duration,
        clients: &[&str],
        hyper: Value,
        fields: Value,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = folder.path().join("storage");
        std::fs::create_dir_all(storage.join("default")).unwrap();
        std::fs::write(storage.join("default/m.safetensors"), weights(0.0)).unwrap();
        prepare(&storage.join("default"));
        let mut document = json!({
            "id": "j", "runtime": "builtin", "task_entry": "echo", "output": "out", "model_path": "m.safetensors",
            "hyper_parameters": hyper,
        });
        for (name, value) in fields.as_object().unwrap() {
            document[name] = value.clone();
            if value.is_null() {
                document.as_object_mut().unwrap().remove(name);
            }
        }
        let (_, spec) = JobSpec::parse(document.to_string().as_bytes()).unwrap();
        let store = Arc::new(MemoryJobStore::default());
        let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::default());
        let coordinators = Directory::new();
        let (selector, scheduler) = (Address::new("selector", 64), Address::new("scheduler", 64));
        let gateway = Address::new("gateway", 64);
        let (commands_out, commands) = mpsc::unbounded_channel();
        let (ends_out, ends) = mpsc::unbounded_channel();
        let live = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&live);
        let surroundings = Surroundings {
            store: store.clone(),
            blobs: blobs.clone(),
            scheduler: scheduler.clone(),
            selector: selector.clone(),
            gateway: gateway.clone(),
            storage,
            scratch: folder.path().join("scratch"),
            trainer: TrainerCommand { program: "/nonexistent".into(), args: Vec::new() },
            link_grace,
            retry: RetryPolicy { max_attempts: 2, backoff_base_ms: 1, backoff_max_ms: 1 },
            extender: ExtenderConfig { enabled: true, python: "python3".into(), timeout: time, memory_bytes: 8 << 30 },
            live: Arc::new(move |event| heard.lock().unwrap().push(event)),
        };
        let jobs = Supervisor::unbound("jobs");
        let starter = CoordinatorStarter::new(jobs.clone(), coordinators.clone(), surroundings);
        let cohort = clients.iter().map(|c| c.parse().unwrap()).collect();
        let on_event = CoordinatorStarter::on_give_up(scheduler.clone());
        let jobs_spec = SupervisorSpec::new("jobs").bind(&jobs).give_up(GiveUp::Drop).on_event(on_event);
        let sites = (blobs.clone(), coordinators.clone(), commands_out);
        let root = SupervisorSpec::new("test")
            .child(ChildSpec::role::<Ends>("scheduler", &scheduler, ends_out, Restart::Permanent))
            .child(ChildSpec::role::<Cohorts>("selector", &selector, cohort, Restart::Permanent))
            .child(ChildSpec::role::<Sites>("gateway", &gateway, sites, Restart::Permanent))
            .child(ChildSpec::supervisor(jobs_spec, Restart::Permanent));
        let root = Supervisor::start(root).await.unwrap();
        let record = JobRecord {
            key: key(),
            document: document.to_string(),
            author: "ada".into(),
            state: JobState::Running,
            snapshot: Vec::new(),
            created: Timestamp(0),
            started: None,
        };
        store.commit(vec![Change::InsertJob(record)]).await.unwrap();
        let run = JobRun { key: key(), run: 1, spec: Arc::new(spec), author: "ada".into() };
        Self { starter, store, blobs, ends, commands, coordinators, live, jobs, run, folder, _root: root }
    }

    async fn run_to_its_end(&mut self) -> RunEvent {
        self.starter.start(self.run.clone()).await.unwrap();
        self.end().await
    }

    async fn end(&mut self) -> RunEvent {
        loop {
            match self.ends.recv().await.unwrap() {
                SchedulerMsg::Run { event: RunEvent::Started | RunEvent::Progress { .. }, .. } => {}
                SchedulerMsg::Run { event, .. } => return event,
                SchedulerMsg::GaveUp { reason, .. } => return RunEvent::Failed { code: Code::Internal, reason },
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    async fn tell(&self, msg: CoordinatorMsg) {
        self.coordinators.get(&key()).unwrap().tell(msg).await.unwrap();
    }

    /// Waits for the n-th event of a kind.
    async fn event(&self, kind: &str, nth: usize) -> EventRecord {
        let mut newest = self.store.newest_event();
        loop {
            let events = self.store.events(Some(&key()), 0, 1000).await.unwrap();
            if let Some(event) = events.into_iter().filter(|e| e.kind == kind).nth(nth) {
                return event;
            }
            newest.changed().await.unwrap();
        }
    }

    async fn away(&self) -> Vec<ClientId> {
        let coordinator = self.coordinators.get(&key()).unwrap();
        coordinator.ask(WAIT, |reply| CoordinatorMsg::View { reply }).await.unwrap().away
    }

    fn output(&self, file: &str) -> Vec<u8> {
        let folder = self.folder.path().join("storage/default/out/fl_j_output_V1");
        std::fs::read(folder.join(file)).unwrap()
    }
}

const WAIT: Duration = Duration::from_secs(600);

fn key() -> JobKey {
    JobKey::new("default".parse().unwrap(), "j".parse().unwrap())
}

#[tokio::test]
async fn each_round_adds_the_mean_of_exactly_its_members_and_the_checkpoint_is_the_model() {
    let hyper = json!({"max_round_num": 3, "client_num": 3, "threshold_client_num": 3, "save_interval": 0});
    let mut world = World::new(&["c0", "c1", "c2"], hyper).await;
    assert!(matches!(world.run_to_its_end().await, RunEvent::Finished));
    // Means of 1, 2, 4 in rounds 1 and 3, of their negative halves in round 2.
    let mean = 7.0_f64 / 3.0;
    #[allow(clippy::cast_possible_truncation)]
    let expected = [mean, -mean / 2.0, mean].iter().fold(0.0_f32, |w, d| (f64::from(w) + d) as f32);
    assert_eq!(world.output("checkpoint_3.safetensors"), weights(expected));
    let metrics: Value = serde_json::from_slice(&world.output("metrics.json")).unwrap();
    assert_eq!(metrics["accuracy"], json!([null, 0.5, 0.5]));
    let rounds = world.store.rounds(&key(), 1).await.unwrap();
    assert_eq!(rounds.iter().filter(|r| r.state == RoundState::Complete).count(), 5);
    let checkpoints = world.store.checkpoints(&key()).await.unwrap();
    assert_eq!((checkpoints.len(), checkpoints[0].accuracy), (1, Some(0.5)));
}

#[tokio::test]
async fn a_wrong_update_is_refused_with_its_code_and_the_round_goes_on_without_it() {
    let hyper = json!({"max_round_num": 1, "client_num": 2, "threshold_client_num": 1, "evaluate_interval": 0});
    let mut world = World::new(&["c0", "nan"], hyper).await;
    assert!(matches!(world.run_to_its_end().await, RunEvent::Finished));
    assert_eq!(world.output("checkpoint_1.safetensors"), weights(1.0));
    let members = world.store.members(&key(), 1, 1).await.unwrap();
    let nan = members.iter().find(|m| m.task.client.as_str() == "nan").unwrap();
    assert_eq!((nan.state, nan.code), (MemberState::Refused, Some(Code::NotFinite)));
    assert!(nan.reason.contains("'w'"), "{}", nan.reason);
}

#[tokio::test]
async fn a_job_whose_coordinator_and_aggregator_are_killed_in_every_round_ends_with_the_same_model() {
    let hyper = json!({"max_round_num": 6, "client_num": 3, "threshold_client_num": 3, "save_interval": 0});
    let mut calm = World::new(&["c0", "c1", "c2"], hyper.clone()).await;
    assert!(matches!(calm.run_to_its_end().await, RunEvent::Finished));
    let mut stormy = World::new(&["c0", "c1", "c2"], hyper).await;
    stormy.starter.start(stormy.run.clone()).await.unwrap();
    let mut last = 0;
    let end = loop {
        tokio::select! {
            end = async {
                loop {
                    match stormy.ends.recv().await.unwrap() {
                        SchedulerMsg::Run { event: RunEvent::Started | RunEvent::Progress { .. }, .. } => {}
                        SchedulerMsg::Run { event, .. } => break event,
                        other => panic!("unexpected {other:?}"),
                    }
                }
            } => break end,
            command = stormy.commands.recv() => {
                // At the first acknowledgement of each round both actors of the job start again.
                if let Some(TaskCommand::Ack { key }) = command && key.round > last {
                    last = key.round;
                    stormy.jobs.restart_child("default/j").await.unwrap();
                }
            }
        }
    };
    assert!(matches!(end, RunEvent::Finished), "{end:?}");
    assert!(last >= 2, "the job was disturbed");
    assert_eq!(stormy.output("checkpoint_6.safetensors"), calm.output("checkpoint_6.safetensors"));
}

#[tokio::test]
async fn a_round_without_quorum_fails_the_run_with_who_and_why() {
    let hyper = json!({"max_round_num": 1, "client_num": 2, "threshold_client_num": 2});
    let mut world = World::new(&["c0", "nan"], hyper).await;
    let RunEvent::Failed { code, reason } = world.run_to_its_end().await else { panic!("should fail") };
    assert_eq!(code, Code::NoQuorum);
    assert!(reason.contains("nan") && reason.contains("not-finite"), "{reason}");
    assert!(world.blobs.sweep(std::time::Duration::ZERO).await.is_ok());
}

#[tokio::test]
async fn an_initial_model_that_is_none_fails_the_run_and_not_the_clients() {
    let mut world = World::new(&["c0"], json!({})).await;
    std::fs::write(world.folder.path().join("storage/default/m.safetensors"), b"pickle").unwrap();
    let RunEvent::Failed { code, reason } = world.run_to_its_end().await else { panic!("should fail") };
    assert_eq!(code, Code::BadUpdate);
    assert!(reason.contains("initial model"), "{reason}");
    assert!(world.commands.try_recv().is_err(), "no client was asked");
}

/// c0 has answered; quiet is awaited.
async fn waiting_for_quiet(grace_s: u64) -> World {
    let hyper = json!({"max_round_num": 1, "client_num": 2, "threshold_client_num": 2, "evaluate_interval": 0});
    let world = World::with_grace(&["c0", "quiet"], hyper, Duration::from_secs(grace_s)).await;
    world.starter.start(world.run.clone()).await.unwrap();
    world.event("update-accepted", 0).await;
    world
}

#[tokio::test]
async fn the_end_of_an_awaited_clients_link_and_its_return_are_told_and_change_nothing_else() {
    let mut world = waiting_for_quiet(3600).await;
    let quiet: ClientId = "quiet".parse().unwrap();
    let link = |session, up| CoordinatorMsg::Link { client: quiet.clone(), session, up };
    world.tell(link(4, false)).await;
    let lost = world.event("client-lost", 0).await;
    assert_eq!((&lost.fields["client"], &lost.fields["round"]), (&json!("quiet"), &json!(1)));
    assert_eq!(world.away().await, std::slice::from_ref(&quiet));
    world.tell(link(5, true)).await;
    world.event("client-back", 0).await;
    assert_eq!(world.away().await, []);
    // a session that ended after its successor began, and one that has answered already
    world.tell(link(4, false)).await;
    world.tell(CoordinatorMsg::Link { client: "c0".parse().unwrap(), session: 1, up: false }).await;
    let update = put_bytes(world.blobs.as_ref(), weights(4.0).into(), &Owner::new("uploads/x").unwrap()).await.unwrap();
    let order = loop {
        if let TaskCommand::Run(order) = world.commands.recv().await.unwrap()
            && order.key.client == quiet
        {
            break order;
        }
    };
    let metrics = Metrics([("sample_num".to_owned(), 1.0)].into());
    let report = TaskReport::Done { key: order.key, update: Some(update), extra: None, metrics };
    world.tell(CoordinatorMsg::Report { client: quiet, report }).await;
    assert!(matches!(world.end().await, RunEvent::Finished));
    assert_eq!(world.output("checkpoint_1.safetensors"), weights(2.5), "both count");
    let told = world.store.events(Some(&key()), 0, 1000).await.unwrap();
    assert_eq!(told.iter().filter(|e| e.kind.starts_with("client-")).count(), 2, "{told:?}");
}

#[tokio::test]
async fn a_coordinator_that_starts_again_learns_who_did_not_come_back() {
    // the selector of this test knows nobody, and the grace period is none
    let world = waiting_for_quiet(0).await;
    world.jobs.restart_child("default/j").await.unwrap();
    world.event("client-lost", 0).await;
    while world.away().await != ["quiet".parse().unwrap()] {
        tokio::task::yield_now().await;
    }
}

/// As when it was found damaged while its client offered it again.
#[tokio::test]
async fn an_accepted_update_that_is_gone_from_the_store_is_asked_for_again() {
    let mut world = waiting_for_quiet(3600).await;
    for owner in ["default/j/run-1/updates", "uploads/x"] {
        world.blobs.release_all(&Owner::new(owner).unwrap()).await.unwrap();
    }
    assert_eq!(
        world.blobs.sweep(std::time::Duration::ZERO).await.unwrap().blobs,
        2,
        "the update and what its script put"
    );
    for attempt in [1, 2] {
        let order = loop {
            if let TaskCommand::Run(order) = world.commands.recv().await.unwrap()
                && (order.key.client.as_str(), order.key.attempt) == ("quiet", attempt)
            {
                break order;
            }
        };
        let bytes = weights(4.0).into();
        let update = put_bytes(world.blobs.as_ref(), bytes, &Owner::new("uploads/y").unwrap()).await.unwrap();
        let metrics = Metrics([("sample_num".to_owned(), 1.0)].into());
        let report = TaskReport::Done { key: order.key, update: Some(update), extra: None, metrics };
        world.tell(CoordinatorMsg::Report { client: "quiet".parse().unwrap(), report }).await;
    }
    assert!(matches!(world.end().await, RunEvent::Finished));
    assert_eq!(world.output("checkpoint_1.safetensors"), weights(2.5));
}
