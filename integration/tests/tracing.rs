//! Spans of rounds: what three real processes send to a collector is one trace of each round, from submission to checkpoint.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, Signal, digits_job, until};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A span and the process that sent it.
#[derive(Clone)]
struct Told {
    by: String,
    span: Span,
}

/// Takes OTLP over HTTP on loopback and keeps what it was told.
struct Collector {
    address: String,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let kept = Arc::clone(&told);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || answer(stream, &kept));
            }
        });
        Self { address, told }
    }

    fn config(&self) -> String {
        format!("telemetry.otlp = {{ endpoint = {:?}, interval_ms = 50 }}\n", self.address)
    }

    /// What is known of one trace, once there is an answer.
    fn trace<T>(&self, what: &str, id: &str, look: impl Fn(&Trace) -> Option<T>) -> (Trace, T) {
        until(what, || {
            let told = self.told.lock().unwrap().clone();
            let trace = Trace(told.into_iter().filter(|told| hex(&told.span.trace_id) == id).collect());
            look(&trace).map(|found| (trace, found))
        })
    }
}

/// Requests of one connection, one after the other.
fn answer(stream: TcpStream, kept: &Mutex<Vec<Told>>) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_ascii_lowercase());
        }
        assert!(head[0].starts_with("post /v1/traces "), "{head:?}");
        assert!(head.iter().any(|line| line == "content-type: application/x-protobuf"), "{head:?}");
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        for resource in request.resource_spans {
            let about = resource.resource.unwrap().attributes;
            let text = |key: &str| {
                let value = about.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone()?.value);
                if let Some(Any::StringValue(text)) = value { text } else { panic!("no {key}") }
            };
            let by = format!("{} {}", text("service.name"), text("service.instance.id"));
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            kept.lock().unwrap().extend(spans.map(|span| Told { by: by.clone(), span }));
        }
        let body = ExportTraceServiceResponse::default().encode_to_vec();
        write!(
            writer,
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .unwrap();
        writer.write_all(&body).unwrap();
    }
}

/// The spans of one trace.
struct Trace(Vec<Told>);

impl Trace {
    fn named(&self, name: &str) -> Vec<&Told> {
        self.0.iter().filter(|told| told.span.name == name).collect()
    }

    fn one(&self, name: &str) -> Option<&Told> {
        self.named(name).first().copied()
    }

    /// Name and sender of each span from this one up to the root.
    fn way_up(&self, from: &Told) -> Vec<String> {
        let (mut way, mut at) = (Vec::new(), Some(from));
        while let Some(told) = at {
            way.push(format!("{} {}", told.by, told.span.name));
            assert!(way.len() < 20, "a circle: {way:?}");
            let parent = &told.span.parent_span_id;
            at = self.0.iter().find(|other| &other.span.span_id == parent);
            assert!(at.is_some() || parent.is_empty(), "the parent of {} was not told", told.span.name);
        }
        way
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn nodes(collector: &Collector) -> Options {
    let client_extra = (1..=2).map(|number| (number, collector.config())).collect();
    Options { server_extra: collector.config(), client_extra, ..Options::default() }
}

fn trace_of(job: &str, round: u32) -> String {
    let key = nsfl_types::JobKey::new("default".parse().unwrap(), job.parse().unwrap());
    nsfl_telemetry::TraceContext::of_round(&key, 1, round).trace_id()
}

#[test]
fn one_trace_goes_from_the_submission_over_every_node_to_the_checkpoint() {
    let collector = Collector::start();
    let federation = Federation::start(&nodes(&collector)).unwrap();
    let mut job = digits_job("traced", 2, 2);
    job["hyper_parameters"]["evaluate_interval"] = 1.into();
    job["hyper_parameters"]["save_interval"] = 1.into();
    federation.submit(&job).unwrap();
    federation.model("traced").unwrap();

    let (first, id) = (trace_of("traced", 1), |told: &Told| hex(&told.span.trace_id));
    let whole = |trace: &Trace| {
        let count = |name: &str| trace.named(name).len();
        let ended = (count("round"), count("schedule"), count("submit"), count("work"), count("upload"));
        (ended == (1, 1, 1, 4, 2)).then_some(())
    };
    let (trace, ()) = collector.trace("the first round", &first, whole);
    let names: BTreeSet<&str> = trace.0.iter().map(|told| told.span.name.as_str()).collect();
    let known = [
        "accept",
        "aggregate",
        "checkpoint",
        "delta",
        "download",
        "evaluate",
        "round",
        "schedule",
        "select",
        "submit",
        "task",
        "train",
        "trainer",
        "upload",
        "work",
    ];
    assert_eq!(names, BTreeSet::from(known));
    let senders: BTreeSet<&str> = trace.0.iter().map(|told| told.by.as_str()).collect();
    assert_eq!(senders, BTreeSet::from(["nsfl-client c1", "nsfl-client c2", "nsfl-server server"]));
    for told in &trace.0 {
        let way = trace.way_up(told);
        assert_eq!(way.last().unwrap(), "nsfl-server server submit", "{way:?}");
        assert_eq!(told.span.status.as_ref().map(|status| status.code), Some(1), "{}", told.span.name);
        assert!(told.span.end_time_unix_nano >= told.span.start_time_unix_nano);
    }
    let upload = trace.named("upload").into_iter().find(|told| told.by.ends_with("c1")).unwrap();
    let way: Vec<String> =
        trace.way_up(upload).iter().map(|step| step.rsplit(' ').next().unwrap().to_owned()).collect();
    assert_eq!(way, ["upload", "work", "task", "train", "round", "submit"]);
    let ids: BTreeMap<&[u8], &str> =
        trace.0.iter().map(|told| (&told.span.span_id[..], told.span.name.as_str())).collect();
    assert_eq!(ids.len(), trace.0.len(), "each span has an id of its own");

    let second = |trace: &Trace| trace.one("round").is_some().then_some(());
    let (later, ()) = collector.trace("the second round", &trace_of("traced", 2), second);
    let (round, submit) = (later.one("round").unwrap(), trace.one("submit").unwrap());
    let links: Vec<_> = round.span.links.iter().map(|link| (&link.trace_id, &link.span_id)).collect();
    assert_eq!((links, id(submit)), (vec![(&submit.span.trace_id, &submit.span.span_id)], first));
}

#[test]
fn a_round_goes_on_in_its_trace_after_the_server_was_killed() {
    let collector = Collector::start();
    let mut federation = Federation::start(&nodes(&collector)).unwrap();
    until("both clients", || {
        (federation.rest.get("/clients").unwrap().body["clients"].as_array()?.len() == 2).then_some(())
    });
    // without it the round does not end
    federation.clients[1].signal(Signal::Stop).unwrap();
    federation.submit(&digits_job("goes-on", 2, 1)).unwrap();
    federation.rest.wait_for("goes-on", |event| event.kind == "round-opened").unwrap();
    federation.server.kill().unwrap();
    federation.restart_server().unwrap();
    federation.clients[1].signal(Signal::Continue).unwrap();
    federation.model("goes-on").unwrap();
    let over = |trace: &Trace| {
        let work = trace.named("work").len();
        (trace.one("round").is_some() && work >= 2).then_some(())
    };
    let (trace, ()) = collector.trace("the round", &trace_of("goes-on", 1), over);
    let round = trace.one("round").unwrap();
    let task = trace.named("task").into_iter().map(|told| told.span.start_time_unix_nano).min().unwrap();
    assert!(round.span.start_time_unix_nano <= task, "it began in the server's life before");
}
