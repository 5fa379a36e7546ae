//! Messages and blobs that a client may not send.

use crate::evil::{Evil, info, wait_refused};
use crate::{ended, honest, job};
use nsfl_integration::{Federation, Options};
use nsfl_messages::wire::{self, EXPORT_REGISTRY, EXPORT_TASKS, RegistryReport, TaskCommand, TaskReport};
use nsfl_transport::LinkError;
use nsfl_types::{BlobRef, Code};

#[test]
fn messages_and_blobs_that_are_not_the_clients_to_send_are_refused_and_counted_and_the_round_goes_on() {
    let expected = honest(1);
    let server_extra = "[limits]\nmax_blob_bytes = 1000000\n".to_owned();
    let federation = Federation::start(&Options { server_extra, ..Options::default() }).unwrap();
    let mut evil = Evil::join(&federation, "evil");
    federation.submit(&job(1)).unwrap();
    let order = evil.order();

    evil.send(EXPORT_REGISTRY, wire::encode(&RegistryReport::Register(info("c1"))));
    wait_refused(&federation, Code::WrongIdentity, 1);
    let mut others = order.key.clone();
    others.client = "c1".parse().unwrap();
    evil.report(&TaskReport::Failed {
        key: others.clone(),
        code: Code::TrainerFailed,
        reason: "sabotage".into(),
        cause: None,
    });
    wait_refused(&federation, Code::WrongIdentity, 2);
    evil.report(&TaskReport::Inventory { tasks: vec![others] });
    wait_refused(&federation, Code::WrongIdentity, 3);

    evil.send(EXPORT_TASKS, b"\xff\xff\xff no message".to_vec());
    wait_refused(&federation, Code::BadFrame, 1);
    let mut trailing = wire::encode(&TaskReport::Started { key: order.key.clone() });
    trailing.push(0);
    evil.send(EXPORT_TASKS, trailing);
    wait_refused(&federation, Code::BadFrame, 2);

    // the link knows what it may address and how much, and says so before anything is sent
    let send = |export, len| {
        let payload = bytes::Bytes::from(vec![0; len]);
        evil.link.try_send(export, payload, nsfl_transport::Delivery::AtMostOnce)
    };
    assert_eq!(send(99, 1), Err(LinkError::NotExported(99)));
    assert!(matches!(send(EXPORT_TASKS, 8 << 20), Err(LinkError::TooLarge { .. })));

    let mut nowhere = order.key.clone();
    nowhere.job.id = "nowhere".parse().unwrap();
    evil.report(&TaskReport::Started { key: nowhere.clone() });
    assert!(matches!(evil.answer(), TaskCommand::Refuse { key, code: Code::Stale, .. } if key == nowhere));

    let code = |done: Result<(), nsfl_transport::BlobError>| done.unwrap_err().code();
    assert_eq!(evil.get(BlobRef::of(b"a secret")).unwrap_err().code(), Code::BlobRefused, "no grant");
    let claimed = BlobRef { digest: BlobRef::of(b"something").digest, len: 5 };
    assert_eq!(code(evil.put(claimed, b"other".to_vec())), Code::WrongDigest);
    let large = vec![7; 1_000_001];
    assert_eq!(code(evil.put(BlobRef::of(&large), large)), Code::TooLarge);
    wait_refused(&federation, Code::BlobRefused, 1);
    wait_refused(&federation, Code::TooLarge, 1);

    evil.report(&TaskReport::Failed {
        key: order.key.clone(),
        code: Code::TrainerFailed,
        reason: "enough".into(),
        cause: None,
    });
    assert_eq!(evil.answer(), TaskCommand::Ack { key: order.key });
    assert_eq!(evil.name, "evil");
    assert_eq!(ended(&federation), expected);
}
