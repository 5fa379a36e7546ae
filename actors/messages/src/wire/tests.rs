//! What crosses the wire stays readable: golden bytes, and no input makes the decoder panic or allocate without bound.

use super::*;
use proptest::prelude::*;

fn order() -> TaskCommand {
    let key = TaskKey {
        job: nsfl_types::JobKey::new("default".parse().unwrap(), "digits".parse().unwrap()),
        run: 1,
        round: 2,
        attempt: 1,
        kind: nsfl_types::TaskKind::Train,
        client: "c1".parse().unwrap(),
    };
    TaskCommand::Run(
        TaskOrder {
            key,
            base: BlobRef::of(b"abc"),
            runtime: Runtime::Builtin,
            task_entry: "classifier".into(),
            scripts: Some(Scripts { package: BlobRef::of(b"zip"), config_file: "task.json".into() }),
            inputs: None,
            author: "ada".into(),
            optimizer: Some(r#"{"name":"fedprox"}"#.into()),
            parameters: r#"{"epochs":5}"#.into(),
            datasets: vec!["digits".into()],
            resource: Resource { worker_num: 1, cpu: 1.0, gpu: 0.0, memory_mb: 1000.0 },
            seed: 7,
            timeout_ms: 60_000,
        }
        .into(),
    )
}

#[test]
fn a_task_order_of_version_2_is_still_these_bytes() {
    let golden = include_bytes!("../../golden/task-order.v2.bin");
    assert_eq!(encode(&order()), golden, "the wire format changed: raise VERSION and keep the old reader");
    assert_eq!(decode::<TaskCommand>(golden).unwrap(), order());
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
