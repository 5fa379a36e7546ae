//! Two sessions and a wire that is cut at any point.

use super::*;
use crate::proto::Tell;
use nsfl_types::Code;
use proptest::prelude::*;
use std::collections::VecDeque;

fn limits() -> Limits {
    Limits {
        payload_bytes: 16,
        credit_messages: 6,
        credit_bytes: 40,
        outbox_messages: 8,
        outbox_bytes: 64,
        ..Limits::default()
    }
}

fn tell(id: u32, len: usize) -> Frame {
    Frame { body: Some(Body::Tell(Tell { export: id, payload: vec![0; len].into() })), ..Frame::default() }
}

fn id_of(frame: &Frame) -> Option<u32> {
    match &frame.body {
        Some(Body::Tell(tell)) => Some(tell.export),
        _ => None,
    }
}

/// A message the receiver has and has not let go of.
struct Held {
    sequence: u64,
    len: usize,
}

struct World {
    a: State,
    b: State,
    up: bool,
    to_b: VecDeque<Frame>,
    to_a: VecDeque<Frame>,
    next_id: u32,
    owed: Vec<u32>,
    delivered: Vec<u32>,
    delivered_once: Vec<u32>,
    held: Vec<Held>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            a: State::new(&limits()),
            b: State::new(&limits()),
            up: false,
            to_b: VecDeque::new(),
            to_a: VecDeque::new(),
            next_id: 0,
            owed: vec![],
            delivered: vec![],
            delivered_once: vec![],
            held: vec![],
        };
        let (for_b, for_a) = (world.a.grant(), world.b.grant());
        world.a.restart(for_a);
        world.b.restart(for_b);
        world.up = true;
        world
    }

    fn send(&mut self, len: usize, delivery: Delivery) {
        self.next_id += 1;
        let sent = self.a.send(tell(self.next_id, len), delivery);
        if sent.is_ok() && delivery == Delivery::AtLeastOnce {
            self.owed.push(self.next_id);
        }
    }

    fn write(&mut self, bytes: usize) {
        if self.up {
            self.a.take(bytes, &mut self.to_b);
            self.b.take(bytes, &mut self.to_a);
        }
    }

    fn carry(&mut self, frames: usize) {
        for _ in 0..frames {
            if let Some(frame) = self.to_b.pop_front() {
                self.b.heard(&frame).unwrap();
                self.take_in(&frame);
            }
            if let Some(frame) = self.to_a.pop_front() {
                self.a.heard(&frame).unwrap();
            }
        }
    }

    fn take_in(&mut self, frame: &Frame) {
        let Some(id) = id_of(frame) else { return };
        let len = payload_len(frame);
        if self.b.receive(frame.sequence, len).expect("the sender keeps to its credit") == Verdict::Deliver {
            self.held.push(Held { sequence: frame.sequence, len });
            let list = if frame.sequence == 0 { &mut self.delivered_once } else { &mut self.delivered };
            list.push(id);
        }
        let (held, window) = (self.b.held(), Credit::window(&limits()));
        assert!(window.covers(held), "held {held:?} of {window:?}");
    }

    fn finish(&mut self, which: usize) {
        if !self.held.is_empty() {
            let Held { sequence, len } = self.held.remove(which % self.held.len());
            if sequence != 0 {
                self.b.commit(sequence);
            }
            self.b.release(len);
        }
    }

    fn cut(&mut self) {
        self.up = false;
        self.to_b.clear();
        self.to_a.clear();
        self.a.cut();
        self.b.cut();
    }

    /// Goes on `again` messages before what the receiver has: they come twice.
    fn reconnect(&mut self, again: u64) {
        if !self.up {
            let (for_b, for_a) = (self.a.grant(), self.b.grant());
            let (a_received, b_received) = (self.a.received(), self.b.received());
            assert!(self.a.can_resume(b_received) && self.b.can_resume(a_received));
            let from = b_received.saturating_sub(again);
            self.a.resume(if self.a.can_resume(from) { from } else { b_received }, for_a);
            self.b.resume(a_received, for_b);
            self.up = true;
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send(usize, bool),
    Write(usize),
    Carry(usize),
    Finish(usize),
    Cut,
    Reconnect(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..=16, any::<bool>()).prop_map(|(len, owed)| Step::Send(len, owed)),
        4 => (1_usize..400).prop_map(Step::Write),
        4 => (1_usize..6).prop_map(Step::Carry),
        4 => (0_usize..8).prop_map(Step::Finish),
        1 => Just(Step::Cut),
        1 => (0_u64..4).prop_map(Step::Reconnect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_owed_is_lost_or_doubled_and_credit_is_never_exceeded(steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Send(len, true) => world.send(len, Delivery::AtLeastOnce),
                Step::Send(len, false) if world.up => world.send(len, Delivery::AtMostOnce),
                Step::Send(..) => {}
                Step::Write(bytes) => world.write(bytes),
                Step::Carry(frames) => world.carry(frames),
                Step::Finish(which) => world.finish(which),
                Step::Cut => world.cut(),
                Step::Reconnect(again) => world.reconnect(again),
            }
            prop_assert!(world.owed.starts_with(&world.delivered), "{:?} of {:?}", world.delivered, world.owed);
            prop_assert!(world.delivered_once.is_sorted_by(|x, y| x < y));
            let (messages, bytes) = world.a.outbox();
            prop_assert!(messages <= 8 && bytes <= 64);
        }
        // However it went: once the wire holds and the receiver works, everything owed arrives, and its outbox empties.
        world.cut();
        world.reconnect(2);
        for _ in 0..64 {
            world.write(1000);
            world.carry(100);
            while !world.held.is_empty() {
                world.finish(0);
            }
        }
        prop_assert_eq!(&world.delivered, &world.owed);
        prop_assert_eq!(world.a.outbox(), (0, 0));
        prop_assert_eq!(world.a.queued(), (0, 0));
    }
}

