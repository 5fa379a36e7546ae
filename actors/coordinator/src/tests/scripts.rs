//! What a job brings along, what its clients say of failures, and SCAFFOLD's control variates.

use super::*;

const ONE_ROUND: &str = r#"{"max_round_num": 1, "client_num": 2, "threshold_client_num": 2, "evaluate_interval": 0}"#;

fn hyper() -> Value {
    serde_json::from_str(ONE_ROUND).unwrap()
}

/// Fields of a document whose tasks are scripts in `s`.
fn scripted() -> Value {
    json!({"runtime": "pytorch", "task_entry": null, "scripts": {"path": "s", "config_file": "task.json"}})
}

fn fill(storage: &Path) {
    std::fs::create_dir_all(storage.join("s/lib")).unwrap();
    std::fs::write(storage.join("s/task.json"), "{}").unwrap();
    std::fs::write(storage.join("s/lib/net.py"), "x = 1").unwrap();
}

impl World {
    /// The next task that goes out.
    async fn order(&mut self) -> nsfl_messages::wire::TaskOrder {
        loop {
            if let TaskCommand::Run(order) = self.commands.recv().await.unwrap() {
                return *order;
            }
        }
    }
}

#[tokio::test]
async fn a_folder_of_scripts_goes_out_as_one_package_with_author_and_optimizer() {
    let mut fields = scripted();
    fields["optimizer"] = json!({"name": "fedprox", "mu": 0.1});
    let mut world = World::with(&["c0", "c1"], hyper(), fields, fill).await;
    assert!(matches!(world.run_to_its_end().await, RunEvent::Finished));
    let order = world.order().await;
    let scripts = order.scripts.unwrap();
    assert_eq!(scripts.config_file, "task.json");
    assert_eq!(scripts.package, nsfl_types::BlobRef::of(&pack(&["lib/net.py", "task.json"])));
    assert_eq!((order.author.as_str(), order.task_entry.as_str()), ("ada", ""));
    assert_eq!(order.optimizer.as_deref(), Some(r#"{"name":"fedprox","mu":0.1}"#));
}

fn pack(names: &[&str]) -> Vec<u8> {
    let content = |name: &str| if name == "task.json" { "{}" } else { "x = 1" };
    pack_entries(names.iter().map(|name| (*name, content(name).as_bytes()))).unwrap()
}

#[tokio::test]
async fn what_was_packed_stays_the_runs_whatever_becomes_of_the_storage() {
    let mut world = World::with(&["c0", "silent"], hyper(), scripted(), fill).await;
    world.starter.start(world.run.clone()).await.unwrap();
    let before = world.order().await.scripts.unwrap();
    std::fs::write(world.folder.path().join("storage/default/s/task.json"), "{\"changed\": 1}").unwrap();
    world.jobs.restart_child("default/j").await.unwrap();
    // to the other client, and again to the one that is silent
    for _ in 0..2 {
        assert_eq!(world.order().await.scripts, Some(before.clone()));
    }
    let kept = world.blobs.open(before.package.digest).await.unwrap();
    assert_eq!(&kept[..], pack(&["lib/net.py", "task.json"]));
    let record = world.store.run(&key(), 1).await.unwrap().unwrap();
    let needs = kept_blobs(&record).unwrap();
    assert!(needs.iter().any(|(owner, blob)| owner.as_str().ends_with("/packages") && *blob == before.package));
}

#[tokio::test]
async fn scripts_that_are_missing_or_lead_out_fail_the_run_with_the_path() {
    for (path, file, says) in [
        ("absent", "task.json", "scripts.path 'absent' is not in the storage of namespace 'default'"),
        ("s", "other.json", "scripts.config_file 'other.json' is not in scripts.path 's'"),
        ("link", "passwd", "scripts.path 'link' is not in the storage"),
    ] {
        let mut fields = scripted();
        fields["scripts"] = json!({"path": path, "config_file": file});
        let prepare = |storage: &Path| {
            fill(storage);
            std::os::unix::fs::symlink("/etc", storage.join("link")).unwrap();
        };
        let mut world = World::with(&["c0", "c1"], hyper(), fields, prepare).await;
        let RunEvent::Failed { code, reason } = world.run_to_its_end().await else { panic!("should fail") };
        assert_eq!(code, Code::ScriptMissing, "{reason}");
        assert!(reason.contains(says), "{reason}");
        assert!(world.commands.try_recv().is_err(), "no client was asked");
    }
}

#[tokio::test]
async fn a_package_that_leads_out_of_its_folder_fails_the_run() {
    let mut fields = scripted();
    fields["scripts"] = json!({"path": "bad.zip", "config_file": "task.json"});
    let mut bytes = pack(&["lib/net.py", "task.json"]);
    let name = b"lib/net.py";
    // in the entry and in the directory
    while let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
        bytes[at..at + name.len()].copy_from_slice(b"../net2.py");
    }
    let prepare = |storage: &Path| std::fs::write(storage.join("bad.zip"), bytes).unwrap();
    let mut world = World::with(&["c0", "c1"], hyper(), fields, prepare).await;
    let RunEvent::Failed { code, reason } = world.run_to_its_end().await else { panic!("should fail") };
    assert_eq!(code, Code::BadPackage);
    assert!(reason.contains("bad.zip") && reason.contains("../net2.py"), "{reason}");
}

#[tokio::test]
async fn a_clients_cause_is_stored_with_its_failure_and_its_last_line_is_in_the_event() {
    let mut hyper = hyper();
    hyper["threshold_client_num"] = json!(1);
    let mut world = World::new(&["c0", "broken"], hyper).await;
    assert!(matches!(world.run_to_its_end().await, RunEvent::Finished));
    let members = world.store.members(&key(), 1, 1).await.unwrap();
    let broken = members.iter().find(|m| m.task.client.as_str() == "broken").unwrap();
    assert_eq!((broken.state, broken.code), (MemberState::Failed, Some(Code::ScriptException)));
    let cause = broken.cause.as_ref().unwrap();
    assert_eq!((cause.exit.as_deref(), cause.log.as_str()), (Some("exit code 1"), "epoch 1"));
    assert!(members.iter().find(|m| m.task.client.as_str() == "c0").unwrap().cause.is_none());
    let events = world.store.events(Some(&key()), 0, 100).await.unwrap();
    let failed = events.iter().find(|event| event.kind == "task-failed").unwrap();
    assert_eq!(failed.fields["last"], "ValueError: no data");
    assert_eq!(world.store.failures(&key(), 1, 10).await.unwrap(), std::slice::from_ref(broken));
}

#[tokio::test]
async fn progress_of_the_awaited_is_in_the_view_and_of_nobody_else() {
    let hyper = json!({"max_round_num": 1, "client_num": 2, "threshold_client_num": 2, "evaluate_interval": 0});
    let mut world = World::new(&["c0", "silent"], hyper).await;
    world.starter.start(world.run.clone()).await.unwrap();
    let order = loop {
        let order = world.order().await;
        if order.key.client.as_str() == "silent" {
            break order;
        }
    };
    let coordinator = world.coordinators.get(&key()).unwrap();
    let report = TaskReport::Progress {
        key: order.key.clone(),
        done: Some(0.25),
        message: "epoch 1".into(),
        metrics: Metrics([("loss".to_owned(), 2.0)].into()),
    };
    let client = order.key.client;
    coordinator.tell(CoordinatorMsg::Report { client: client.clone(), report }).await.unwrap();
    let view = coordinator.ask(WAIT, |reply| CoordinatorMsg::View { reply }).await.unwrap();
    let told = &view.progress[&client];
    assert_eq!((told.done, told.message.as_str(), told.metrics.get("loss")), (Some(0.25), "epoch 1", Some(2.0)));
    let seen = coordinator.observe(WAIT).await.unwrap();
    assert_eq!(seen.detail["progress"]["silent"]["message"], "epoch 1");
    assert_eq!(world.live.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn scaffold_keeps_a_control_beside_the_model_and_saves_the_model_alone() {
    let hyper = json!({"max_round_num": 2, "client_num": 2, "threshold_client_num": 2, "evaluate_interval": 0});
    let mut fields = scripted();
    fields["optimizer"] = json!({"name": "scaffold"});
    fields["clients"] = json!(["c0", "c1", "c2", "c3"]);
    let mut world = World::with(&["c0", "c1"], hyper, fields, fill).await;
    assert!(matches!(world.run_to_its_end().await, RunEvent::Finished));
    // Deltas of 1 and 2, then of their negative halves: the model gets means, the control sums over N = 4.
    assert_eq!(world.output("checkpoint_2.safetensors"), weights(0.75));
    let checkpoints = world.store.checkpoints(&key()).await.unwrap();
    assert_eq!(checkpoints[0].model, nsfl_types::BlobRef::of(&weights(0.75)), "the record tells of the file");
    let last = loop {
        let order = world.order().await;
        if order.key.round == 2 {
            break order;
        }
    };
    let rounds = world.store.rounds(&key(), 1).await.unwrap();
    assert_eq!(rounds[0].model, Some(last.base));
    let layout = Layout::new(["scaffold.c/w", "w"].map(|name| (name.to_owned(), DType::F32, vec![3]))).unwrap();
    let mut expected = layout.header_bytes();
    expected.extend([0.75_f32, 0.75, 0.75, 1.5, 1.5, 1.5].iter().flat_map(|value| value.to_le_bytes()));
    assert_eq!(last.base, nsfl_types::BlobRef::of(&expected));
}
