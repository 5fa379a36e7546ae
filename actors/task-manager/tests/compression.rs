//! What a client promises of compression: the model is whole before a trainer sees it, the update is the change of what it
//! got, and what an update lost goes into the next one exactly once, whatever happens to the update.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod world;

use nsfl_compress::{Compressed, Part, Task, compress, decompress};
use nsfl_messages::wire::{Compression, TaskCommand, TaskOrder, TaskReport};
use nsfl_store::{BlobStore as _, Owner, put_bytes};
use nsfl_tensor::WeightsView;
use nsfl_types::{BlobRef, Code, Coding, Digest, Norm, Share, UpdateCoding, Values};
use std::convert::Infallible;
use world::{BASE, TRAINS, World, model, order, train, world};

fn top_one(values: Values) -> UpdateCoding {
    let top_k = Some(Share::try_from(0.1).unwrap());
    UpdateCoding { coding: Coding { top_k, values }, error_feedback: true }
}

impl World {
    async fn train(
        &mut self,
        base: BlobRef,
        coding: &UpdateCoding,
        round: u32,
        counted: Option<(u32, u32)>,
    ) -> Vec<u8> {
        let compression = Some(Compression { coding: serde_json::to_string(coding).unwrap(), counted });
        self.command(&TaskCommand::Run(TaskOrder { compression, ..order(&train(round), base) }.into())).await;
        let TaskReport::Done { update: Some(update), .. } = self.done(&train(round)).await else { panic!("no update") };
        self.hub.blobs.open(update.digest).await.unwrap().to_vec()
    }

    async fn end(&mut self, round: u32, accepted: bool) {
        let refused = TaskCommand::Refuse { key: train(round), code: Code::Late, reason: String::new() };
        self.command(&if accepted { TaskCommand::Ack { key: train(round) } } else { refused }).await;
        self.until_nothing_is_held(&[]).await;
    }
}