#[test]
fn a_sender_beyond_its_credit_is_found_out() {
    let mut receiver = State::new(&limits());
    receiver.grant();
    for _ in 0..6 {
        receiver.receive(0, 1).unwrap();
    }
    assert_eq!(receiver.receive(0, 1), Err(Violation(Code::CreditExceeded, "more was sent than credit was given for")));
}

#[test]
fn a_gap_and_an_ack_of_nothing_are_violations() {
    let mut state = State::new(&limits());
    state.grant();
    assert_eq!(state.receive(2, 1).unwrap_err().0, Code::BadFrame);
    assert_eq!(state.heard(&Frame { ack: 1, ..Frame::default() }).unwrap_err().0, Code::BadFrame);
}

#[test]
fn a_peer_that_grants_too_much_is_not_believed() {
    let mut state = State::new(&limits());
    state.restart(Credit { messages: u32::MAX, bytes: u32::MAX });
    state.heard(&Frame { credit_messages: u32::MAX, credit_bytes: u32::MAX, ..Frame::default() }).unwrap();
    let sent = (0..100).take_while(|&id| state.send(tell(id, 1), Delivery::AtMostOnce).is_ok()).count();
    assert_eq!(sent, 6);
}

#[test]
fn a_peer_that_has_forgotten_what_it_received_cannot_resume() {
    let mut state = State::new(&limits());
    state.restart(Credit { messages: 6, bytes: 40 });
    for id in 0..3 {
        state.send(tell(id, 1), Delivery::AtLeastOnce).unwrap();
    }
    state.take(1000, &mut VecDeque::new());
    state.heard(&Frame { ack: 2, ..Frame::default() }).unwrap();
    assert!(!state.can_resume(1) && state.can_resume(2) && state.can_resume(3) && !state.can_resume(4));
}

#[test]
fn an_ack_is_the_contiguous_prefix_of_what_was_committed() {
    let mut state = State::new(&limits());
    state.grant();
    for sequence in 1..=3 {
        state.receive(sequence, 1).unwrap();
    }
    let mut acks = |sequence| {
        state.commit(sequence);
        let mut frames = VecDeque::new();
        state.take(1000, &mut frames);
        frames.front().map(|frame: &Frame| frame.ack)
    };
    assert_eq!(acks(2), None);
    assert_eq!(acks(1), Some(2));
    assert_eq!(acks(3), Some(3));
}
