//! The protocol spoken by hand, for what the library does not let a client do.

use hyper_util::rt::TokioIo;
use nsfl_transport::Credentials;
use nsfl_transport::proto::frame::Body;
use nsfl_transport::proto::transport_client::TransportClient;
use nsfl_transport::proto::{Credit, Frame, Hello, Tell};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// A gRPC client over TLS that obeys no rule of the session.
pub async fn client(server: &str, tls: rustls::ClientConfig) -> Result<TransportClient<Channel>, String> {
    let tcp = tokio::net::TcpStream::connect(server).await.map_err(|e| e.to_string())?;
    let name = rustls_pki_types::ServerName::try_from("nsfl").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    let mut once = Some(connector.connect(name, tcp).await.map_err(|e| e.to_string())?);
    let connector = tower::service_fn(move |_: Uri| {
        let stream = once.take().map(TokioIo::new);
        async move { stream.ok_or_else(|| std::io::Error::other("used once")) }
    });
    let channel = Endpoint::from_static("http://nsfl").connect_with_connector(connector).await;
    Ok(TransportClient::new(channel.map_err(|e| e.to_string())?))
}

/// The TLS of `credentials` without their certificate.
pub fn anonymous(credentials: &Credentials) -> rustls::ClientConfig {
    #[derive(Debug)]
    struct Nobody;
    impl rustls::client::ResolvesClientCert for Nobody {
        fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
            None
        }
        fn has_certs(&self) -> bool {
            false
        }
    }
    let mut config = credentials.client_config().unwrap();
    config.client_auth_cert_resolver = Arc::new(Nobody);
    config
}

/// A session as far as the welcome: frames out, and the stream of frames in.
pub async fn session(
    server: &str,
    credentials: &Credentials,
    incarnation: u64,
) -> (mpsc::UnboundedSender<Frame>, tonic::Streaming<Frame>) {
    let mut client = client(server, credentials.client_config().unwrap()).await.unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    let credit = Some(Credit { messages: 1024, bytes: 4 << 20, payload_bytes: 1 << 20 });
    let hello = Hello { min_version: 1, max_version: 1, incarnation, dial: 1, credit, ..Hello::default() };
    sender.send(Frame { body: Some(Body::Hello(Box::new(hello))), ..Frame::default() }).unwrap();
    let mut inbound = client.session(UnboundedReceiverStream::new(receiver)).await.unwrap().into_inner();
    let welcome = inbound.message().await.unwrap().unwrap();
    assert!(matches!(welcome.body, Some(Body::Welcome(_))), "{welcome:?}");
    (sender, inbound)
}

/// A message for an export, whether there is one or not.
pub fn tell(export: u32, payload: usize) -> Frame {
    let tell = Tell { export, payload: vec![0; payload].into() };
    Frame { body: Some(Body::Tell(tell)), ..Frame::default() }
}
