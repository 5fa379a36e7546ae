//! `/metrics`: what this node counts, for Prometheus, in the OpenMetrics text format. Names and labels are in docs/metrics.md.
//! Every label value is one of a fixed few: no job, client or actor can make them grow.

use crate::shared::{App, Shared};
use actix_web::HttpResponse;
use nsfl_actor::{Totals, census};
use nsfl_messages::{GatewayMsg, LinksView};
use nsfl_telemetry::process;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;

const MEDIA: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn get(app: App) -> HttpResponse {
    let mut registry = Registry::with_prefix("nsfl");
    registry.register_collector(Box::new(Figures::read(&app).await));
    let mut body = String::new();
    match text::encode(&mut body, &registry) {
        Ok(()) => HttpResponse::Ok().content_type(MEDIA).body(body),
        Err(error) => {
            tracing::error!(%error, "metrics not written");
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// What is told, read at one moment.
#[derive(Debug)]
struct Figures {
    actors: BTreeMap<&'static str, Totals>,
    clients: BTreeMap<&'static str, u64>,
    jobs: BTreeMap<&'static str, u64>,
    links: LinksView,
    answers: [(&'static str, u64); 4],
    events: u64,
    cpu_seconds: f64,
    memory_bytes: u64,
}

impl Figures {
    /// Roles that do not answer leave zeros: a scrape is no place for an error of one part.
    async fn read(app: &Shared) -> Self {
        let mut clients = BTreeMap::from([("online", 0), ("lost", 0), ("cordoned", 0)]);
        for client in app.clients().await.unwrap_or_default() {
            *clients.entry(if client.state == "online" { "online" } else { "lost" }).or_default() += 1;
            *clients.entry("cordoned").or_default() += u64::from(client.cordoned);
        }
        let mut jobs = BTreeMap::new();
        for namespace in &app.args.namespaces {
            for job in crate::jobs::of(app, namespace.clone()).await.unwrap_or_default() {
                *jobs.entry(job.status.state.as_str()).or_default() += 1;
            }
        }
        Self {
            actors: census(),
            clients,
            jobs,
            links: app.ask(&app.args.gateway, |reply| GatewayMsg::Links { reply }).await.unwrap_or_default(),
            answers: app.served.counts(),
            events: *app.args.store.newest_event().borrow(),
            cpu_seconds: process::cpu_seconds(None).unwrap_or_default(),
            memory_bytes: process::rss_bytes(None).unwrap_or_default(),
        }
    }

    fn of_actors(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kinds = |of: fn(&Totals) -> u64| self.actors.iter().map(move |(kind, totals)| (*kind, of(totals)));
        gauges(out, "actors", "Addresses at which an actor lives or has lived", "kind", kinds(|t| t.actors))?;
        counters(out, "actor_messages", "Inputs handled", "kind", kinds(|t| t.handled))?;
        let busy = self.actors.iter().map(|(kind, totals)| (*kind, totals.busy_us as f64 / 1e6));
        seconds(out, "actor_busy", "Time spent in handlers, waiting inside them included", "kind", busy)?;
        counters(out, "actor_slow_handlers", "Inputs that took over a second", "kind", kinds(|t| t.slow))?;
        counters(out, "actor_restarts", "Restarts by supervisors", "kind", kinds(|t| t.restarts))?;
        counters(out, "actor_dead_letters", "Messages that were never read", "kind", kinds(|t| t.dead_letters))?;
        counters(
            out,
            "actor_rejected_messages",
            "Messages turned away from full mailboxes",
            "kind",
            kinds(|t| t.rejected),
        )?;
        counters(
            out,
            "actor_unanswered_observes",
            "Looks at an actor that it did not answer in time",
            "kind",
            kinds(|t| t.unanswered),
        )
    }

    fn of_links(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let links = &self.links;
        let connected = links.links.values().filter(|link| link.connected).count() as u64;
        gauge(out, "links_connected", "Clients whose link has a connection", connected)?;
        let slowest = links.links.values().map(|link| link.rtt_us).max().unwrap_or_default();
        let help = "The longest of the links' last round trips";
        let one = out.encode_descriptor("link_round_trip_longest", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(slowest as f64 / 1e6).encode(one)?;
        let moved = [("read", links.bytes_read), ("written", links.bytes_written)];
        let help = "Bytes of models read and of results written by clients";
        let mut family = out.encode_descriptor("blob_bytes", help, None, MetricType::Counter)?;
        for (direction, bytes) in moved {
            ConstCounter::new(bytes).encode(family.encode_family(&[("direction", direction)])?)?;
        }
        let refused = links.refused.iter().map(|(code, count)| (code.as_str(), *count));
        counters(out, "link_refused", "Peers and messages of clients turned away", "code", refused)?;
        let dropped =
            out.encode_descriptor("link_dropped_commands", "Commands without a link", None, MetricType::Counter)?;
        ConstCounter::new(links.dropped).encode(dropped)?;
        gauge(out, "uploads_in_flight", "Results being written", links.uploads)?;
        gauge(out, "uploads_waiting", "Results that wait for their turn", links.uploads_waiting)
    }
}

impl Collector for Figures {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let mut build = out.encode_descriptor("build", "The version that runs", None, MetricType::Info)?;
        build.encode_info(&version)?;
        let cpu = out.encode_descriptor("process_cpu", "CPU time", Some(&Unit::Seconds), MetricType::Counter)?;
        ConstCounter::new(self.cpu_seconds).encode(cpu)?;
        let help = "Memory in RAM";
        let memory = out.encode_descriptor("process_resident_memory", help, Some(&Unit::Bytes), MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(self.memory_bytes).unwrap_or(i64::MAX)).encode(memory)?;
        gauges(out, "clients", "Registered clients; one may be in two states", "state", self.clients.iter().map(pair))?;
        gauges(out, "jobs", "Jobs", "state", self.jobs.iter().map(pair))?;
        let events =
            out.encode_descriptor("events", "Events recorded, since the database was made", None, MetricType::Counter)?;
        ConstCounter::new(self.events).encode(events)?;
        counters(out, "http_answers", "Answers of the REST interface", "class", self.answers.into_iter())?;
        self.of_actors(out)?;
        self.of_links(out)
    }
}

fn pair((name, count): (&&'static str, &u64)) -> (&'static str, u64) {
    (*name, *count)
}

fn counters<'a>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: impl Iterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in values {
        ConstCounter::new(count).encode(family.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}

fn seconds<'a>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: impl Iterator<Item = (&'a str, f64)>,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?;
    for (value, count) in values {
        ConstCounter::new(count).encode(family.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}

fn gauges<'a>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: impl Iterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (value, count) in values {
        ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX)).encode(family.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let one = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(one)
}