fn values(file: &[u8]) -> Vec<f32> {
    let view = WeightsView::parse(file).unwrap();
    view.tensor(0).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn sent(update: &[u8]) -> Vec<f32> {
    let mut file = Vec::new();
    let Ok(()) = decompress(&Compressed::parse(update).unwrap(), |block| {
        file.extend_from_slice(block);
        Ok::<_, Infallible>(())
    });
    values(&file)
}

fn written_as(file: &[u8], coding: &Coding) -> Vec<u8> {
    let view = WeightsView::parse(file).unwrap();
    let task = Task { layout: view.layout(), base: Digest::of(file), coding, seed: 0, lost: false };
    let mut out = Vec::new();
    let read = |tensor, at, block: &mut [u8]| {
        block.copy_from_slice(&view.tensor(tensor)[at..at + block.len()]);
        Ok::<_, Infallible>(())
    };
    compress(&task, read, |part| {
        if let Part::Compressed(bytes) = part {
            out.extend_from_slice(bytes);
        }
        Ok(())
    })
    .unwrap();
    out
}

#[tokio::test]
async fn what_an_update_lost_comes_with_the_next_after_the_one_that_was_counted() {
    // the change is [0.5, 0, -1] each time: one value of three is sent
    let mut world = world(TRAINS).await;
    let (base, coding) = (world.base, top_one(Values::Whole));
    let first = world.train(base, &coding, 1, None).await;
    assert_eq!(sent(&first), [0.0, 0.0, -1.0]);
    assert_eq!(Compressed::parse(&first).unwrap().base(), base.digest);
    world.end(1, true).await;
    let second = world.train(base, &coding, 2, Some((1, 1))).await;
    assert_eq!(sent(&second), [1.0, 0.0, 0.0], "0.5 and 0.5, before -1 for it comes first");
    // refused: what was given to the server is not in the model, and is given again
    world.end(2, false).await;
    assert_eq!(sent(&world.train(base, &coding, 3, Some((1, 1))).await), [1.0, 0.0, 0.0]);
    world.end(3, true).await;
    assert_eq!(sent(&world.train(base, &coding, 4, Some((3, 1))).await), [0.0, 0.0, -2.0]);
    world.end(4, true).await;
    // the server knows of none: another job of the same name
    assert_eq!(sent(&world.train(base, &coding, 1, None).await), [0.0, 0.0, -1.0]);
}

#[tokio::test]
async fn an_update_whose_acknowledgement_was_lost_is_known_to_be_counted_by_the_next_order() {
    let mut world = world(TRAINS).await;
    let (base, coding) = (world.base, top_one(Values::Whole));
    world.train(base, &coding, 1, None).await;
    world.command(&TaskCommand::Cancel { key: train(1) }).await;
    world.until_nothing_is_held(&[]).await;
    assert_eq!(sent(&world.train(base, &coding, 2, Some((1, 1))).await), [1.0, 0.0, 0.0]);
}

#[tokio::test]
async fn a_task_run_again_by_a_new_process_gives_the_same_bytes() {
    let mut world = world(TRAINS).await;
    let base = world.base;
    let quantised = Values::Qsgd { bits: nsfl_types::Bits::Four, bucket: None, norm: Norm::L2 };
    let coding = UpdateCoding { coding: Coding { top_k: None, values: quantised }, error_feedback: true };
    world.train(base, &coding, 1, None).await;
    world.end(1, true).await;
    let once = world.train(base, &coding, 2, Some((1, 1))).await;
    // everything it held of the task is gone, as after a disk that lost it; what the first update lost is not
    world.end(2, false).await;
    world.stop_client().await;
    world.start_client().await;
    world.report_that(|report| matches!(report, TaskReport::Inventory { .. })).await;
    assert_eq!(world.train(base, &coding, 2, Some((1, 1))).await, once);
}

#[tokio::test]
async fn a_trainer_sees_a_compressed_model_whole_and_its_change_is_of_what_it_got() {
    let trains = TRAINS.replace("cp ", "cp base.safetensors ../../seen; cp ");
    let mut world = world(&trains).await;
    let given = [1.0 + 1.0 / 4096.0, 2.0, 3.0];
    let whole = model(&given);
    let half = Coding { top_k: None, values: Values::F16 };
    let base =
        put_bytes(&world.hub.blobs, written_as(&whole, &half).into(), &Owner::new("model").unwrap()).await.unwrap();
    let coding = UpdateCoding { coding: Coding { top_k: None, values: Values::Bf16 }, error_feedback: false };
    let update = world.train(base, &coding, 1, None).await;
    let seen = std::fs::read(world.path("seen")).unwrap();
    assert_eq!(values(&seen), BASE, "as half precision has it");
    assert_eq!(sent(&update), [0.5, 0.0, -1.0], "the change of that");
    assert_eq!(Compressed::parse(&update).unwrap().base(), Digest::of(&whole), "of the server's own model");
    assert!(!world.path("residuals").exists(), "nothing is to be given back");
    world.end(1, true).await;
    let plain = order(&train(2), base);
    world.command(&TaskCommand::Run(plain.into())).await;
    let TaskReport::Done { update: Some(update), .. } = world.done(&train(2)).await else { panic!("no update") };
    assert_eq!(values(&world.hub.blobs.open(update.digest).await.unwrap()), [0.5, 0.0, -1.0], "whole, as asked for");
}

#[tokio::test]
async fn weights_that_cannot_be_written_so_are_refused_with_the_tensor() {
    let mut world = world(TRAINS).await;
    std::fs::write(world.path("local.safetensors"), model(&[1e6, 2.0, 2.0])).unwrap();
    let coding = UpdateCoding { coding: Coding { top_k: None, values: Values::F16 }, error_feedback: false };
    let compression = Some(Compression { coding: serde_json::to_string(&coding).unwrap(), counted: None });
    let order = TaskOrder { compression, ..order(&train(1), world.base) };
    world.command(&TaskCommand::Run(order.into())).await;
    let failed = world.report_that(|report| matches!(report, TaskReport::Failed { .. })).await;
    let TaskReport::Failed { code, reason, .. } = failed else { panic!("{failed:?}") };
    assert_eq!(code, Code::NotFinite);
    assert!(reason.contains("tensor 'w' holds 9.99999e5 at index 0, more than f16 can say"), "{reason}");
}
