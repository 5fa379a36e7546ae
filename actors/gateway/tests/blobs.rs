//! What the gateway promises about blobs: who reads and writes what, and when an upload is let go.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod world;

use nsfl_messages::wire::{EXPORT_TASKS, TaskCommand, TaskReport};
use nsfl_store::memory::MemoryBlobStore;
use nsfl_store::{BlobStore as _, Owner};
use nsfl_types::{BlobRef, Code, Metrics};
use std::time::Duration;
use world::{Client, MAX_UPDATE, key, run, soon, world};

/// Tries to fetch a blob; the refusal's code when refused.
async fn get(client: &Client, blob: BlobRef) -> Result<(), Code> {
    let (store, owner) = (MemoryBlobStore::default(), Owner::new("me").unwrap());
    soon("an answer", client.blobs.get(blob, &store, "me", &owner)).await.map_err(|error| error.code())
}

async fn put(client: &Client, bytes: &'static [u8]) -> Result<BlobRef, Code> {
    let blob = BlobRef::of(bytes);
    soon("an answer", client.blobs.put(blob, bytes.into())).await.map_err(|error| error.code())?;
    Ok(blob)
}

#[tokio::test]
async fn a_client_reads_what_its_open_task_starts_from_and_nothing_else() {
    let world = world().await;
    let (base, other) = (world.put(b"the model").await, world.put(b"another model").await);
    let (mut one, two) = (world.client("one").await, world.client("two").await);
    assert_eq!(get(&one, base).await, Err(Code::BlobRefused));
    world.to_client("one", run(key("j", "one", 1), base)).await;
    one.command().await;
    assert_eq!(get(&one, base).await, Ok(()));
    assert_eq!(get(&one, other).await, Err(Code::BlobRefused));
    assert_eq!(get(&two, base).await, Err(Code::BlobRefused));
    world.to_client("one", TaskCommand::Ack { key: key("j", "one", 1) }).await;
    one.command().await;
    assert_eq!(get(&one, base).await, Err(Code::BlobRefused));
    let view = world.view().await;
    assert_eq!((&view["refused"]["blob-refused"], &view["bytes_read"]), (&4.into(), &9.into()));
}

#[tokio::test]
async fn an_upload_needs_an_open_task_and_is_let_go_with_the_servers_last_word_on_it() {
    let world = world().await;
    let base = world.put(b"the model").await;
    let mut client = world.client("c1").await;
    assert_eq!(put(&client, b"too early").await, Err(Code::BlobRefused));
    let (first, second) = (key("j", "c1", 1), key("j", "c1", 2));
    for task in [&first, &second] {
        world.to_client("c1", run(task.clone(), base)).await;
        client.command().await;
    }
    let large = BlobRef { len: MAX_UPDATE + 1, ..BlobRef::of(b"large") };
    let refused = client.blobs.put(large, vec![0; large.len as usize].into()).await;
    assert_eq!(refused.unwrap_err().code(), Code::TooLarge);

    let mut notes = world.job("j").await;
    let update = put(&client, b"the update").await.unwrap();
    let done = TaskReport::Done { key: first.clone(), update: Some(update), extra: None, metrics: Metrics::default() };
    client.send(EXPORT_TASKS, &done);
    soon("the report", notes.recv()).await.unwrap();
    world.blobs.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(world.blobs.stat(update.digest).await.unwrap(), Some(update.len), "uploads/c1 owns it");
    world.to_client("c1", TaskCommand::Ack { key: first }).await;
    client.command().await;
    world.blobs.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(world.blobs.stat(update.digest).await.unwrap(), None, "nobody owns it");
    assert_eq!(world.view().await["uploads"], 0);
}

#[tokio::test]
async fn what_a_client_may_do_outlives_its_link_and_the_gateways_life() {
    let world = world().await;
    let base = world.put(b"the model").await;
    world.to_client("c1", run(key("j", "c1", 1), base)).await;
    let client = world.client("c1").await;
    assert_eq!(get(&client, base).await, Ok(()));
    assert!(put(&client, b"the update").await.is_ok());
}

#[tokio::test]
async fn what_a_client_left_behind_is_let_go_when_it_has_nothing_and_owes_nothing() {
    let world = world().await;
    let owner = Owner::new("uploads/c1").unwrap();
    let left = nsfl_store::put_bytes(world.blobs.as_ref(), b"left".as_slice().into(), &owner).await.unwrap();
    let mut notes = world.job("j").await;
    let client = world.client("c1").await;
    client.send(EXPORT_TASKS, &TaskReport::Inventory { tasks: vec![key("j", "c1", 1)] });
    soon("the inventory", notes.recv()).await.unwrap();
    world.blobs.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(world.blobs.stat(left.digest).await.unwrap(), Some(4), "it may be that task's");
    client.send(EXPORT_TASKS, &TaskReport::Inventory { tasks: vec![] });
    soon("the inventory", notes.recv()).await.unwrap();
    world.blobs.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(world.blobs.stat(left.digest).await.unwrap(), None);
}
