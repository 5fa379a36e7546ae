//! Sessions: delivery over cuts, credit, silence, and peers that break the rules.

use crate::support::*;
use bytes::Bytes;
use nsfl_transport::proto::frame::Body;
use nsfl_transport::proto::{Frame, Tell};
use nsfl_transport::{Delivery, LinkError, LinkEvent, Liveness, Refusal, connect};
use nsfl_types::Code;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

fn quick() -> Liveness {
    Liveness {
        heartbeat: Duration::from_millis(20),
        unreachable: Duration::from_millis(150),
        ttl: Duration::from_millis(400),
    }
}

#[tokio::test]
async fn tells_and_asks_go_both_ways_with_their_trace_context() {
    let mut p = pair(Liveness::default()).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    p.link.traced(trace).try_send(SERVER_EXPORT, "up".into(), Delivery::AtMostOnce).unwrap();
    let incoming = message(&mut p.server_events).await;
    assert_eq!((&incoming.payload[..], incoming.trace.as_deref()), (&b"up"[..], Some(trace)));

    let asked = tokio::spawn(async move { p.at_server.ask(CLIENT_EXPORT, "2+2".into(), LONG).await });
    let mut question = message(&mut p.events).await;
    assert_eq!(question.timeout, Some(LONG));
    question.reply.take().unwrap().reply("4".into()).unwrap();
    assert_eq!(soon(asked).await.unwrap().unwrap(), Bytes::from("4"));

    let link = p.link.clone();
    let asked = tokio::spawn(async move { link.ask(SERVER_EXPORT, "?".into(), LONG).await });
    let mut question = message(&mut p.server_events).await;
    question.reply.take().unwrap().refuse(&Refusal::new(Code::Stale, "too late"));
    assert_eq!(soon(asked).await.unwrap(), Err(LinkError::Refused(Refusal::new(Code::Stale, "too late"))));

    let link = p.link.clone();
    let asked = tokio::spawn(async move { link.ask(SERVER_EXPORT, "?".into(), LONG).await });
    drop(message(&mut p.server_events).await);
    assert_eq!(soon(asked).await.unwrap().unwrap_err().code(), Code::LinkLost);
    let unanswered = p.link.ask(SERVER_EXPORT, "?".into(), Duration::from_millis(20)).await;
    assert_eq!(unanswered, Err(LinkError::Timeout));
}

