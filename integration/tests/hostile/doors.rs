//! Who does not get in.

use crate::evil::{Evil, pair, refused, wait_refused};
use crate::{ended, honest, job};
use nsfl_integration::{Federation, Options};
use nsfl_transport::provision::{Authority, Validity};
use nsfl_types::Code;
use std::io::{Read as _, Write as _};
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

    // no TLS at all
    let mut plain = std::net::TcpStream::connect(federation.link().unwrap()).unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let before = refused(&federation, Code::LinkLost) + refused(&federation, Code::BadCertificate);
    let _ = plain.read_to_end(&mut Vec::new());
    assert!(before >= 2);

    assert_eq!(ended(&federation), expected);
    assert_eq!(federation.rest.get("/health").unwrap().status, 200);
}
