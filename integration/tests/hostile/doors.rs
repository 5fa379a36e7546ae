//! Who does not get in.

use crate::evil::{Evil, pair, wait_refused};
use crate::{ended, honest, job, raw};
use nsfl_integration::{Federation, Options};
use nsfl_transport::Credentials;
use nsfl_transport::proto::StatRequest;
use nsfl_transport::proto::frame::Body;
use nsfl_transport::provision::{Authority, Validity};
use nsfl_types::Code;
use std::io::Write as _;
use time::OffsetDateTime;

#[test]
fn strangers_are_turned_away_by_their_own_codes_and_counted_while_a_job_runs() {
    let expected = honest(2);
    let federation = Federation::start(&Options::default()).unwrap();
    let mut job = job(2);
    job["hyper_parameters"]["client_num"] = serde_json::json!(2);
    federation.submit(&job).unwrap();
    let ours = federation.authority();

    let other = Authority::create("tests", Validity::days(OffsetDateTime::now_utc(), 1)).unwrap();
    let mut stranger = Evil::dial(&federation, &pair(&other, "c1", 1), ours, None);
    assert_eq!(stranger.turned_away(), Code::BadCertificate, "another authority");
    wait_refused(&federation, Code::BadCertificate, 1);

    let mut late = Evil::dial(&federation, &pair(ours, "c9", -10), ours, None);
    assert_eq!(late.turned_away(), Code::BadCertificate, "expired");
    wait_refused(&federation, Code::BadCertificate, 2);

    let mut impostor = Evil::dial(&federation, &pair(ours, "evil", 1), ours, Some("c1"));
    assert_eq!(impostor.turned_away(), Code::WrongIdentity, "its own certificate, another's name");
    wait_refused(&federation, Code::WrongIdentity, 1);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = federation.link().unwrap();
    let ca = &ours.pem().certificate;
    let known = pair(ours, "evil", 1);
    let known = Credentials::from_pem(ca, &known.certificate, &known.key).unwrap();
    runtime.block_on(async {
        // whether it notices in the handshake or after it, no call succeeds
        if let Ok(mut client) = raw::client(&server, raw::anonymous(&known)).await {
            assert!(client.stat(StatRequest { digest: vec![0; 32].into() }).await.is_err());
        }
    });
    wait_refused(&federation, Code::NoCertificate, 1);

    // no TLS at all
    let mut plain = std::net::TcpStream::connect(&server).unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    wait_refused(&federation, Code::BadFrame, 1);

    runtime.block_on(async {
        let (out, mut inbound) = raw::session(&server, &known, 1).await;
        out.send(raw::tell(99, 1)).unwrap();
        let Some(Body::Nack(nack)) = inbound.message().await.unwrap().unwrap().body else { panic!("a nack is due") };
        assert_eq!((nack.code.as_str(), nack.export), ("not-addressable", 99));
        let (out, mut inbound) = raw::session(&server, &known, 2).await;
        out.send(raw::tell(1, (1 << 20) + 1)).unwrap();
        let Some(Body::GoAway(end)) = inbound.message().await.unwrap().unwrap().body else { panic!("an end is due") };
        assert_eq!(end.code, "too-large");
    });
    wait_refused(&federation, Code::NotAddressable, 1);
    wait_refused(&federation, Code::TooLarge, 1);

    assert_eq!(ended(&federation), expected);
    assert_eq!(federation.rest.get("/health").unwrap().status, 200);
}
