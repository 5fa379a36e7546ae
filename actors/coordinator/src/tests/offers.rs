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

/// With nothing else said of the task. The first acknowledgement, in time, is passed over by `task_of`.
async fn is_acknowledged(world: &mut World, order: &TaskOrder, life: u32) {
    loop {
        match world.commands.recv().await.unwrap() {
            TaskCommand::Ack { key } if key == order.key => return,
            TaskCommand::Cancel { key } => panic!("{key} is called back in life {life}"),
            TaskCommand::Refuse { key, reason, .. } => panic!("{key} is refused in life {life}: {reason}"),
            _ => {}
        }
    }
}

/// Its acknowledgement was lost with the link or the server. It keeps what its script leaves for the next round once it has it.
#[tokio::test]
async fn an_update_that_is_in_the_model_is_acknowledged_when_its_client_asks_after_the_round_is_closed() {
    let hyper = json!({"max_round_num": 2, "client_num": 1, "evaluate_interval": 0});
    let mut world = World::new(&["quiet"], hyper).await;
    world.starter.start(world.run.clone()).await.unwrap();
    let first = world.task_of("quiet").await;
    world.hand_in(&first, 4.0).await;
    let second = world.task_of("quiet").await;
    assert_eq!((first.key.round, second.key.round), (1, 2));
    for life in 1..=2 {
        let client = first.key.client.clone();
        let report = TaskReport::Inventory { tasks: vec![first.key.clone()] };
        world.tell(CoordinatorMsg::Report { client, report }).await;
        is_acknowledged(&mut world, &first, life).await;
        world.report_done(&first, BlobRef::of(b"which does not matter any more")).await;
        is_acknowledged(&mut world, &first, life).await;
        world.jobs.restart_child("default/j").await.unwrap();
        world.task_of("quiet").await;
    }
    world.hand_in(&second, 4.0).await;
    assert!(matches!(world.end().await, RunEvent::Finished));
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
