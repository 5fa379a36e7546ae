//! A coordinator and its aggregator with real supervision; clients, selector and scheduler played by the test.

use super::shaky::{Shaky, Troubles};
use super::*;

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
        let GatewayMsg::ToClient { client, command } = msg else { return Ok(Next::Continue) };
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
pub(super) fn delta(client: &ClientId, round: u32) -> f32 {
    match client.as_str().strip_prefix('c') {
        Some(number) => 2_f32.powi(number.parse().unwrap()) * if round.is_multiple_of(2) { -0.5 } else { 1.0 },
        None => f32::NAN,
    }
}

/// A file of the same tensors, every value this one.
pub(super) fn like(base: &[u8], value: f32) -> Vec<u8> {
    let layout = WeightsView::parse(base).unwrap().layout().clone();
    let mut bytes = layout.header_bytes();
    bytes.extend(std::iter::repeat_n(value.to_le_bytes(), layout.data_len() / 4).flatten());
    bytes
}

pub(super) fn weights(value: f32) -> Vec<u8> {
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
            SelectorMsg::Select { request, reply } => {
                let free = self.0.iter().filter(|client| !request.except.contains(client));
                let clients = free.take(request.count as usize).cloned().collect();
                reply.send(Cohort { clients, left_out: Vec::new() });
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

pub(super) struct World {
    pub(super) starter: CoordinatorStarter,
    pub(super) store: Arc<MemoryJobStore>,
    pub(super) blobs: Arc<dyn BlobStore>,
    /// What the coordinator's stores are to fail at; `store` and `blobs` never do.
    pub(super) troubles: Troubles,
    pub(super) ends: mpsc::UnboundedReceiver<SchedulerMsg>,
    pub(super) commands: mpsc::UnboundedReceiver<TaskCommand>,
    pub(super) coordinators: Directory<JobKey, CoordinatorMsg>,
    pub(super) live: Arc<Mutex<Vec<LiveEvent>>>,
    pub(super) jobs: Supervisor,
    pub(super) run: JobRun,
    pub(super) folder: TempDir,
    pub(super) root: Supervisor,
}

/// What the node's configuration allows a job.
pub(super) struct Bounds {
    pub(super) link_grace: Duration,
    pub(super) extender_time: Duration,
    pub(super) memory_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { link_grace: Duration::from_secs(3600), extender_time: Duration::from_secs(60), memory_bytes: 64 << 20 }
    }
}

impl World {
    pub(super) async fn new(clients: &[&str], hyper: Value) -> Self {
        Self::with(clients, hyper, json!({}), |_| {}).await
    }

    /// With more fields of the document, after `prepare` has filled the namespace's storage.
    pub(super) async fn with(clients: &[&str], hyper: Value, fields: Value, prepare: impl FnOnce(&Path)) -> Self {
        Self::within(Bounds::default(), clients, hyper, fields, prepare).await
    }

    pub(super) async fn within(
        bounds: Bounds,
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
        let stored = Arc::new(MemoryBlobStore::default());
        let blobs: Arc<dyn BlobStore> = stored.clone();
        let troubles = Troubles::default();
        let coordinators = Directory::new();
        let (selector, scheduler) = (Address::new("selector", 64), Address::new("scheduler", 64));
        let gateway = Address::new("gateway", 64);
        let (commands_out, commands) = mpsc::unbounded_channel();
        let (ends_out, ends) = mpsc::unbounded_channel();
        let live = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&live);
        let surroundings = Surroundings {
            store: Arc::new(Shaky { inner: store.clone(), troubles: troubles.clone() }),
            blobs: Arc::new(Shaky { inner: stored, troubles: troubles.clone() }),
            scheduler: scheduler.clone(),
            selector: selector.clone(),
            gateway: gateway.clone(),
            storage,
            scratch: folder.path().join("scratch"),
            trainer: TrainerCommand { program: "/nonexistent".into(), args: Vec::new() },
            link_grace: bounds.link_grace,
            retry: RetryPolicy { max_attempts: 2, backoff_base_ms: 1, backoff_max_ms: 1 },
            aggregation: AggregationConfig { memory_bytes: bounds.memory_bytes, keep_rounds: 1 },
            rules: Rules::default(),
            extender: ExtenderConfig {
                enabled: true,
                python: "python3".into(),
                timeout: bounds.extender_time,
                memory_bytes: 8 << 30,
            },
            live: Arc::new(move |event| heard.lock().unwrap().push(event)),
        };
        let jobs = Supervisor::unbound("jobs");
        let starter = CoordinatorStarter::new(jobs.clone(), coordinators.clone(), surroundings);
        let cohort = clients.iter().map(|c| c.parse().unwrap()).collect();
        let jobs_spec = starter.supervisor();
        let sites = (blobs.clone(), coordinators.clone(), commands_out);
        let root = SupervisorSpec::new("test")
            .child(ChildSpec::role::<Ends>("scheduler", &scheduler, ends_out, Restart::Permanent))
            .child(ChildSpec::role::<Cohorts>("selector", &selector, cohort, Restart::Permanent))
            .child(ChildSpec::role::<Sites>("gateway", &gateway, sites, Restart::Permanent))
            .child(ChildSpec::supervisor(jobs_spec, Restart::Permanent));
        let root = Supervisor::start(root).await.unwrap();
        store.commit(vec![Change::InsertJob(job_record(key(), document.to_string()))]).await.unwrap();
        let run = JobRun { key: key(), run: 1, spec: Arc::new(spec), author: "ada".into() };
        Self { starter, store, blobs, troubles, ends, commands, coordinators, live, jobs, run, folder, root }
    }

    /// A run of a second job, of the same document but for its name.
    pub(super) async fn another_run(&self, id: &str) -> JobRun {
        let key = JobKey::new("default".parse().unwrap(), id.parse().unwrap());
        self.store.commit(vec![Change::InsertJob(job_record(key.clone(), String::new()))]).await.unwrap();
        let spec = JobSpec { id: key.id.clone(), ..JobSpec::clone(&self.run.spec) };
        JobRun { key, spec: Arc::new(spec), ..self.run.clone() }
    }

    pub(super) async fn run_to_its_end(&mut self) -> RunEvent {
        self.starter.start(self.run.clone()).await.unwrap();
        self.end().await
    }

    pub(super) async fn end(&mut self) -> RunEvent {
        loop {
            match self.ends.recv().await.unwrap() {
                SchedulerMsg::Run { event: RunEvent::Started | RunEvent::Progress { .. }, .. } => {}
                SchedulerMsg::Run { event, .. } => return event,
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// The run, whose actors start again at the first acknowledgement of each round. Also gives the last round in which they did.
    pub(super) async fn run_killed_in_every_round(&mut self) -> (RunEvent, u32) {
        self.starter.start(self.run.clone()).await.unwrap();
        let mut last = 0;
        loop {
            tokio::select! {
                msg = self.ends.recv() => match msg.unwrap() {
                    SchedulerMsg::Run { event: RunEvent::Started | RunEvent::Progress { .. }, .. } => {}
                    SchedulerMsg::Run { event, .. } => return (event, last),
                    other => panic!("unexpected {other:?}"),
                },
                command = self.commands.recv() => {
                    if let Some(TaskCommand::Ack { key }) = command && key.round > last {
                        last = key.round;
                        self.jobs.restart_child("default/j").await.unwrap();
                    }
                }
            }
        }
    }

    /// The next task that this client is sent.
    pub(super) async fn task_of(&mut self, client: &str) -> TaskOrder {
        loop {
            if let TaskCommand::Run(order) = self.commands.recv().await.unwrap()
                && order.key.client.as_str() == client
            {
                return *order;
            }
        }
    }

    /// As its client does when it has done the task: every weight of its model is this.
    pub(super) async fn hand_in(&self, order: &TaskOrder, value: f32) {
        let uploads = Owner::new("uploads/x").unwrap();
        let update = put_bytes(self.blobs.as_ref(), weights(value).into(), &uploads).await.unwrap();
        self.report_done(order, update).await;
    }

    pub(super) async fn report_done(&self, order: &TaskOrder, update: BlobRef) {
        let metrics = Metrics([("sample_num".to_owned(), 1.0)].into());
        let report = TaskReport::Done { key: order.key.clone(), update: Some(update), extra: None, metrics };
        let coordinator = self.coordinators.get(&order.key.job).unwrap();
        coordinator.tell(CoordinatorMsg::Report { client: order.key.client.clone(), report }).await.unwrap();
    }

    /// How many updates the aggregator of this life has judged.
    pub(super) async fn judged(&self) -> u64 {
        let tree = self.root.observe(WAIT).await;
        let tree = serde_json::to_value(tree).unwrap();
        find(&tree, "checked").and_then(Value::as_u64).unwrap_or_else(|| panic!("no aggregator in {tree}"))
    }

    pub(super) async fn tell(&self, msg: CoordinatorMsg) {
        self.coordinators.get(&key()).unwrap().tell(msg).await.unwrap();
    }

    /// Waits for the n-th event of a kind.
    pub(super) async fn event(&self, kind: &str, nth: usize) -> EventRecord {
        let mut newest = self.store.newest_event();
        loop {
            let events = self.store.events(Some(&key()), 0, 1000).await.unwrap();
            if let Some(event) = events.into_iter().filter(|e| e.kind == kind).nth(nth) {
                return event;
            }
            newest.changed().await.unwrap();
        }
    }

    pub(super) async fn away(&self) -> Vec<ClientId> {
        let coordinator = self.coordinators.get(&key()).unwrap();
        coordinator.ask(WAIT, |reply| CoordinatorMsg::View { reply }).await.unwrap().away
    }

    pub(super) fn output(&self, file: &str) -> Vec<u8> {
        let folder = self.folder.path().join("storage/default/out/fl_j_output_V1");
        std::fs::read(folder.join(file)).unwrap()
    }
}

fn job_record(key: JobKey, document: String) -> JobRecord {
    let (author, state, snapshot) = ("ada".into(), JobState::Running, Vec::new());
    JobRecord { key, document, author, state, snapshot, created: Timestamp(0), started: None }
}

fn find<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields.get(field).or_else(|| fields.values().find_map(|value| find(value, field))),
        Value::Array(items) => items.iter().find_map(|value| find(value, field)),
        _ => None,
    }
}

pub(super) const WAIT: Duration = Duration::from_secs(600);

pub(super) fn key() -> JobKey {
    JobKey::new("default".parse().unwrap(), "j".parse().unwrap())
}
