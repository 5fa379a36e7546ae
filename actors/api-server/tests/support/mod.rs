//! A real api-server on loopback, with actors behind it that answer from tables.
#![allow(unreachable_pub, dead_code, reason = "every test file uses its part")]

use nsfl_actor::{Address, ChildSpec, Context, Directory, Failure, Next, Restart, Role, Supervisor, SupervisorSpec};
use nsfl_api_server::{ApiServer, ApiServerArgs, ApiServerMsg, AuditKept, Limits, Tls};
use nsfl_messages::{
    ClientView, CoordinatorMsg, GatewayMsg, JobOperation, JobView, LinkView, LinksView, LiveEvent, SchedulerMsg,
    SelectorMsg,
};
use nsfl_store::memory::{MemoryAccessStore, MemoryJobStore};
use nsfl_telemetry::LogTail;
use nsfl_types::{Code, JobKey, JobSpec, JobState, JobStatus, Refusal, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast;

/// The jobs that the scheduler of these tests knows.
pub type Jobs = Arc<Mutex<BTreeMap<JobKey, JobView>>>;

/// Answers from a table, and not at all for the job `silent`.
pub struct Scheduler(Jobs);

impl Role for Scheduler {
    type Msg = SchedulerMsg;
    type Args = Jobs;
    const KIND: &'static str = "scheduler";

    async fn start(jobs: Jobs, _: &Context<SchedulerMsg>) -> Result<Self, Failure> {
        Ok(Self(jobs))
    }

    async fn handle(&mut self, msg: SchedulerMsg, _: &Context<SchedulerMsg>) -> Result<Next, Failure> {
        let mut jobs = self.0.lock().unwrap();
        let absent = |key: &JobKey| Refusal::new(Code::NotFound, format!("there is no job '{key}'"));
        match msg {
            SchedulerMsg::Create { namespace, document, author, reply } => {
                reply.send(match JobSpec::parse(&document) {
                    Err(e) => Err(Refusal::new(e.code, e.to_string())),
                    Ok((document, spec)) => {
                        let key = JobKey::new(namespace, spec.id);
                        match jobs.contains_key(&key) {
                            true => Err(Refusal::new(Code::JobExists, format!("job '{key}' exists"))),
                            false => {
                                let status = JobStatus { state: JobState::Queuing, reason: String::new(), progress: 0 };
                                let (run, created, started) = (1, Timestamp(1_700_000_000_000), None);
                                let view = JobView {
                                    key: key.clone(),
                                    document,
                                    author,
                                    status,
                                    run,
                                    created,
                                    started,
                                    checkpoints: BTreeMap::new(),
                                };
                                jobs.insert(key, view);
                                Ok(())
                            }
                        }
                    }
                })
            }
            SchedulerMsg::Update { key, reply, .. } => {
                reply.send(jobs.get(&key).map(|_| ()).ok_or_else(|| absent(&key)))
            }
            SchedulerMsg::Operate { key, operation: JobOperation::Delete, reply } => {
                reply.send(jobs.remove(&key).map(|_| ()).ok_or_else(|| absent(&key)));
            }
            SchedulerMsg::Operate { key, operation, reply } => {
                let refused = format!("job '{key}' is QUEUING: {operation:?} is not allowed");
                reply.send(Err(Refusal::new(Code::NotAllowed, refused)));
            }
            SchedulerMsg::Get { key, reply } if key.id.as_str() == "silent" => drop(reply),
            SchedulerMsg::Get { key, reply } => reply.send(jobs.get(&key).cloned().ok_or_else(|| absent(&key))),
            SchedulerMsg::List { namespace, reply } => {
                reply.send(Ok(jobs.values().filter(|job| job.key.namespace == namespace).cloned().collect()));
            }
            _ => {}
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        Value::Null
    }
}

/// Knows the clients it was given.
pub struct Selector(Vec<ClientView>);

impl Role for Selector {
    type Msg = SelectorMsg;
    type Args = Vec<ClientView>;
    const KIND: &'static str = "selector";

    async fn start(clients: Vec<ClientView>, _: &Context<SelectorMsg>) -> Result<Self, Failure> {
        Ok(Self(clients))
    }

    async fn handle(&mut self, msg: SelectorMsg, _: &Context<SelectorMsg>) -> Result<Next, Failure> {
        if let SelectorMsg::List { reply } = msg {
            reply.send(self.0.clone());
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        Value::Null
    }
}

/// Has one link, to `c1`, whose client shows an actor.
pub struct Gateway;

impl Role for Gateway {
    type Msg = GatewayMsg;
    type Args = ();
    const KIND: &'static str = "gateway";

    async fn start((): (), _: &Context<GatewayMsg>) -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn handle(&mut self, msg: GatewayMsg, _: &Context<GatewayMsg>) -> Result<Next, Failure> {
        match msg {
            GatewayMsg::Links { reply } => {
                let link =
                    LinkView { session: 7, connected: true, observable: true, rtt_us: 300, ..LinkView::default() };
                reply.send(LinksView { links: [("c1".parse().unwrap(), link)].into(), ..LinksView::default() });
            }
            GatewayMsg::Observe { client, reply } if client.as_str() == "c1" => {
                let tree = serde_json::json!({"path": "client", "kind": "supervisor", "state": "running", "restarts": 0,
                    "started_at_ms": 0, "mailbox": {"depth": 0, "capacity": 1, "high_water": 0, "waiting": 0, "oldest_ms": 0},
                    "handled": 0, "busy_us": 0, "last_error": null, "detail": null});
                reply.send(Ok(serde_json::from_value(tree).unwrap()));
            }
            GatewayMsg::Observe { client, reply } => {
                reply
                    .send(Err(Refusal::new(Code::NotAddressable, format!("client {client} does not show its actors"))));
            }
            GatewayMsg::Bar { .. } | GatewayMsg::ToClient { .. } => {}
        }
        Ok(Next::Continue)
    }

    fn observe(&self) -> Value {
        Value::Null
    }
}

/// The server under test and what stands behind it.
pub struct Server {
    pub url: String,
    pub jobs: Jobs,
    pub store: Arc<MemoryJobStore>,
    pub access: Arc<MemoryAccessStore>,
    pub logs: LogTail,
    pub coordinators: Directory<JobKey, CoordinatorMsg>,
    pub live: broadcast::Sender<LiveEvent>,
    pub folder: tempfile::TempDir,
    pub api: Address<ApiServerMsg>,
    pub root: Supervisor,
}

/// Limits small enough to be reached.
pub fn limits() -> Limits {
    Limits {
        document_bytes: 2000,
        file_bytes: 300_000,
        answer_within: Duration::from_secs(5),
        keep_alive: Duration::from_secs(60),
    }
}

/// A backup whose reading fails after its first piece.
pub fn broken_backup() -> nsfl_api_server::Backup {
    Arc::new(|| {
        Box::pin(async {
            let (pieces, stream) = tokio::sync::mpsc::channel(2);
            for piece in [Ok("first piece".into()), Err(std::io::Error::other("the disk is gone"))] {
                let _ = pieces.send(piece).await;
            }
            Ok(nsfl_api_server::BackupStream(stream))
        })
    })
}

pub async fn server(clients: Vec<ClientView>, tls: Option<Tls>) -> Server {
    serve(clients, tls, true).await
}

/// One that needs a token, also of this machine.
pub async fn guarded(clients: Vec<ClientView>) -> Server {
    serve(clients, None, false).await
}

async fn serve(clients: Vec<ClientView>, tls: Option<Tls>, open: bool) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, store) = (Jobs::default(), Arc::new(MemoryJobStore::default()));
    let (scheduler, selector) = (Address::new("scheduler", 64), Address::new("selector", 64));
    let (api, coordinators) = (Address::new("api-server", 8), Directory::new());
    let root = Supervisor::unbound("server");
    let (gateway, access) = (Address::new("gateway", 8), Arc::new(MemoryAccessStore::default()));
    let logs = LogTail::new();
    let live = broadcast::channel(16).0;
    let args = ApiServerArgs {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls,
        scheduler: scheduler.clone(),
        selector: selector.clone(),
        coordinators: coordinators.clone(),
        store: Arc::clone(&store) as _,
        live: live.clone(),
        gateway: gateway.clone(),
        root: root.clone(),
        access: Arc::clone(&access) as _,
        audit: AuditKept { age: Duration::from_secs(3600), records: 1000 },
        loopback_without_token: open,
        logs: logs.clone(),
        backup: Arc::new(|| Box::pin(async { Err(Refusal::new(Code::Busy, "another backup is being taken")) })),
        storage: folder.path().to_owned(),
        namespaces: vec!["default".parse().unwrap()],
        limits: limits(),
    };
    let secure = args.tls.is_some();
    let spec = SupervisorSpec::new("server")
        .bind(&root)
        .child(ChildSpec::role::<Scheduler>("scheduler", &scheduler, Arc::clone(&jobs), Restart::Permanent))
        .child(ChildSpec::role::<Selector>("selector", &selector, clients, Restart::Permanent))
        .child(ChildSpec::role::<Gateway>("gateway", &gateway, (), Restart::Permanent))
        .child(ChildSpec::role::<ApiServer>("api-server", &api, args, Restart::Permanent));
    Supervisor::start(spec).await.unwrap();
    let view = api.observe(Duration::from_secs(5)).await.unwrap();
    let scheme = if secure { "https" } else { "http" };
    let url = format!("{scheme}://{}/api/v1", view.detail["address"].as_str().unwrap());
    Server { url, jobs, store, access, logs, coordinators, live, folder, api, root }
}

/// A stream's lines.
pub struct Lines(tokio::sync::mpsc::UnboundedReceiver<String>);

/// One event of a stream.
#[derive(Debug)]
pub struct Sent {
    pub id: Option<String>,
    pub kind: String,
    pub data: Value,
}

impl Lines {
    /// The next event; a stream that is silent for ten seconds is an error.
    pub async fn next(&mut self) -> Sent {
        let mut sent = Sent { id: None, kind: String::new(), data: Value::Null };
        loop {
            let line = tokio::time::timeout(Duration::from_secs(10), self.0.recv()).await;
            let line = line.expect("the stream is silent").expect("the stream ended");
            match line.split_once(": ") {
                Some(("id", id)) => sent.id = Some(id.to_owned()),
                Some(("event", kind)) => sent.kind = kind.to_owned(),
                Some(("data", data)) => sent.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() && !sent.kind.is_empty() => return sent,
                _ => {}
            }
        }
    }

    /// The next event of a kind.
    pub async fn next_of(&mut self, kind: &str) -> Sent {
        loop {
            let sent = self.next().await;
            if sent.kind == kind {
                return sent;
            }
        }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

impl Server {
    /// Asks with headers `name: value` and waits for the whole answer.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        ask(method, &format!("{}{path}", self.url), headers, body.into()).await
    }

    /// The same after its api-server was started again, which takes another port.
    pub async fn found_again(self) -> Self {
        let view = self.api.observe(Duration::from_secs(5)).await.unwrap();
        let url = format!("http://{}/api/v1", view.detail["address"].as_str().unwrap());
        Self { url, ..self }
    }

    /// Asks at the root, not below `/api/v1`.
    pub async fn at_root(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(method, &format!("{}{path}", self.url.trim_end_matches("/api/v1")), headers, Vec::new()).await
    }

    /// The lines of a stream as they come.
    pub async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Lines {
        let mut request = ureq::http::Request::builder().uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let (sender, lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let answer = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent().run(request);
            let reader = std::io::BufReader::new(answer.unwrap().into_body().into_reader());
            for line in std::io::BufRead::lines(reader) {
                if line.is_err() || sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Lines(lines)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }
}

async fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).unwrap();
    tokio::task::spawn_blocking(move || {
        let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
        let answer = config.allow_non_standard_methods(true).build().new_agent().run(request).unwrap();
        let (parts, body) = answer.into_parts();
        let mut bytes = Vec::new();
        body.into_reader().read_to_end(&mut bytes).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes }
    })
    .await
    .unwrap()
}
