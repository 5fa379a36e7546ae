//! A peer that promises to take everything and then reads nothing: what the server keeps for it.

use crate::PATIENCE;
use crate::dial;
use crate::server::{EXPORT, FLOODED, MEMORY, number};
use nsfl_transport::Link;
use nsfl_transport::proto::frame::Body;
use nsfl_transport::proto::{Credit, Export, Frame, Hello};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio_stream::StreamExt as _;

const SECONDS: u64 = 4;

pub(crate) async fn measure(folder: &Path, server: SocketAddr, link: &Link) {
    let ask = async |what| number(&link.ask(EXPORT, what, PATIENCE).await.unwrap());
    let before = ask(MEMORY).await;
    let mut client = dial::grpc(folder, "stopped", server).await;
    let hello = Hello {
        min_version: 1,
        max_version: 1,
        incarnation: 1,
        dial: 1,
        credit: Some(Credit { messages: u32::MAX, bytes: u32::MAX, payload_bytes: 1 << 20 }),
        exports: vec![Export { index: u32::from(EXPORT), name: "bench".into(), version: 1 }],
        ..Hello::default()
    };
    let first = tokio_stream::once(Frame { body: Some(Body::Hello(Box::new(hello))), ..Frame::default() });
    let unread = client.session(first.chain(tokio_stream::pending())).await.unwrap();
    let mut peak = before;
    for _ in 0..SECONDS * 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        peak = peak.max(ask(MEMORY).await);
    }
    let mb = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "a peer that grants any credit and reads nothing: in {SECONDS} s the server's link took {:.1} MB for it and the \
         server's memory grew by {:.1} MB",
        mb(ask(FLOODED).await),
        mb(peak.saturating_sub(before)),
    );
    drop(unread);
}
