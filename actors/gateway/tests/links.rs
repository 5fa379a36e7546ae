//! What the gateway promises about messages: to whom they go, and whose they must be.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod world;

use nsfl_messages::wire::{
    ClientInfo, ClientLoad, EXPORT_REGISTRY, EXPORT_TASKS, RegistryReport, TaskCommand, TaskReport,
};
use nsfl_messages::{CoordinatorMsg, SelectorMsg};
use nsfl_transport::{Delivery, LinkEvent, Refusal};
use nsfl_types::{BlobRef, Code, Metrics, Resource, Runtime, TaskKey};
use tokio::sync::mpsc::UnboundedReceiver;
use world::{Client, key, run, soon, world};

fn info(client: &str) -> ClientInfo {
    ClientInfo {
        client: client.parse().unwrap(),
        address: "here".into(),
        os: "linux".into(),
        version: "0".into(),
        runtimes: vec![Runtime::Builtin],
        label: String::new(),
        max_tasks: 1,
        resource: Resource { worker_num: 1, cpu: 1.0, gpu: 0.0, memory_mb: 1.0 },
        datasets: [].into(),
    }
}

fn done(key: TaskKey) -> TaskReport {
    TaskReport::Done { key, update: None, extra: None, metrics: Metrics::default() }
}

async fn report(notes: &mut UnboundedReceiver<CoordinatorMsg>) -> (String, TaskReport) {
    match soon("a report", notes.recv()).await {
        Some(CoordinatorMsg::Report { client, report }) => (client.to_string(), report),
        other => panic!("{other:?}"),
    }
}

fn refused(code: Code, times: u64) -> impl Fn(&serde_json::Value) -> bool {
    move |view| view["refused"][code.as_str()] == times
}

#[tokio::test]
async fn registration_heartbeat_and_loss_reach_the_selector_with_the_sessions_number() {
    let mut world = world().await;
    let client = world.client("c1").await;
    client.send(EXPORT_REGISTRY, &RegistryReport::Register(info("c1")));
    client.send(EXPORT_REGISTRY, &RegistryReport::Heartbeat(ClientLoad { current_tasks: 3 }));
    let Some(SelectorMsg::Register { info, session }) = soon("registration", world.selector.recv()).await else {
        panic!()
    };
    assert_eq!((info.client.as_str(), session), ("c1", 1));
    let again = soon("registration", world.selector.recv()).await;
    assert!(matches!(again, Some(SelectorMsg::Register { session: 1, .. })), "with each heartbeat: {again:?}");
    let beat = soon("heartbeat", world.selector.recv()).await.unwrap();
    assert!(matches!(beat, SelectorMsg::Heartbeat { session: 1, load: ClientLoad { current_tasks: 3 }, .. }));
    client.link.close(&Refusal::new(Code::LinkLost, "goes home"));
    let lost = soon("loss", world.selector.recv()).await.unwrap();
    assert!(matches!(lost, SelectorMsg::Lost { session: 1, .. }), "{lost:?}");
    world.until("the session's end", |view| view["sessions"] == 0).await;
}

#[tokio::test]
async fn a_selector_that_has_forgotten_a_client_is_told_again() {
    let mut world = world().await;
    let client = world.client("c1").await;
    client.send(EXPORT_REGISTRY, &RegistryReport::Register(info("c1")));
    client.send(EXPORT_REGISTRY, &RegistryReport::Heartbeat(ClientLoad::default()));
    let mut registrations = 0;
    while registrations < 2 {
        let told = soon("registration", world.selector.recv()).await.unwrap();
        registrations += u32::from(matches!(told, SelectorMsg::Register { session: 1, .. }));
    }
}

