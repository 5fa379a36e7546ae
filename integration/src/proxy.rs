//! A network between a client and the server that can be disturbed: a TCP proxy whose directions can be held, slowed
//! and cut. Bytes are never lost or changed in a connection that lives, as in TCP: what a real network drops comes later.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// How a direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Weather {
    /// Nothing is in the way.
    #[default]
    Fine,
    /// Nothing passes.
    Held,
    /// Everything comes this much later.
    Late(Duration),
    /// One byte a second.
    Trickle,
}

/// The proxy. Dropped, it accepts no more and ends what it carries.
pub(crate) struct Proxy {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    net: Mutex<Net>,
    changed: Condvar,
}

#[derive(Default)]
struct Net {
    target: Option<SocketAddr>,
    up: Weather,
    down: Weather,
    /// Both ends of each connection: the client's, and the server's.
    pairs: Vec<(TcpStream, TcpStream)>,
    over: bool,
}

impl Proxy {
    /// Begins to accept; connections end at once until it is aimed.
    ///
    /// # Errors
    /// No port.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, state) = (listener.local_addr()?, Arc::<State>::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.net().over {
                    return;
                }
                let _ = shared.connect(client);
            }
        });
        Ok(Self { address, state })
    }

    /// Where connections go from now on.
    pub(crate) fn aim(&self, target: SocketAddr) {
        self.state.net().target = Some(target);
    }

    /// From now on this direction is so.
    pub(crate) fn set(&self, way: Way, weather: Weather) {
        let mut net = self.state.net();
        match way {
            Way::Up => net.up = weather,
            Way::Down => net.down = weather,
        }
        drop(net);
        self.state.changed.notify_all();
    }

    /// Both directions.
    pub(crate) fn set_both(&self, weather: Weather) {
        self.set(Way::Up, weather);
        self.set(Way::Down, weather);
    }

    /// Ends every connection on both sides.
    pub(crate) fn cut(&self) {
        for (client, server) in self.state.net().pairs.drain(..) {
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        }
    }

    /// The server's side of every connection ends, and the client is not told.
    pub(crate) fn half_open(&self) {
        self.set_both(Weather::Held);
        for (_, server) in &self.state.net().pairs {
            let _ = server.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.net().over = true;
        self.state.changed.notify_all();
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn net(&self) -> MutexGuard<'_, Net> {
        self.net.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: &Arc<Self>, client: TcpStream) -> std::io::Result<()> {
        let Some(target) = self.net().target else { return Ok(()) };
        let server = TcpStream::connect(target)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        self.net().pairs.push((client.try_clone()?, server.try_clone()?));
        for (way, from, to) in [(Way::Up, client.try_clone()?, server.try_clone()?), (Way::Down, server, client)] {
            let state = Arc::clone(self);
            thread::spawn(move || state.forward(way, from, to));
        }
        Ok(())
    }

    fn forward(&self, way: Way, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            let mut rest = &buffer[..len];
            while !rest.is_empty() {
                let Some(pace) = self.may_pass(way, rest.len()) else { return };
                let (now, later) = rest.split_at(pace);
                if to.write_all(now).is_err() {
                    return;
                }
                rest = later;
            }
        }
        // a connection that ended while nothing passes is not seen to end
        if self.may_pass(way, 0).is_some() {
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    /// Waits until something may pass and says how much of `len`; `None` when the proxy is over.
    fn may_pass(&self, way: Way, len: usize) -> Option<usize> {
        let mut net = self.net();
        loop {
            if net.over {
                return None;
            }
            match if way == Way::Up { net.up } else { net.down } {
                Weather::Fine => return Some(len),
                Weather::Held => net = self.changed.wait(net).unwrap_or_else(PoisonError::into_inner),
                Weather::Late(by) => {
                    drop(net);
                    thread::sleep(by);
                    return Some(len);
                }
                Weather::Trickle => {
                    // fine weather ends the wait
                    let second = Duration::from_secs(1);
                    let (back, waited) = self.changed.wait_timeout(net, second).unwrap_or_else(PoisonError::into_inner);
                    if waited.timed_out() {
                        return Some(len.min(1));
                    }
                    net = back;
                }
            }
        }
    }
}
