//! What crosses the wire stays readable: golden bytes, and no input makes the decoder panic or allocate without bound.

use super::*;
use proptest::prelude::*;

fn key() -> TaskKey {
    TaskKey {
        job: nsfl_types::JobKey::new("default".parse().unwrap(), "digits".parse().unwrap()),
        run: 1,
        round: 2,
        attempt: 1,
        kind: nsfl_types::TaskKind::Train,
        client: "c1".parse().unwrap(),
    }
}

fn order() -> TaskCommand {
    TaskCommand::Run(
        TaskOrder {
            key: key(),
            base: BlobRef::of(b"abc"),
            runtime: Runtime::Builtin,
            task_entry: "classifier".into(),
            scripts: Some(Scripts { package: BlobRef::of(b"zip"), config_file: "task.json".into() }),
            inputs: None,
            author: "ada".into(),
            optimizer: Some(r#"{"name":"fedprox"}"#.into()),
            compression: Some(Compression { coding: "{}".into(), counted: Some((1, 2)) }),
            parameters: r#"{"epochs":5}"#.into(),
            datasets: vec!["digits".into()],
            resource: Resource { worker_num: 1, cpu: 1.0, gpu: 0.0, memory_mb: 1000.0 },
            seed: 7,
            timeout_ms: 60_000,
        }
        .into(),
    )
}

/// One of each kind, in the order of their variants.
fn commands() -> Vec<TaskCommand> {
    let refuse = TaskCommand::Refuse { key: key(), code: Code::NotFinite, reason: "w has a NaN".into() };
    vec![order(), TaskCommand::Cancel { key: key() }, TaskCommand::Ack { key: key() }, refuse]
}

fn reports() -> Vec<TaskReport> {
    let metrics = || Metrics([("loss".to_owned(), 0.5), ("sample_num".to_owned(), 20.0)].into());
    let cause = Cause {
        exit: Some("exit code 3".into()),
        limit: Some("memory 512 MB".into()),
        traceback: Some("ValueError: no".into()),
        log: "last words".into(),
        worker: Some(1),
    };
    let (update, extra) = (Some(BlobRef::of(b"delta")), Some(BlobRef::of(b"extra")));
    vec![
        TaskReport::Inventory { tasks: vec![key()] },
        TaskReport::Started { key: key() },
        TaskReport::Done { key: key(), update, extra, metrics: metrics() },
        TaskReport::Failed {
            key: key(),
            code: Code::TrainerFailed,
            reason: "it failed".into(),
            cause: Some(cause.into()),
        },
        TaskReport::Progress { key: key(), done: Some(0.25), message: "epoch 1".into(), metrics: metrics() },
        TaskReport::Uploading { key: key() },
    ]
}

fn registry() -> Vec<RegistryReport> {
    let info = ClientInfo {
        client: "c1".parse().unwrap(),
        address: "10.0.0.1".into(),
        os: "linux".into(),
        version: "0.1.0".into(),
        runtimes: vec![Runtime::Builtin, Runtime::Pytorch],
        label: "north".into(),
        max_tasks: 2,
        resource: Resource { worker_num: 1, cpu: 2.0, gpu: 1.0, memory_mb: 4000.0 },
        datasets: [("digits".to_owned(), 450)].into(),
    };
    vec![RegistryReport::Register(info), RegistryReport::Heartbeat(ClientLoad { current_tasks: 1 })]
}

/// Each message behind its length, two bytes, little end first. With `NSFL_GOLDEN_WRITE` set the file is written.
fn are_still<T>(file: &str, messages: &[T])
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file);
    let framed = |message| {
        let bytes = encode(message);
        let len = u16::try_from(bytes.len()).unwrap().to_le_bytes();
        [&len[..], &bytes].concat()
    };
    if std::env::var_os("NSFL_GOLDEN_WRITE").is_some() {
        std::fs::write(&path, messages.iter().flat_map(framed).collect::<Vec<u8>>()).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    let mut rest = &golden[..];
    for message in messages {
        let (len, after) = rest.split_first_chunk().unwrap();
        let (bytes, after) = after.split_at(u16::from_le_bytes(*len).into());
        assert_eq!(encode(message), bytes, "the wire format changed: raise VERSION and keep the old reader");
        assert_eq!(&decode::<T>(bytes).unwrap(), message);
        rest = after;
    }
    assert!(rest.is_empty(), "{file} holds more messages than there are kinds");
}

#[test]
fn a_task_order_of_version_4_is_still_these_bytes() {
    let golden = include_bytes!("../../golden/task-order.v4.bin");
    assert_eq!(encode(&order()), golden, "the wire format changed: raise VERSION and keep the old reader");
    assert_eq!(decode::<TaskCommand>(golden).unwrap(), order());
}

#[test]
fn each_message_of_version_4_is_still_these_bytes() {
    are_still("task-commands.v4.bin", &commands());
    are_still("task-reports.v4.bin", &reports());
    are_still("registry-reports.v4.bin", &registry());
    are_still("observe-questions.v4.bin", &[ObserveQuestion { within_ms: 2000 }]);
    are_still("observe-answers.v4.bin", &[ObserveAnswer { tree: r#"{"path":"client"}"#.into() }]);
}

#[test]
fn another_version_and_trailing_bytes_are_refused() {
    let mut bytes = encode(&order());
    bytes.push(0);
    assert!(matches!(decode::<TaskCommand>(&bytes), Err(WireError::Trailing(1))));
    bytes[0] = 9;
    assert!(matches!(decode::<TaskCommand>(&bytes), Err(WireError::Version(9))));
    assert!(decode::<TaskCommand>(&[]).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut versioned = vec![VERSION as u8];
        versioned.extend(bytes);
        let _ = decode::<TaskReport>(&versioned).is_ok();
        let _ = decode::<TaskCommand>(&versioned).is_ok();
        let _ = decode::<RegistryReport>(&versioned).is_ok();
    }
}
