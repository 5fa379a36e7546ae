//! The scheduler with a real supervisor and store; a selector and a starter that the test holds in its hands.

use super::*;
use nsfl_actor::{ChildSpec, Reply, Restart, Supervisor, SupervisorSpec};
use nsfl_messages::{Cohort, JobOperation, JobRun, JobView, RunEvent};
use nsfl_store::memory::{MemoryBlobStore, MemoryJobStore};
use nsfl_types::{Code, JobKey, JobState, Refusal};
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use tokio::sync::watch;

/// A selector that knows as many clients as the test says.
struct Clients(watch::Receiver<usize>);

impl Role for Clients {
    type Msg = SelectorMsg;
    type Args = watch::Receiver<usize>;
    const KIND: &'static str = "selector";

    async fn start(args: Self::Args, _: &Context<SelectorMsg>) -> Result<Self, Failure> {
        Ok(Self(args))
    }

    async fn handle(&mut self, msg: SelectorMsg, _: &Context<SelectorMsg>) -> Result<Next, Failure> {
        if let SelectorMsg::Select { request, reply } = msg {
            let there = (*self.0.borrow()).min(request.count as usize);
            let clients = (0..there).map(|i| format!("c{i}").parse().unwrap()).collect();
            reply.send(Cohort { clients, left_out: vec![("c9".parse().unwrap(), "lacks data set 'x'".into())] });
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        Value::Null
    }
}

/// Says what the scheduler asked for, oldest first.
#[derive(Default)]
struct Calls(Mutex<Vec<String>>);

impl Calls {
    fn note(&self, call: String) {
        self.0.lock().unwrap().push(call);
    }
}

impl Starter for Calls {
    fn start(&self, run: JobRun) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + '_>> {
        self.note(format!("start {} {}", run.key.id, run.run));
        Box::pin(async { Ok(()) })
    }

    fn end<'a>(&'a self, key: &'a JobKey) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.note(format!("end {}", key.id));
        Box::pin(async {})
    }

    fn stop_run<'a>(&'a self, key: &'a JobKey, run: u32) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        self.note(format!("stop {} {run}", key.id));
        Box::pin(async { true })
    }
}

struct World {
    scheduler: Address<SchedulerMsg>,
    store: Arc<MemoryJobStore>,
    calls: Arc<Calls>,
    clients: watch::Sender<usize>,
    tree: Supervisor,
    args: SchedulerArgs,
}

const WAIT: Duration = Duration::from_secs(600);

impl World {
    async fn new(clients: usize) -> Self {
        let (clients, there) = watch::channel(clients);
        let selector = Address::new("selector", 64);
        let scheduler = Address::new("scheduler", 64);
        let store = Arc::new(MemoryJobStore::default());
        let calls = Arc::new(Calls::default());
        let args = SchedulerArgs {
            store: store.clone(),
            blobs: Arc::new(MemoryBlobStore::default()),
            selector: selector.clone(),
            starter: calls.clone(),
            namespaces: vec!["default".parse().unwrap()],
            rules: Rules::default(),
            storage: PathBuf::from("/nonexistent"),
            max_running: 1,
        };
        let spec = SupervisorSpec::new("test")
            .child(ChildSpec::role::<Clients>("selector", &selector, there, Restart::Permanent))
            .child(ChildSpec::role::<Scheduler>("scheduler", &scheduler, args.clone(), Restart::Permanent));
        let tree = Supervisor::start(spec).await.unwrap();
        Self { scheduler, store, calls, clients, tree, args }
    }

    async fn create(&self, document: Value) -> Result<(), Refusal> {
        let namespace = "default".parse().unwrap();
        let document = document.to_string().into_bytes();
        let author = "ada".to_owned();
        self.scheduler.ask(WAIT, |reply| SchedulerMsg::Create { namespace, document, author, reply }).await.unwrap()
    }

    async fn operate(&self, id: &str, operation: JobOperation) -> Result<(), Refusal> {
        let key = key(id);
        self.scheduler.ask(WAIT, |reply| SchedulerMsg::Operate { key, operation, reply }).await.unwrap()
    }

    async fn get(&self, id: &str) -> Result<JobView, Refusal> {
        let key = key(id);
        self.scheduler.ask(WAIT, |reply: Reply<_>| SchedulerMsg::Get { key, reply }).await.unwrap()
    }

    async fn run_event(&self, id: &str, run: u32, event: RunEvent) {
        self.scheduler.tell(SchedulerMsg::Run { key: key(id), run, event }).await.unwrap();
    }

    /// Waits, by the store's own sign, until the job is in this state.
    async fn until(&self, id: &str, state: JobState) -> JobView {
        let mut newest = self.store.newest_event();
        loop {
            let view = self.get(id).await.unwrap();
            if view.status.state == state {
                return view;
            }
            newest.changed().await.unwrap();
        }
    }

    fn calls(&self) -> Vec<String> {
        self.calls.0.lock().unwrap().clone()
    }
}

fn key(id: &str) -> JobKey {
    JobKey::new("default".parse().unwrap(), id.parse().unwrap())
}

