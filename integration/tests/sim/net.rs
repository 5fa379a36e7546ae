//! A network in memory below the real links: connections, streams and calls that are delayed, cut one way or both, broken;
//! frames that are lost, doubled or overtaken. Sessions, handshakes and transfers above it are the real ones.

mod ends;

use crate::dice::{Dice, NodeLife};
use crate::oracle::Oracle;
use crate::pipe::{Pipe, Receiver, State as PipeState};
use crate::trace::Trace;
use async_trait::async_trait;
use ends::{Dials, Listens};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use nsfl_transport::proto::{Chunk, Frame};
use nsfl_transport::{Calls, CarriedService, Carrier, Dial, Inbound, Outbound, PeerId, Refusal};
use nsfl_types::Code;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A connection that lost a frame goes on for so long. It does not live with that for ever: TCP gives nothing up and lives.
const LOSS_ENDS: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Up,
    Down,
}

/// The weather on one client's link.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    pub cut_up: bool,
    pub cut_down: bool,
    /// Longest delay, beside the usual one.
    pub slow_ms: u64,
    /// Out of a thousand frames.
    pub lost: u64,
    pub doubled: u64,
    pub overtaken: u64,
}

impl Weather {
    pub fn is_cut(&self, way: Way) -> bool {
        match way {
            Way::Up => self.cut_up,
            Way::Down => self.cut_down,
        }
    }
}

#[derive(Clone)]
pub struct Net(Arc<Inner>);

pub struct Inner {
    pub dice: Dice,
    pub trace: Trace,
    pub oracle: Oracle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listens: Option<(CarriedService, NodeLife)>,
    weather: BTreeMap<String, Weather>,
    connections: Vec<Arc<Connection>>,
    made: u64,
}

/// One connection: its streams, and the tasks that move what is in them.
pub struct Connection {
    number: u64,
    client: NodeLife,
    server: NodeLife,
    peer: PeerId,
    service: CarriedService,
    net: Weak<Inner>,
    streams: Mutex<Vec<(Way, Weak<dyn Breaks>)>>,
    tasks: Mutex<Vec<(NodeLife, AbortHandle)>>,
    broken: CancellationToken,
}

/// A stream of any kind, seen by the network.
pub trait Breaks: Send + Sync {
    fn break_off(&self);
    fn look_again(&self);
}

impl Net {
    pub fn new(dice: Dice, trace: Trace, oracle: Oracle) -> Self {
        Self(Arc::new(Inner { dice, trace, oracle, state: Mutex::default() }))
    }

    pub fn carrier(&self, server: &NodeLife) -> Arc<dyn Carrier> {
        Arc::new(Listens { net: self.clone(), life: server.clone() })
    }

    pub fn dial(&self, client: &NodeLife, client_peer: PeerId, server_peer: PeerId) -> Arc<dyn Dial> {
        Arc::new(Dials { net: self.clone(), life: client.clone(), client_peer, server_peer })
    }

    pub fn set_weather(&self, client: &str, change: impl FnOnce(&mut Weather)) {
        let connections = {
            let mut state = self.0.state.lock().unwrap();
            change(state.weather.entry(client.to_owned()).or_default());
            state.of(client)
        };
        connections.iter().for_each(|connection| connection.look_again());
    }

    /// The client's connections break: what is under way in them is lost, both ends learn of it.
    pub fn break_link(&self, client: &str) {
        let connections = self.0.state.lock().unwrap().of(client);
        connections.iter().for_each(|connection| connection.break_off());
    }

    /// The node is gone: what it still had to send is not sent, and its peers learn of it if their link is up.
    pub fn node_died(&self, life: &NodeLife) {
        let mut state = self.0.state.lock().unwrap();
        if state.listens.as_ref().is_some_and(|(_, at)| at.is(life)) {
            state.listens = None;
        }
        let (theirs, others) = state.connections.drain(..).partition(|c| c.client.is(life) || c.server.is(life));
        state.connections = others;
        drop(state);
        let theirs: Vec<Arc<Connection>> = theirs;
        for connection in theirs {
            for (of, task) in connection.tasks.lock().unwrap().iter() {
                if of.is(life) {
                    task.abort();
                }
            }
            connection.break_off();
        }
    }
}

impl State {
    fn of(&self, client: &str) -> Vec<Arc<Connection>> {
        self.connections.iter().filter(|c| c.client.node() == client).cloned().collect()
    }
}

impl Inner {
    pub fn weather(&self, client: &str) -> Weather {
        self.state.lock().unwrap().weather.get(client).copied().unwrap_or_default()
    }

    /// When something sent now arrives.
    pub fn delay(&self, client: &str) -> Duration {
        let slow = self.weather(client).slow_ms;
        self.dice.millis(1, 5 + slow)
    }
}

impl Connection {
    pub fn client(&self) -> &str {
        self.client.node()
    }

    fn break_off(&self) {
        self.broken.cancel();
        for (_, stream) in self.streams.lock().unwrap().drain(..) {
            if let Some(stream) = stream.upgrade() {
                stream.break_off();
            }
        }
        if let Some(net) = self.net.upgrade() {
            net.state.lock().unwrap().connections.retain(|c| c.number != self.number);
        }
    }

    fn look_again(&self) {
        for (_, stream) in self.streams.lock().unwrap().iter() {
            if let Some(stream) = stream.upgrade() {
                stream.look_again();
            }
        }
    }

