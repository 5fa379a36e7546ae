//! A client with a certificate of the federation that keeps to no rule: it speaks the real protocol and says what it
//! likes.

use nsfl_integration::Federation;
use nsfl_messages::wire::{
    self, ClientInfo, EXPORT_REGISTRY, EXPORT_TASKS, RegistryReport, TaskCommand, TaskOrder, TaskReport,
};
use nsfl_store::memory::MemoryBlobStore;
use nsfl_store::{BlobStore as _, Owner};
use nsfl_transport::provision::{Authority, PemPair, Validity};
use nsfl_transport::{
    BlobClient, BlobError, ClientConfig, Credentials, Delivery, Export, Limits, Link, LinkEvent, LinkEvents, Redial,
    connect,
};
use nsfl_types::{BlobRef, Code, Resource, Runtime};
use std::future::Future;
use std::time::{Duration, Instant, SystemTime};
use time::OffsetDateTime;

pub struct Evil {
    pub name: String,
    pub link: Link,
    events: LinkEvents,
    blobs: BlobClient,
    runtime: tokio::runtime::Runtime,
}

/// A guard against hanging, not a measurement.
const SOON: Duration = Duration::from_secs(20);

impl Evil {
    /// A client that is registered like any other.
    pub fn join(federation: &Federation, name: &str) -> Self {
        let mut evil = Self::dial(federation, &pair(federation.authority(), name, 1), federation.authority(), None);
        match evil.next() {
            LinkEvent::Up { .. } => {}
            other => panic!("the link did not come up: {other:?}"),
        }
        evil.send(EXPORT_REGISTRY, wire::encode(&RegistryReport::Register(info(name))));
        evil
    }

    /// Dials with any certificate, perhaps claiming another's name.
    pub fn dial(federation: &Federation, pair: &PemPair, trusts: &Authority, claims: Option<&str>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
        let credentials = Credentials::from_pem(&trusts.pem().certificate, &pair.certificate, &pair.key).unwrap();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let name = credentials.identity().name.to_string();
        let (link, events, blobs) = connect(ClientConfig {
            server: federation.link().unwrap(),
            credentials,
            claimed: claims.map(|name| name.parse().unwrap()),
            incarnation: u64::try_from(since.as_millis()).unwrap(),
            exports: vec![Export { index: EXPORT_TASKS, name: "tasks".into(), version: wire::VERSION }],
            limits: Limits::default(),
            redial: Redial { first: Duration::from_millis(5), max: Duration::from_secs(60) },
        });
        drop(_inside);
        Self { name, link, events, blobs, runtime }
    }

    pub fn next(&mut self) -> LinkEvent {
        let event = self.runtime.block_on(async { tokio::time::timeout(SOON, self.events.recv()).await });
        event.expect("something happens on the link in time").expect("the link is open")
    }

    /// Why the server does not want this client.
    pub fn turned_away(&mut self) -> Code {
        loop {
            if let LinkEvent::Down { reason } = self.next() {
                return reason.code;
            }
        }
    }

    pub fn command(&mut self) -> TaskCommand {
        loop {
            if let LinkEvent::Message(incoming) = self.next() {
                let command = wire::decode(&incoming.payload).unwrap();
                incoming.done();
                return command;
            }
        }
    }

    /// The next task it is given.
    pub fn order(&mut self) -> TaskOrder {
        loop {
            if let TaskCommand::Run(order) = self.command() {
                return *order;
            }
        }
    }

    /// What the server says to its last report.
    pub fn answer(&mut self) -> TaskCommand {
        loop {
            match self.command() {
                TaskCommand::Run(_) => {}
                answer => return answer,
            }
        }
    }

    pub fn send(&self, export: u16, payload: Vec<u8>) {
        self.link.try_send(export, payload.into(), Delivery::AtLeastOnce).unwrap();
    }

    pub fn report(&self, report: &TaskReport) {
        self.send(EXPORT_TASKS, wire::encode(report));
    }

    pub fn put(&self, blob: BlobRef, bytes: Vec<u8>) -> Result<(), BlobError> {
        self.wait(self.blobs.put(blob, bytes.into()))
    }

    pub fn get(&self, blob: BlobRef) -> Result<Vec<u8>, BlobError> {
        let (store, owner) = (MemoryBlobStore::default(), Owner::new("evil").unwrap());
        self.wait(async {
            self.blobs.get(blob, &store, "evil", &owner).await?;
            Ok(store.open(blob.digest).await?.to_vec())
        })
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(SOON, work).await.expect("the transfer ends in time") })
    }
}

/// A certificate for `name` that is valid for so many days from now; from long ago when negative.
pub fn pair(authority: &Authority, name: &str, days: i64) -> PemPair {
    let now = OffsetDateTime::now_utc();
    let from = if days < 0 { now + time::Duration::days(days * 2) } else { now };
    authority.issue_client(&name.parse().unwrap(), Validity::days(from, days.abs())).unwrap()
}

pub fn info(name: &str) -> ClientInfo {
    ClientInfo {
        client: name.parse().unwrap(),
        address: "nowhere".into(),
        os: "none".into(),
        version: "0".into(),
        runtimes: vec![Runtime::Builtin],
        label: String::new(),
        max_tasks: 8,
        resource: Resource { worker_num: 1, cpu: 64.0, gpu: 0.0, memory_mb: 65536.0 },
        datasets: [("digits".to_owned(), 1000)].into(),
    }
}

/// How often the gateway refused something with this code.
pub fn refused(federation: &Federation, code: Code) -> u64 {
    fn find(view: &serde_json::Value) -> Option<&serde_json::Value> {
        if let Some(counts) = view.get("refused").filter(|counts| counts.is_object()) {
            return Some(counts);
        }
        match view {
            serde_json::Value::Object(fields) => fields.values().find_map(find),
            serde_json::Value::Array(items) => items.iter().find_map(find),
            _ => None,
        }
    }
    let actors = federation.rest.get("/actors").unwrap().body;
    find(&actors).and_then(|counts| counts[code.as_str()].as_u64()).unwrap_or(0)
}

/// Waits until the gateway has refused something with this code `times` times.
pub fn wait_refused(federation: &Federation, code: Code, times: u64) {
    let start = Instant::now();
    while refused(federation, code) < times {
        assert!(start.elapsed() < SOON, "{code} was not counted: {}", federation.rest.get("/actors").unwrap().body);
    }
}