#[tokio::test]
async fn a_client_speaks_for_itself_only() {
    let mut world = world().await;
    let mut notes = world.job("j").await;
    let client = world.client("c1").await;
    client.send(EXPORT_TASKS, &done(key("j", "c2", 1)));
    client.send(EXPORT_TASKS, &TaskReport::Inventory { tasks: vec![key("j", "c1", 1), key("j", "c2", 1)] });
    client.send(EXPORT_REGISTRY, &RegistryReport::Register(info("c2")));
    world.until("three refusals", refused(Code::WrongIdentity, 3)).await;
    client.send(EXPORT_TASKS, &done(key("j", "c1", 1)));
    assert_eq!(report(&mut notes).await, ("c1".into(), done(key("j", "c1", 1))), "nothing came before it");
    assert!(world.selector.try_recv().is_err());
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_harms_nobody() {
    let world = world().await;
    let mut notes = world.job("j").await;
    let client = world.client("c1").await;
    client.link.try_send(EXPORT_TASKS, b"\x01\xff\xff\xff".as_slice().into(), Delivery::AtLeastOnce).unwrap();
    client.link.try_send(EXPORT_REGISTRY, b"".as_slice().into(), Delivery::AtLeastOnce).unwrap();
    client.send(EXPORT_TASKS, &done(key("j", "c1", 1)));
    assert_eq!(report(&mut notes).await.1, done(key("j", "c1", 1)));
    assert!(refused(Code::BadFrame, 2)(&world.view().await));
}

#[tokio::test]
async fn an_inventory_is_split_by_job_and_every_coordinator_learns_that_the_client_is_there() {
    let world = world().await;
    let (mut one, mut other) = (world.job("one").await, world.job("other").await);
    let mut client = world.client("c1").await;
    let tasks = vec![key("one", "c1", 1), key("gone", "c1", 7), key("one", "c1", 2)];
    client.send(EXPORT_TASKS, &TaskReport::Inventory { tasks });
    let mine = TaskReport::Inventory { tasks: vec![key("one", "c1", 1), key("one", "c1", 2)] };
    assert_eq!(report(&mut one).await, ("c1".into(), mine));
    assert_eq!(report(&mut other).await.1, TaskReport::Inventory { tasks: vec![] });
    let reason = "job default/gone is not running".to_owned();
    let refuse = TaskCommand::Refuse { key: key("gone", "c1", 7), code: Code::Stale, reason };
    assert_eq!(client.command().await, refuse);
    client.send(EXPORT_TASKS, &done(key("gone", "c1", 7)));
    assert_eq!(client.command().await, refuse);
}

#[tokio::test]
async fn a_command_goes_to_its_client_or_is_dropped_and_counted() {
    let world = world().await;
    let base = BlobRef::of(b"model");
    let mut client = world.client("c1").await;
    world.to_client("c2", run(key("j", "c2", 1), base)).await;
    world.to_client("c1", run(key("j", "c1", 1), base)).await;
    assert_eq!(client.command().await, run(key("j", "c1", 1), base));
    assert_eq!(world.view().await["dropped"], 1);
}

#[tokio::test]
async fn a_newer_session_of_a_client_replaces_the_older_one() {
    let mut world = world().await;
    let older = world.client("c1").await;
    older.send(EXPORT_REGISTRY, &RegistryReport::Register(info("c1")));
    assert!(matches!(soon("1", world.selector.recv()).await, Some(SelectorMsg::Register { session: 1, .. })));
    // another process with the same certificate, started later
    let mut newer: Client = world.client("c1").await;
    newer.send(EXPORT_REGISTRY, &RegistryReport::Register(info("c1")));
    let mut seen = Vec::new();
    while !matches!(seen.last(), Some(SelectorMsg::Register { .. })) {
        seen.push(soon("the newer session", world.selector.recv()).await.unwrap());
    }
    assert!(matches!(seen.last(), Some(SelectorMsg::Register { session: 2.., .. })), "{seen:?}");
    drop(older);
    world.to_client("c1", TaskCommand::Cancel { key: key("j", "c1", 1) }).await;
    assert_eq!(newer.command().await, TaskCommand::Cancel { key: key("j", "c1", 1) });
    assert_eq!(world.view().await["sessions"], 1);
}

#[tokio::test]
async fn after_the_gateway_has_failed_its_clients_come_back() {
    let world = world().await;
    let mut client = world.client("c1").await;
    // the port is another one, so this client stays away; a new one dials it
    let mut local = world.config.local.subscribe();
    local.mark_unchanged();
    world.tree.restart_child("gateway").await.unwrap();
    let at = soon("a new address", local.wait_for(Option::is_some)).await.unwrap().unwrap();
    loop {
        match soon("the end of the old session", client.events.recv()).await {
            Some(LinkEvent::Down { .. } | LinkEvent::Unreachable) | None => break,
            Some(_) => {}
        }
    }
    let world = world::World { at, ..world };
    let mut client = world.client("c1").await;
    world.to_client("c1", TaskCommand::Cancel { key: key("j", "c1", 1) }).await;
    client.command().await;
}

#[tokio::test]
async fn an_address_in_use_is_named_when_the_gateway_cannot_start() {
    let world = world().await;
    let mut config = world.config.clone();
    config.server.listen = world.at;
    let spec = nsfl_gateway::gateway_tree(config, &nsfl_actor::Address::new("second", 8));
    let failure = nsfl_actor::Supervisor::start(spec).await.unwrap_err();
    let text = failure.to_string();
    assert!(text.contains(&world.at.to_string()) && text.to_lowercase().contains("in use"), "{text}");
}
