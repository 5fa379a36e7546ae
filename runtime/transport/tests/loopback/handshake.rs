//! Who gets in, and how the others are told.

use crate::support::*;
use nsfl_transport::provision::write_private;
use nsfl_transport::{CredentialsError, LinkEvent, Liveness, PeerRole, Refusal, connect, serve};
use nsfl_types::Code;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

#[tokio::test]
async fn a_client_is_known_by_its_certificate_and_sees_only_its_exports() {
    let (federation, gateway) = (Federation::new("lab"), Gateway::new());
    let server = server(federation.server(), &gateway, Liveness::default()).await;
    let (link, mut events, _) = connect(config(server.local_addr(), federation.client("site-1")));
    let (peer, at_server, _server_events) = gateway.opened().await;
    assert_eq!(peer.to_string(), "nsfl://lab/client/site-1");
    assert_eq!(at_server.peer(), Some(peer));
    assert!(matches!(next(&mut events).await, LinkEvent::Up { resumed: false }));
    assert_eq!(link.peer().unwrap().to_string(), "nsfl://lab/server/main");
    assert_eq!(link.exports()[0].name, "coordinator");
    assert_eq!(at_server.exports()[0].index, CLIENT_EXPORT);
}

#[tokio::test]
async fn a_peer_without_a_certificate_is_refused() {
    let (federation, gateway) = (Federation::new("lab"), Gateway::new());
    let server = server(federation.server(), &gateway, Liveness::default()).await;
    let anonymous = rustls::ClientConfig::builder_with_provider(nsfl_transport::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(any_server())
        .with_no_client_auth();
    // Whether the client notices in the handshake or after it, no call succeeds.
    if let Ok(mut client) = raw_client(server.local_addr(), anonymous).await {
        let stat = nsfl_transport::proto::StatRequest { digest: vec![0; 32].into() };
        assert!(soon(client.stat(stat)).await.is_err());
    }
    assert_eq!(gateway.refusal().await, (None, Code::NoCertificate));
}

#[tokio::test]
async fn certificates_of_another_authority_and_expired_ones_are_refused_and_both_sides_say_so() {
    let (federation, gateway) = (Federation::new("lab"), Gateway::new());
    let server = server(federation.server(), &gateway, Liveness::default()).await;
    let name = "site-1".parse().unwrap();
    let other = Federation::new("lab").authority.issue_client(&name, valid()).unwrap();
    let old = federation.authority.issue_client(&name, expired()).unwrap();
    for bad in [other, old] {
        let (_link, mut events, _) = connect(config(server.local_addr(), federation.with(&bad)));
        assert_eq!(gateway.refusal().await, (None, Code::BadCertificate));
        assert_eq!(down(&mut events).await, Code::BadCertificate);
    }
}

#[tokio::test]
async fn a_server_certificate_is_no_client_and_a_client_certificate_no_server() {
    let (federation, gateway) = (Federation::new("lab"), Gateway::new());
    let running = server(federation.server(), &gateway, Liveness::default()).await;
    let (_link, mut events, _) = connect(config(running.local_addr(), federation.server()));
    assert_eq!(gateway.refusal().await, (None, Code::WrongIdentity));
    assert_eq!(down(&mut events).await, Code::WrongIdentity);

    let thief = federation.client("site-2");
    assert_eq!(thief.identity().role, PeerRole::Client);
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(thief.server_config().unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_link, mut events, _) = connect(config(listener.local_addr().unwrap(), federation.client("site-1")));
    let (tcp, _) = soon(listener.accept()).await.unwrap();
    assert!(soon(tls.accept(tcp)).await.is_err());
    assert_eq!(down(&mut events).await, Code::WrongIdentity);

    let listen = "127.0.0.1:0".parse().unwrap();
    let as_server =
        nsfl_transport::ServerConfig { listen, credentials: thief, limits: limits(), liveness: Liveness::default() };
    let refused = serve(as_server, gateway.clone(), gateway.clone()).await.err().unwrap();
    assert_eq!(refused.code(), Code::WrongIdentity);
}

#[tokio::test]
async fn claiming_anothers_name_with_ones_own_certificate_is_refused() {
    let (federation, gateway) = (Federation::new("lab"), Gateway::new());
    let server = server(federation.server(), &gateway, Liveness::default()).await;
    let mut config = config(server.local_addr(), federation.client("site-1"));
    config.claimed = Some("site-2".parse().unwrap());
    let (_link, mut events, _) = connect(config);
    let (peer, code) = gateway.refusal().await;
    assert_eq!((peer.unwrap().name.as_str(), code), ("site-1", Code::WrongIdentity));
    assert_eq!(down(&mut events).await, Code::WrongIdentity);
}

#[tokio::test]
async fn a_peer_with_no_version_in_common_and_one_not_admitted_are_refused() {
    let (federation, gateway) = (Federation::new("lab"), Gateway::new());
    let server = server(federation.server(), &gateway, Liveness::default()).await;
    let mut future = hello();
    (future.min_version, future.max_version) = (8, 9);
    let refused = raw_session(server.local_addr(), &federation.client("site-1"), future).await.err().unwrap();
    assert_eq!(refused.code, Code::BadVersion);
    assert_eq!(gateway.refusal().await.1, Code::BadVersion);
    let refused = raw_session(server.local_addr(), &federation.client("banned"), hello()).await.err().unwrap();
    assert_eq!(refused, Refusal::new(Code::NotAllowed, "banned"));
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy_and_ours_is_not() {
    let (federation, folder) = (Federation::new("lab"), tempfile::tempdir().unwrap());
    let pair = federation.authority.issue_client(&"site-1".parse().unwrap(), valid()).unwrap();
    let path = |name: &str| folder.path().join("secret").join(name);
    write_private(&path("key.pem"), &pair.key).unwrap();
    write_private(&path("cert.pem"), &pair.certificate).unwrap();
    write_private(&path("ca.pem"), &federation.authority.pem().certificate).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path("")), mode(&path("key.pem"))), (0o700, 0o600));
    assert!(write_private(&path("key.pem"), "").is_err(), "a key is not overwritten");

    let load = || nsfl_transport::Credentials::load(&path("ca.pem"), &path("cert.pem"), &path("key.pem"));
    assert_eq!(load().ok().unwrap().identity().name.as_str(), "site-1");
    std::fs::set_permissions(path("key.pem"), PermissionsExt::from_mode(0o640)).unwrap();
    let exposed = load().err().unwrap();
    assert!(matches!(exposed, CredentialsError::Exposed { mode: 0o640, .. }));
    assert!(exposed.to_string().contains("chmod 600") && exposed.to_string().contains("key.pem"));
    std::fs::remove_file(path("key.pem")).unwrap();
    assert!(load().err().unwrap().to_string().contains("key.pem"));
}

#[test]
fn an_authority_loaded_from_its_files_issues_for_the_same_federation() {
    let federation = Federation::new("lab");
    let pem = federation.authority.pem();
    let loaded = nsfl_transport::provision::Authority::load(&pem.certificate, &pem.key).unwrap();
    assert_eq!(loaded.federation(), "lab");
    let pair = loaded.issue_client(&"late".parse().unwrap(), valid()).unwrap();
    assert_eq!(federation.with(&pair).identity().to_string(), "nsfl://lab/client/late");
}

/// Trusts any server: the test is about the other direction.
fn any_server() -> Arc<dyn rustls::client::danger::ServerCertVerifier> {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
    #[derive(Debug)]
    struct Any;
    impl ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
    Arc::new(Any)
}
