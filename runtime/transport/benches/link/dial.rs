//! How the client side gets at the server: certificates from a folder, a link, or a connection without our protocol.

use hyper_util::rt::TokioIo;
use nsfl_transport::proto::transport_client::TransportClient;
use nsfl_transport::provision::PemPair;
use nsfl_transport::{
    BlobClient, CONNECTION_WINDOW, ClientConfig, Credentials, Export, HTTP2_FRAME, Limits, Link, LinkEvent, LinkEvents,
    Redial, STREAM_WINDOW, connect,
};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tonic::transport::{Channel, Endpoint};

pub(crate) fn write(folder: &Path, name: &str, pair: &PemPair) {
    std::fs::write(folder.join(format!("{name}.crt")), &pair.certificate).unwrap();
    nsfl_transport::provision::write_private(&folder.join(format!("{name}.key")), &pair.key).unwrap();
}

pub(crate) fn credentials(folder: &Path, name: &str) -> Credentials {
    let file = |end: &str| folder.join(format!("{name}.{end}"));
    Credentials::load(&folder.join("ca.crt"), &file("crt"), &file("key")).unwrap()
}

pub(crate) async fn link(folder: &Path, server: SocketAddr) -> (Link, LinkEvents, BlobClient) {
    let (link, mut events, blobs) = connect(ClientConfig {
        server: server.to_string(),
        credentials: credentials(folder, "link"),
        claimed: None,
        incarnation: 1,
        exports: vec![Export { index: 1, name: "bench".into(), version: 1 }],
        limits: Limits::default(),
        redial: Redial::default(),
    });
    assert!(matches!(events.recv().await, Some(LinkEvent::Up { .. })));
    (link, events, blobs)
}

/// A gRPC connection with the HTTP/2 settings of a link.
pub(crate) async fn grpc(folder: &Path, name: &str, server: SocketAddr) -> TransportClient<Channel> {
    let tcp = tokio::net::TcpStream::connect(server).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let config = credentials(folder, name).client_config().unwrap();
    let host = rustls_pki_types::ServerName::try_from("nsfl").unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(host, tcp).await.unwrap();
    let mut once = Some(TokioIo::new(tls));
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let stream = once.take();
        async move { stream.ok_or_else(|| std::io::Error::other("used once")) }
    });
    let endpoint = Endpoint::from_static("http://nsfl")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(HTTP2_FRAME);
    TransportClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}