#[tokio::test]
async fn what_is_owed_arrives_once_and_in_order_over_many_cuts() {
    let mut p = pair(Liveness::default()).await;
    let link = p.link.clone();
    let sender = tokio::spawn(async move {
        for i in 0..2_000_u32 {
            let payload = Bytes::copy_from_slice(&i.to_le_bytes());
            soon(link.send(SERVER_EXPORT, payload, Delivery::AtLeastOnce, LONG)).await.unwrap();
        }
    });
    let (mut seen, mut resumed) = (0_u32, 0);
    while seen < 2_000 {
        match next(&mut p.server_events).await {
            LinkEvent::Message(incoming) => {
                assert_eq!(incoming.payload[..], seen.to_le_bytes());
                incoming.done();
                seen += 1;
                if seen % 300 == 0 {
                    p.proxy.cut();
                }
            }
            LinkEvent::Up { resumed: true } => resumed += 1,
            other => panic!("{other:?}"),
        }
    }
    soon(sender).await.unwrap();
    assert!(resumed >= 1, "the session was cut and went on");
    let all_acked = async {
        while p.link.stats().outbox_messages > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(all_acked).await;
    assert_eq!(p.link.stats().sessions_lost, 0);
}

#[tokio::test]
async fn after_a_restart_of_the_server_the_client_is_told_that_its_session_is_new() {
    let mut p = pair(Liveness::default()).await;
    p.server.shutdown(Duration::from_millis(200)).await;
    assert_eq!(down(&mut p.events).await, Code::LinkLost);
    assert_eq!(down(&mut p.server_events).await, Code::LinkLost);
    assert!(soon(p.server_events.recv()).await.is_none(), "a server's link ends with its session");
    let again = server(p.federation.server(), &p.gateway, Liveness::default()).await;
    p.proxy.aim(again.local_addr());
    let (_, _, mut events) = p.gateway.opened().await;
    assert!(matches!(next(&mut p.events).await, LinkEvent::Up { resumed: false }));
    p.link.try_send(SERVER_EXPORT, "new".into(), Delivery::AtLeastOnce).unwrap();
    assert!(matches!(next(&mut events).await, LinkEvent::Up { .. }));
    message(&mut events).await.done();
}

#[tokio::test]
async fn a_newer_process_with_the_same_identity_takes_over_and_the_older_is_told() {
    let mut p = pair(Liveness::default()).await;
    let mut newer = config(p.proxy.address, p.federation.client("site-1"));
    newer.incarnation = 2;
    let (_link, mut newer_events, _) = connect(newer);
    assert_eq!(down(&mut p.server_events).await, Code::Stale);
    assert!(matches!(next(&mut newer_events).await, LinkEvent::Up { resumed: false }));
    assert_eq!(down(&mut p.events).await, Code::Stale);
    // It tries again, and is refused because it is older.
    assert_eq!(p.gateway.refusal().await.1, Code::Stale);
}

#[tokio::test]
async fn a_message_dropped_uncommitted_ends_the_session_so_that_both_sides_reconcile() {
    let mut p = pair(Liveness::default()).await;
    p.link.try_send(SERVER_EXPORT, "precious".into(), Delivery::AtLeastOnce).unwrap();
    drop(message(&mut p.server_events).await);
    assert_eq!(down(&mut p.server_events).await, Code::LinkLost);
    assert_eq!(down(&mut p.events).await, Code::LinkLost);
    assert!(matches!(next(&mut p.events).await, LinkEvent::Up { resumed: false }));
}

#[tokio::test]
async fn a_silent_peer_is_unreachable_and_then_down_on_both_sides() {
    let mut p = pair(quick()).await;
    p.proxy.stall(true);
    for events in [&mut p.events, &mut p.server_events] {
        assert!(matches!(next(events).await, LinkEvent::Unreachable));
        assert_eq!(down(events).await, Code::LinkLost);
    }
    assert_eq!(p.link.try_send(SERVER_EXPORT, "x".into(), Delivery::AtLeastOnce), Err(LinkError::Down));
    p.proxy.stall(false);
    assert!(matches!(next(&mut p.events).await, LinkEvent::Up { resumed: false }));
}

#[tokio::test]
async fn a_peer_that_stops_reading_costs_the_server_no_more_than_its_window() {
    let p = pair(Liveness::default()).await;
    p.proxy.stall(true);
    let big = Bytes::from(vec![7; 1 << 20]);
    let sent = (0..64).filter(|_| p.at_server.try_send(CLIENT_EXPORT, big.clone(), Delivery::AtMostOnce).is_ok());
    assert_eq!(sent.count(), 4, "four mebibytes of credit");
    let owed = (0..64).filter(|_| p.at_server.try_send(CLIENT_EXPORT, big.clone(), Delivery::AtLeastOnce).is_ok());
    assert_eq!(owed.count(), 16, "sixteen mebibytes of outbox");
    let stats = p.at_server.stats();
    assert!(stats.queued_bytes <= 4 << 20, "{stats:?}");
    assert_eq!((stats.outbox_bytes, stats.credit_bytes), (16 << 20, 0));
}

#[tokio::test]
async fn what_the_peer_cannot_take_is_refused_before_it_is_sent() {
    let p = pair(Liveness::default()).await;
    let send = |export, len| p.link.try_send(export, Bytes::from(vec![0; len]), Delivery::AtMostOnce);
    assert_eq!(send(99, 1), Err(LinkError::NotExported(99)));
    let too_large = LinkError::TooLarge { len: (1 << 20) + 1, max: 1 << 20 };
    assert_eq!(send(SERVER_EXPORT, (1 << 20) + 1), Err(too_large));
    let refused = Refusal::new(Code::Stale, "over");
    p.link.close(&refused);
    assert_eq!(send(SERVER_EXPORT, 1), Err(LinkError::Down));
}

#[tokio::test]
async fn frames_for_what_is_not_exported_are_refused_and_at_last_the_peer_is_sent_away() {
    let p = pair(Liveness::default()).await;
    let credentials = p.federation.client("rogue");
    let (out, mut inbound) = raw_session(p.server.local_addr(), &credentials, hello()).await.unwrap();
    let (_, _link, mut events) = p.gateway.opened().await;
    assert!(matches!(body(&mut inbound).await, Body::Welcome(_)));
    for _ in 0..8 {
        out.send(tell(99, 1)).unwrap();
        let Body::Nack(nack) = body(&mut inbound).await else { panic!("a nack was expected") };
        assert_eq!((nack.code.as_str(), nack.export), ("not-addressable", 99));
        assert_eq!(p.gateway.refusal().await.1, Code::NotAddressable);
    }
    out.send(tell(99, 1)).unwrap();
    assert_eq!(farewell(&mut inbound).await, "not-addressable");
    assert!(matches!(next(&mut events).await, LinkEvent::Up { .. }));
    assert_eq!(down(&mut events).await, Code::NotAddressable);
}

#[tokio::test]
async fn overrun_credit_gaps_and_oversize_payloads_end_the_session() {
    let p = pair(Liveness::default()).await;
    let overrun: Vec<Frame> = (0..1025).map(|_| tell(SERVER_EXPORT, 1)).collect();
    let gap = vec![Frame { sequence: 5, ..tell(SERVER_EXPORT, 1) }];
    let oversize = vec![tell(SERVER_EXPORT, (1 << 20) + 1)];
    let second_hello = vec![framed(Body::Hello(Box::new(hello())))];
    let cases =
        [("credit-exceeded", overrun), ("bad-frame", gap), ("too-large", oversize), ("bad-frame", second_hello)];
    for (i, (code, frames)) in cases.into_iter().enumerate() {
        let credentials = p.federation.client(&format!("rogue-{i}"));
        let (out, mut inbound) = raw_session(p.server.local_addr(), &credentials, hello()).await.unwrap();
        let (_, _link, _events) = p.gateway.opened().await;
        frames.into_iter().for_each(|frame| out.send(frame).unwrap());
        assert_eq!(farewell(&mut inbound).await, code);
        assert_eq!(p.gateway.refusal().await.1.as_str(), code);
    }
}

#[tokio::test]
async fn a_frame_above_the_limit_of_the_decoder_is_refused_before_it_is_held() {
    let p = pair(Liveness::default()).await;
    let credentials = p.federation.client("rogue");
    let (out, _inbound) = raw_session(p.server.local_addr(), &credentials, hello()).await.unwrap();
    let (_, _link, mut events) = p.gateway.opened().await;
    out.send(tell(SERVER_EXPORT, 8 << 20)).unwrap();
    assert!(matches!(next(&mut events).await, LinkEvent::Up { .. }));
    assert_eq!(down(&mut events).await, Code::TooLarge);
    assert_eq!(p.gateway.refusal().await.1, Code::TooLarge);
}

#[tokio::test]
async fn anothers_token_does_not_resume_a_session() {
    let p = pair(Liveness::default()).await;
    let site = p.federation.client("site-2");
    let (_out, mut inbound) = raw_session(p.server.local_addr(), &site, hello()).await.unwrap();
    let Body::Welcome(welcome) = body(&mut inbound).await else { panic!("a welcome was expected") };
    let mut stolen = hello();
    (stolen.session, stolen.token, stolen.dial) = (welcome.session, welcome.token.clone(), 2);
    let thief = p.federation.client("site-3");
    let (_out, mut inbound) = raw_session(p.server.local_addr(), &thief, stolen.clone()).await.unwrap();
    let Body::Welcome(other) = body(&mut inbound).await else { panic!("a welcome was expected") };
    assert!(!other.resumed && other.session != welcome.session);
    // Its owner can.
    let (_out, mut inbound) = raw_session(p.server.local_addr(), &site, stolen).await.unwrap();
    let Body::Welcome(own) = body(&mut inbound).await else { panic!("a welcome was expected") };
    assert!(own.resumed && own.session == welcome.session);
}

fn tell(export: u16, len: usize) -> Frame {
    framed(Body::Tell(Tell { export: export.into(), payload: vec![0; len].into() }))
}

/// The code of the go-away that ends the stream.
async fn farewell(inbound: &mut tonic::Streaming<Frame>) -> String {
    loop {
        if let Body::GoAway(go) = body(inbound).await {
            return go.code;
        }
    }
}
