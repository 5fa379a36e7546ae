//! Updates that are offered more than once, and one that is gone after it was accepted.

use super::*;

async fn lose_what_is_stored(world: &World) {
    for owner in ["default/j/run-1/updates", "uploads/x"] {
        world.blobs.release_all(&Owner::new(owner).unwrap()).await.unwrap();
    }
    let lost = world.blobs.sweep(Duration::ZERO).await.unwrap().blobs;
    assert_eq!(lost, 2, "the update and what its script put");
}

#[tokio::test]
async fn an_accepted_update_that_is_offered_again_is_acknowledged_from_the_member_list_and_not_judged_again() {
    let mut world = waiting_for_quiet(3600).await;
    let order = world.task_of("c0").await;
    let base = world.blobs.open(order.base.digest).await.unwrap();
    let update = BlobRef::of(&like(&base, delta(&order.key.client, order.key.round)));
    // whoever looked at it again would refuse it
    lose_what_is_stored(&world).await;
    for _ in 0..3 {
        world.report_done(&order, update).await;
    }
    let mut acknowledged = 0;
    while acknowledged < 4 {
        match world.commands.recv().await.unwrap() {
            TaskCommand::Ack { key } if key.client.as_str() == "c0" => acknowledged += 1,
            TaskCommand::Refuse { key, code, reason } => panic!("{key} was refused: {code}: {reason}"),
            _ => {}
        }
    }
    assert_eq!(world.judged().await, 1);
}

#[tokio::test]
async fn an_update_that_is_offered_again_while_it_is_judged_is_judged_once() {
    let hyper = json!({"max_round_num": 1, "client_num": 2, "threshold_client_num": 2, "evaluate_interval": 0});
    let mut world = World::new(&["quiet", "silent"], hyper).await;
    world.starter.start(world.run.clone()).await.unwrap();
    let order = world.task_of("quiet").await;
    for _ in 0..3 {
        world.hand_in(&order, 4.0).await;
    }
    world.event("update-accepted", 0).await;
    // asked after the offers: they have been answered
    assert_eq!(world.away().await, []);
    assert_eq!(world.judged().await, 1);
}

/// As when it was found damaged while it waits to be summed.
#[tokio::test]
async fn an_accepted_update_that_is_gone_from_the_store_is_asked_for_again() {
    let mut world = waiting_for_quiet(3600).await;
    lose_what_is_stored(&world).await;
    for attempt in [1, 2] {
        let order = world.task_of("quiet").await;
        assert_eq!(order.key.attempt, attempt);
        world.hand_in(&order, 4.0).await;
    }
    assert!(matches!(world.end().await, RunEvent::Finished));
    assert_eq!(world.output("checkpoint_1.safetensors"), weights(2.5));
}

/// Two clients hand in the same bytes; what one of them put beside its own is no zip, and its update is turned down.
#[tokio::test]
async fn an_update_stays_when_another_client_s_of_the_same_bytes_is_refused() {
    let hyper = json!({"max_round_num": 1, "client_num": 3, "threshold_client_num": 2, "evaluate_interval": 0});
    let mut world = World::new(&["c0", "quiet", "silent"], hyper).await;
    world.starter.start(world.run.clone()).await.unwrap();
    world.event("update-accepted", 0).await;
    let order = world.task_of("quiet").await;
    let base = world.blobs.open(order.base.digest).await.unwrap();
    let uploads = Owner::new("uploads/x").unwrap();
    let same = like(&base, delta(&"c0".parse().unwrap(), order.key.round));
    let update = put_bytes(world.blobs.as_ref(), same.into(), &uploads).await.unwrap();
    let no_zip = put_bytes(world.blobs.as_ref(), b"no zip"[..].into(), &uploads).await.unwrap();
    let metrics = Metrics([("sample_num".to_owned(), 1.0)].into());
    let key = order.key.clone();
    world.report(TaskReport::Done { key, update: Some(update), extra: Some(no_zip), metrics }).await;
    world.event("update-refused", 0).await;
    world.blobs.release_all(&uploads).await.unwrap();
    world.blobs.sweep(Duration::ZERO).await.unwrap();
    assert!(world.blobs.open(update.digest).await.is_ok(), "that of c0 is accepted and not summed yet");
}