    /// A stream from one end to the other: what `source` gives, at the other end, as the weather has it.
    fn stream<T: Item>(self: &Arc<Self>, way: Way, mut source: Outbound<T>) -> Inbound<T> {
        let (from, to) = match way {
            Way::Up => (self.client.clone(), self.server.clone()),
            Way::Down => (self.server.clone(), self.client.clone()),
        };
        let pipe = Arc::new(Pipe::<T>::default());
        let stream: Arc<dyn Breaks> = pipe.clone();
        self.streams.lock().unwrap().push((way, Arc::downgrade(&stream)));
        if self.broken.is_cancelled() {
            pipe.break_off();
        }
        let (connection, filled, life) = (Arc::clone(self), pipe.clone(), from.clone());
        let relay = tokio::spawn(async move {
            loop {
                let item = tokio::select! {
                    biased;
                    () = filled.abandoned() => return,
                    item = source.next() => item,
                };
                if !life.lasts() {
                    return;
                }
                let Some(net) = connection.net.upgrade() else { return };
                match item {
                    Some(item) => connection.send(&net, way, item, &filled),
                    None => {
                        let after = net.delay(connection.client());
                        return filled.end(Instant::now() + after);
                    }
                }
            }
        });
        self.tasks.lock().unwrap().push((from, relay.abort_handle()));
        Receiver { pipe, connection: Arc::clone(self), way, to }.into_stream()
    }

    fn send<T: Item>(self: &Arc<Self>, net: &Inner, way: Way, item: T, pipe: &Pipe<T>) {
        item.leaves(net, self.client(), way);
        let weather = net.weather(self.client());
        if T::MAY_BE_LOST && net.dice.per_mille(weather.lost) {
            let connection = Arc::downgrade(self);
            tokio::spawn(async move {
                tokio::time::sleep(LOSS_ENDS).await;
                if let Some(connection) = connection.upgrade() {
                    connection.break_off();
                }
            });
            return net.trace.note(format_args!(
                "{} {way:?} #{} lost: {}",
                self.client(),
                self.number,
                item.shown(way)
            ));
        }
        let at = Instant::now() + net.delay(self.client());
        let copies = 1 + u64::from(T::MAY_BE_LOST && net.dice.per_mille(weather.doubled));
        let overtakes = T::MAY_BE_LOST && net.dice.per_mille(weather.overtaken);
        for _ in 0..copies {
            pipe.push(at, item.clone(), !overtakes);
        }
    }

    /// One way of a call without a stream.
    async fn cross(&self, way: Way) -> Result<(), Refusal> {
        let lost = || Refusal::new(Code::LinkLost, "the connection broke");
        let Some(net) = self.net.upgrade() else { return Err(lost()) };
        let crossing = async {
            tokio::time::sleep(net.delay(self.client())).await;
            while net.weather(self.client()).is_cut(way) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            biased;
            () = self.broken.cancelled() => Err(lost()),
            () = crossing => Ok(()),
        }
    }

    /// Runs the server's part of a call as the server's task.
    async fn at_server<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Refusal> {
        let task = tokio::spawn(work);
        self.tasks.lock().unwrap().push((self.server.clone(), task.abort_handle()));
        task.await.map_err(|_| Refusal::new(Code::LinkLost, "the server is gone"))
    }
}

/// What goes through streams.
pub trait Item: Clone + Send + 'static {
    const MAY_BE_LOST: bool;
    fn leaves(&self, net: &Inner, client: &str, way: Way);
    fn arrives(&self, net: &Inner, client: &str, way: Way);
    fn shown(&self, way: Way) -> String;
}

impl Item for Frame {
    const MAY_BE_LOST: bool = true;

    fn leaves(&self, net: &Inner, client: &str, way: Way) {
        net.oracle.frame_leaves(client, way, self);
    }

    fn arrives(&self, net: &Inner, client: &str, way: Way) {
        net.oracle.frame_arrives(client, way, self);
    }

    fn shown(&self, way: Way) -> String {
        crate::oracle::shown(way, self)
    }
}

impl Item for Chunk {
    const MAY_BE_LOST: bool = false;
    fn leaves(&self, _: &Inner, _: &str, _: Way) {}
    fn arrives(&self, net: &Inner, client: &str, way: Way) {
        net.trace.note(format_args!("{client} {way:?} {}", self.shown(way)));
    }
    fn shown(&self, _: Way) -> String {
        format!("chunk at {} of {} bytes", self.offset, self.data.len())
    }
}

impl<T: Item> Receiver<T> {
    /// What to do next: take an item, wait, or end.
    fn look(&self) -> PipeState<T> {
        let Some(net) = self.connection.net.upgrade() else { return PipeState::Never };
        if !self.to.lasts() {
            return PipeState::Never;
        }
        let cut = net.weather(self.connection.client()).is_cut(self.way);
        let state = self.pipe.take(Instant::now(), cut);
        if let PipeState::Item(item) = &state {
            item.arrives(&net, self.connection.client(), self.way);
        }
        state
    }

    fn into_stream(self) -> Inbound<T> {
        futures_util::stream::unfold(self, |receiver| async move {
            loop {
                match receiver.look() {
                    PipeState::Item(item) => return Some((Ok(item), receiver)),
                    PipeState::Ended => return None,
                    PipeState::Broken => {
                        return Some((Err(Refusal::new(Code::LinkLost, "the connection broke")), receiver));
                    }
                    PipeState::Never => std::future::pending::<()>().await,
                    PipeState::Until(at) => {
                        tokio::select! {
                            biased;
                            () = receiver.pipe.changed() => {}
                            () = tokio::time::sleep_until(at) => {}
                        }
                    }
                    PipeState::Changed => receiver.pipe.changed().await,
                }
            }
        })
        .boxed()
    }
}
