//! Clients whose links end and come back while they are awaited.

use super::*;

#[tokio::test]
async fn the_end_of_an_awaited_clients_link_and_its_return_are_told_and_change_nothing_else() {
    let mut world = waiting_for_quiet(3600).await;
    let quiet: ClientId = "quiet".parse().unwrap();
    let link = |session, up| CoordinatorMsg::Link { client: quiet.clone(), session, up };
    world.tell(link(4, false)).await;
    let lost = world.event("client-lost", 0).await;
    assert_eq!((&lost.fields["client"], &lost.fields["round"]), (&json!("quiet"), &json!(1)));
    assert_eq!(world.away().await, std::slice::from_ref(&quiet));
    world.tell(link(5, true)).await;
    world.event("client-back", 0).await;
    assert_eq!(world.away().await, []);
    // a session that ended after its successor began, and one that has answered already
    world.tell(link(4, false)).await;
    world.tell(CoordinatorMsg::Link { client: "c0".parse().unwrap(), session: 1, up: false }).await;
    let order = world.task_of("quiet").await;
    world.hand_in(&order, 4.0).await;
    assert!(matches!(world.end().await, RunEvent::Finished));
    assert_eq!(world.output("checkpoint_1.safetensors"), weights(2.5), "both count");
    let told = world.store.events(Some(&key()), 0, 1000).await.unwrap();
    assert_eq!(told.iter().filter(|e| e.kind.starts_with("client-")).count(), 2, "{told:?}");
}

#[tokio::test]
async fn a_coordinator_that_starts_again_learns_who_did_not_come_back() {
    // the selector of this test knows nobody, and the grace period is none
    let world = waiting_for_quiet(0).await;
    world.jobs.restart_child("default/j").await.unwrap();
    world.event("client-lost", 0).await;
    while world.away().await != ["quiet".parse().unwrap()] {
        tokio::task::yield_now().await;
    }
}