fn document(id: &str) -> Value {
    json!({"id": id, "runtime": "builtin", "task_entry": "echo", "output": "out",
           "hyper_parameters": {"client_num": 2}})
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_its_clients_and_says_whom_it_lacks() {
    let world = World::new(1).await;
    world.create(document("j")).await.unwrap();
    let view = world.until("j", JobState::Pending).await;
    assert_eq!(view.status.reason, "waiting for clients: 1 of 2 are there (c9: lacks data set 'x')");
    world.clients.send_replace(2);
    world.scheduler.tell(SchedulerMsg::ClientsChanged).await.unwrap();
    world.until("j", JobState::Starting).await;
    world.run_event("j", 1, RunEvent::Started).await;
    world.run_event("j", 1, RunEvent::Progress { done: 5, total: 10 }).await;
    assert_eq!(world.until("j", JobState::Running).await.status.progress, 50);
    world.run_event("j", 1, RunEvent::Finished).await;
    assert_eq!(world.until("j", JobState::Finished).await.status.progress, 100);
    assert_eq!(world.calls(), ["start j 1", "end j"]);
}

#[tokio::test(start_paused = true)]
async fn with_one_slot_the_higher_priority_goes_first_and_the_other_follows() {
    let world = World::new(0).await;
    world.create(document("low")).await.unwrap();
    let mut high = document("high");
    high["priority"] = json!(5);
    world.create(high).await.unwrap();
    world.clients.send_replace(2);
    world.until("high", JobState::Starting).await;
    assert!(matches!(world.get("low").await.unwrap().status.state, JobState::Queuing | JobState::Pending));
    world.run_event("high", 1, RunEvent::Finished).await;
    world.until("low", JobState::Starting).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_scheduler_starts_the_coordinators_of_running_jobs_again() {
    let world = World::new(2).await;
    world.create(document("j")).await.unwrap();
    world.until("j", JobState::Starting).await;
    world.run_event("j", 1, RunEvent::Started).await;
    world.until("j", JobState::Running).await;
    world.tree.restart_child("scheduler").await.unwrap();
    assert_eq!(world.get("j").await.unwrap().status.state, JobState::Running);
    assert_eq!(world.calls(), ["start j 1", "start j 1"]);
    assert_eq!(world.args.max_running, 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_state_does_not_allow_is_refused_and_changes_nothing() {
    let world = World::new(2).await;
    world.create(document("j")).await.unwrap();
    world.until("j", JobState::Starting).await;
    let refused = world.operate("j", JobOperation::Start).await.unwrap_err();
    assert_eq!(refused.code, Code::NotAllowed);
    assert!(refused.reason.contains("job default/j is STARTING"), "{refused}");
    assert_eq!(world.create(document("j")).await.unwrap_err().code, Code::JobExists);
    assert_eq!(world.operate("none", JobOperation::Stop).await.unwrap_err().code, Code::NotFound);
    world.operate("none", JobOperation::Delete).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stopped_job_waits_for_its_coordinator_and_a_deleted_one_leaves_nothing() {
    let world = World::new(2).await;
    world.create(document("j")).await.unwrap();
    world.until("j", JobState::Starting).await;
    world.operate("j", JobOperation::Stop).await.unwrap();
    assert_eq!(world.get("j").await.unwrap().status.state, JobState::Stopping);
    world.run_event("j", 1, RunEvent::Stopped).await;
    world.until("j", JobState::Stopped).await;
    world.operate("j", JobOperation::Start).await.unwrap();
    assert_eq!(world.until("j", JobState::Starting).await.run, 2);
    world.operate("j", JobOperation::Delete).await.unwrap();
    world.run_event("j", 2, RunEvent::Stopped).await;
    while world.get("j").await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(world.store.jobs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_given_up_has_failed_with_the_cause_chain_and_the_next_run_does_not_notice() {
    let world = World::new(2).await;
    world.create(document("j")).await.unwrap();
    world.until("j", JobState::Starting).await;
    let given_up = RunEvent::Failed { code: Code::Internal, reason: "aggregator: panicked: boom".to_owned() };
    world.run_event("j", 1, given_up.clone()).await;
    let view = world.until("j", JobState::Failed).await;
    assert!(view.status.reason.contains("panicked: boom"), "{}", view.status.reason);
    world.operate("j", JobOperation::Start).await.unwrap();
    world.until("j", JobState::Starting).await;
    world.run_event("j", 1, given_up).await;
    world.run_event("j", 2, RunEvent::Started).await;
    world.until("j", JobState::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_not_in_storage_is_refused_at_submit() {
    let world = World::new(2).await;
    let mut job = document("j");
    job["model_path"] = json!("models/missing.safetensors");
    let refused = world.create(job).await.unwrap_err();
    assert_eq!(refused.code, Code::BadDocument);
    assert!(refused.reason.contains("model_path: 'models/missing.safetensors'"), "{refused}");
}

#[tokio::test]
async fn a_job_whose_rule_or_parameter_is_not_to_be_had_is_refused_by_the_field_at_submit_and_at_update() {
    let world = World::new(0).await;
    let with = |aggregator: Value| {
        let mut document = document("a");
        document["hyper_parameters"] = json!({"client_num": 5, "threshold_client_num": 5});
        document["aggregator"] = aggregator;
        document
    };
    let krum = |f: i64| json!({"name": "krum", "params": {"f": f}});
    for (aggregator, field) in [
        (json!({"name": "meen"}), "job document: aggregator.name: 'meen' is unknown"),
        (krum(-1), "job document: aggregator.params.f: -1 is out of range"),
        (krum(2), "job document: hyper_parameters.client_num: is 5 updates for a round; krum needs at least 7"),
        (json!({"name": "median", "params": {"tau": 1}}), "job document: aggregator.params.tau: is unknown"),
    ] {
        let refusal = world.create(with(aggregator)).await.unwrap_err();
        assert_eq!(refusal.code, Code::BadDocument);
        assert!(refusal.reason.starts_with(field), "{}", refusal.reason);
    }
    world.create(with(krum(1))).await.unwrap();
    let (key, document) = (key("a"), with(krum(2)).to_string().into_bytes());
    let author = "ada".to_owned();
    let update = |reply| SchedulerMsg::Update { key, document, author, reply };
    let refusal = world.scheduler.ask(WAIT, update).await.unwrap().unwrap_err();
    assert!(refusal.reason.contains("hyper_parameters.client_num"), "{}", refusal.reason);
}
