//! Upload and download over real HTTP, the life of the server as an actor, and HTTPS.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod support;

use nsfl_actor::{Address, ChildSpec, Directory, Restart, Supervisor, SupervisorSpec};
use nsfl_api_server::{ApiServer, ApiServerArgs, Tls};
use nsfl_store::memory::{MemoryAccessStore, MemoryJobStore};
use nsfl_telemetry::LogTail;
use nsfl_types::Digest;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use support::{Server, limits, server};

const FILE: &str = "/namespaces/default/files/models/a/m.safetensors";

fn uploads_on_the_way(server: &Server) -> usize {
    std::fs::read_dir(server.folder.path().join(".uploads")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_is_downloaded_whole_or_in_part() {
    let server = server(vec![], None).await;
    let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
    let stored = server.ask("PUT", FILE, &[], bytes.clone()).await;
    let expected = json!({"path": "models/a/m.safetensors", "bytes": 200_000, "sha256": Digest::of(&bytes)});
    assert_eq!((stored.status, stored.json()), (201, expected));
    assert_eq!(std::fs::read(server.folder.path().join("default/models/a/m.safetensors")).unwrap(), bytes);
    assert_eq!(uploads_on_the_way(&server), 0);

    assert_eq!(server.get(FILE).await.body, bytes);
    let part = server.ask("GET", FILE, &[("range", "bytes=150000-")], "").await;
    assert_eq!(
        (part.status, part.headers["content-range"].as_bytes()),
        (206, b"bytes 150000-199999/200000".as_slice())
    );
    assert_eq!(part.body, bytes[150_000..]);
    let beyond = server.ask("GET", FILE, &[("range", "bytes=200000-")], "").await;
    assert_eq!((beyond.status, beyond.headers["content-range"].as_bytes()), (416, b"bytes */200000".as_slice()));
    let head = server.ask("HEAD", FILE, &[], "").await;
    assert_eq!((head.status, head.headers["content-length"].as_bytes()), (200, b"200000".as_slice()));
    assert!(head.body.is_empty());

    server.ask("PUT", FILE, &[], "new").await;
    assert_eq!(server.get(FILE).await.body, b"new");
    server.ask("PUT", "/namespaces/default/files/empty", &[], "").await;
    let empty = server.get("/namespaces/default/files/empty").await;
    assert_eq!((empty.status, empty.body.len()), (200, 0));
}

/// Whoever reads it must not take it for a whole one.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_fails_on_its_way_is_cut_and_one_that_does_not_begin_says_why() {
    let server = server(vec![], None).await;
    let refused = server.get("/backup").await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("busy")));
    let args = arguments(&server, server.url.trim_start_matches("http://").trim_end_matches("/api/v1"));
    server.root.stop_child("api-server").await.unwrap();
    let child = ChildSpec::role::<ApiServer>("again", &Address::new("again", 1), args, Restart::Permanent);
    server.root.start_child(child).await.unwrap();
    let url = format!("{}/backup", server.url);
    let whole = tokio::task::spawn_blocking(move || {
        let answer = ureq::get(&url).call()?;
        assert_eq!(answer.status(), 200);
        answer.into_body().read_to_vec()
    });
    assert!(whole.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_leaves_nothing_behind() {
    let server = server(vec![], None).await;
    let announced = server.ask("PUT", FILE, &[], vec![0; 300_001]).await;
    assert_eq!((announced.status, announced.json()["code"].clone()), (413, json!("too-large")));
    for (path, status) in [
        ("/namespaces/default/files/../../etc/passwd", 400),
        ("/namespaces/default/files/a/..%2F..%2Fx", 400),
        ("/namespaces/default/files/%2e%2e/x", 400),
        ("/namespaces/default/files/%2Fetc%2Fpasswd", 400),
        ("/namespaces/default/files/.hidden", 400),
        ("/namespaces/default/files/", 400),
        ("/namespaces/other/files/x", 404),
        ("/namespaces/.uploads/files/x", 404),
    ] {
        let put = server.ask("PUT", path, &[], "x").await;
        assert_eq!(put.status, status, "{path}: {put:?}");
        assert_eq!(server.get(path).await.status, status, "{path}");
    }
    assert_eq!(server.get("/namespaces/default/files/absent").await.status, 404);
    assert_eq!(server.ask("PUT", FILE, &[], "x").await.status, 201);
    assert_eq!(server.get("/namespaces/default/files/models/a").await.status, 404, "a folder is no file");
    assert_eq!(server.ask("PUT", "/namespaces/default/files/models/a", &[], "x").await.status, 400);
    assert_eq!(server.ask("PUT", &format!("{FILE}/below"), &[], "x").await.status, 400);
    assert_eq!(uploads_on_the_way(&server), 0);
    let names: Vec<_> = std::fs::read_dir(server.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

fn arguments(server: &Server, listen: &str) -> ApiServerArgs {
    ApiServerArgs {
        listen: listen.parse().unwrap(),
        tls: None,
        scheduler: Address::new("scheduler", 1),
        selector: Address::new("selector", 1),
        coordinators: Directory::new(),
        store: Arc::new(MemoryJobStore::default()),
        live: tokio::sync::broadcast::channel(1).0,
        gateway: Address::new("gateway", 1),
        root: server.root.clone(),
        access: Arc::new(MemoryAccessStore::default()),
        audit: nsfl_api_server::AuditKept { age: Duration::from_secs(3600), records: 1000 },
        loopback_without_token: true,
        logs: LogTail::new(),
        backup: support::broken_backup(),
        storage: server.folder.path().join("second"),
        namespaces: vec![],
        limits: limits(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_a_failure_that_names_it_and_the_setting_and_a_stopped_server_frees_it() {
    let server = server(vec![], None).await;
    let listen = server.url.trim_start_matches("http://").trim_end_matches("/api/v1").to_owned();
    let args = arguments(&server, &listen);
    let start = async || {
        let child = ChildSpec::role::<ApiServer>("api", &Address::new("second", 1), args.clone(), Restart::Temporary);
        Supervisor::start(SupervisorSpec::new("second").child(child)).await
    };
    let failure = start().await.unwrap_err().to_string();
    assert!(failure.contains(&listen) && failure.contains("rest.listen"), "{failure}");
    server.root.stop_child("api-server").await.unwrap();
    let second = start().await.unwrap();
    assert_eq!(server.get("/health").await.body, b"OK");
    second.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_listens_where_it_did_before() {
    let server = server(vec![], None).await;
    let args = arguments(&server, server.url.trim_start_matches("http://").trim_end_matches("/api/v1"));
    server.root.stop_child("api-server").await.unwrap();
    let child = ChildSpec::role::<ApiServer>("again", &Address::new("again", 1), args, Restart::Permanent);
    server.root.start_child(child).await.unwrap();
    assert_eq!(server.get("/health").await.status, 200);
    server.root.restart_child("again").await.unwrap();
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_serves_https_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let tls = Tls { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&tls.certificate, made.cert.pem()).unwrap();
    std::fs::write(&tls.key, made.signing_key.serialize_pem()).unwrap();
    let server = server(vec![], Some(tls)).await;
    assert!(server.url.starts_with("https://127.0.0.1:"));
    let (url, pem) = (format!("{}/health", server.url), made.cert.pem());
    let body = tokio::task::spawn_blocking(move || {
        let root = ureq::tls::Certificate::from_pem(pem.as_bytes()).unwrap();
        let tls = ureq::tls::TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs([root].into());
        let agent = ureq::Agent::config_builder().tls_config(tls.build()).build().new_agent();
        let plain = ureq::get(url.replacen("https", "http", 1)).call();
        assert!(plain.is_err(), "plain HTTP got an answer");
        agent.get(url).call().unwrap().body_mut().read_to_string().unwrap()
    });
    assert_eq!(body.await.unwrap(), "OK");
}
