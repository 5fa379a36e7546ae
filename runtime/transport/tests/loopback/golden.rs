//! The wire format, byte by byte: a change here is a change other versions see.

use bytes::Bytes;
use nsfl_transport::proto::frame::Body;
use nsfl_transport::proto::{Chunk, Credit, Export, Frame, Hello, Tell, Welcome};
use prost::Message;

fn credit() -> Option<Credit> {
    Some(Credit { messages: 1024, bytes: 4, payload_bytes: 16 })
}

fn exports() -> Vec<Export> {
    vec![Export { index: 1, name: "a".into(), version: 2 }]
}

fn check<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M, golden: &str) {
    let bytes: Vec<u8> = golden.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    assert_eq!(message.encode_to_vec(), bytes);
    assert_eq!(&M::decode(&bytes[..]).unwrap(), message);
}

#[test]
fn a_tell_is_these_bytes() {
    let tell = Tell { export: 1, payload: Bytes::from_static(b"hi") };
    let frame = Frame { sequence: 5, ack: 3, trace: "t".into(), body: Some(Body::Tell(tell)), ..Frame::default() };
    check(&frame, "08 05 10 03 2a 01 74 32 06 08 01 12 02 68 69");
}

#[test]
fn a_hello_is_these_bytes() {
    let hello = Hello {
        min_version: 1,
        max_version: 2,
        incarnation: 7,
        dial: 3,
        session: 9,
        token: Bytes::from_static(b"tk"),
        received: 4,
        credit: credit(),
        exports: exports(),
        claimed: "me".into(),
    };
    let frame = Frame { body: Some(Body::Hello(Box::new(hello))), ..Frame::default() };
    check(
        &frame,
        "6a 26 08 01 10 02 18 07 20 03 28 09 32 02 74 6b 38 04 42 07 08 80 08 10 04 18 10 \
         4a 07 08 01 12 01 61 18 02 52 02 6d 65",
    );
}

#[test]
fn a_welcome_is_these_bytes() {
    let welcome = Welcome {
        version: 1,
        session: 9,
        token: Bytes::from_static(b"tk"),
        resumed: true,
        received: 4,
        credit: credit(),
        exports: exports(),
        heartbeat_ms: 5,
        unreachable_ms: 15,
        ttl_ms: 60,
    };
    let frame = Frame { body: Some(Body::Welcome(Box::new(welcome))), ..Frame::default() };
    check(
        &frame,
        "72 24 08 01 10 09 1a 02 74 6b 20 01 28 04 32 07 08 80 08 10 04 18 10 \
         3a 07 08 01 12 01 61 18 02 40 05 48 0f 50 3c",
    );
}

#[test]
fn a_chunk_is_these_bytes() {
    let chunk = Chunk { digest: Bytes::from_static(b"d"), length: 5, offset: 2, data: Bytes::from_static(b"x") };
    check(&chunk, "0a 01 64 10 05 18 02 22 01 78");
}
