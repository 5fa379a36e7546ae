//! The two ends of a connection: the server that listens, the client that dials and calls.

use super::*;
use nsfl_transport::proto::{GetRequest, PutReply, StatReply, StatRequest};

pub(super) struct Listens {
    pub(super) net: Net,
    pub(super) life: NodeLife,
}

impl Carrier for Listens {
    fn serve(&self, service: CarriedService, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let (net, life) = (self.net.clone(), self.life.clone());
        Box::pin(async move {
            life.lasting().await;
            net.0.state.lock().unwrap().listens = Some((service, life.clone()));
            let serving = Serving { net, life };
            stop.cancelled().await;
            serving.take_no_more();
            while serving.net.0.state.lock().unwrap().connections.iter().any(|c| c.server.is(&serving.life)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    }
}

/// Dropped, the server's connections end.
struct Serving {
    net: Net,
    life: NodeLife,
}

impl Serving {
    fn take_no_more(&self) {
        let mut state = self.net.0.state.lock().unwrap();
        if state.listens.as_ref().is_some_and(|(_, at)| at.is(&self.life)) {
            state.listens = None;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.take_no_more();
        let connections = self.net.0.state.lock().unwrap().connections.clone();
        connections.iter().filter(|c| c.server.is(&self.life)).for_each(|c| c.break_off());
    }
}

pub(super) struct Dials {
    pub(super) net: Net,
    pub(super) life: NodeLife,
    pub(super) client_peer: PeerId,
    pub(super) server_peer: PeerId,
}

#[async_trait]
impl Dial for Dials {
    async fn dial(&self) -> Result<(PeerId, Arc<dyn Calls>), Refusal> {
        self.life.lasting().await;
        let net = &self.net.0;
        tokio::time::sleep(net.delay(self.life.node())).await;
        let weather = net.weather(self.life.node());
        if weather.cut_up || weather.cut_down {
            std::future::pending::<()>().await;
        }
        let mut state = net.state.lock().unwrap();
        let listens = state.listens.clone().filter(|_| self.life.lasts());
        let Some((service, server)) = listens else {
            return Err(Refusal::new(Code::LinkLost, "nobody listens"));
        };
        state.made += 1;
        let connection = Arc::new(Connection {
            number: state.made,
            client: self.life.clone(),
            server,
            peer: self.client_peer.clone(),
            service,
            net: Arc::downgrade(net),
            streams: Mutex::default(),
            tasks: Mutex::default(),
            broken: CancellationToken::new(),
        });
        state.connections.push(Arc::clone(&connection));
        net.trace.note(format_args!("{} connected #{}", self.life.node(), connection.number));
        Ok((self.server_peer.clone(), Arc::new(Called { connection })))
    }
}

/// The client's end of a connection; dropped, the connection is over.
struct Called {
    connection: Arc<Connection>,
}

impl Drop for Called {
    fn drop(&mut self) {
        let Some(net) = self.connection.net.upgrade() else { return };
        net.state.lock().unwrap().connections.retain(|c| c.number != self.connection.number);
    }
}

#[async_trait]
impl Calls for Called {
    async fn session(&self, outgoing: Outbound<Frame>) -> Result<Inbound<Frame>, Refusal> {
        self.connection.client.lasting().await;
        let connection = Arc::clone(&self.connection);
        let inbound = connection.stream(Way::Up, outgoing);
        let opening = async move {
            let opened = connection.service.session(&connection.peer, inbound).await;
            let opened: Outbound<Frame> = match opened {
                Ok(frames) => frames,
                Err(refusal) => {
                    let _ = connection.cross(Way::Down).await;
                    return Err(refusal);
                }
            };
            Ok(connection.stream(Way::Down, opened))
        };
        self.connection.at_server(opening).await?
    }

    async fn get(&self, request: GetRequest) -> Result<Inbound<Chunk>, Refusal> {
        self.connection.client.lasting().await;
        self.connection.cross(Way::Up).await?;
        let connection = Arc::clone(&self.connection);
        let chunks = self.connection.at_server(async move { connection.service.get(&connection.peer, request).await });
        match chunks.await? {
            Ok(chunks) => Ok(self.connection.stream(Way::Down, chunks)),
            Err(refusal) => {
                self.connection.cross(Way::Down).await?;
                Err(refusal)
            }
        }
    }

    async fn put(&self, chunks: Outbound<Chunk>) -> Result<PutReply, Refusal> {
        self.connection.client.lasting().await;
        let connection = Arc::clone(&self.connection);
        let inbound = connection.stream(Way::Up, chunks);
        let stored = self.connection.at_server(async move { connection.service.put(&connection.peer, inbound).await });
        let stored = stored.await?;
        self.connection.cross(Way::Down).await?;
        stored
    }

    async fn stat(&self, request: StatRequest) -> Result<StatReply, Refusal> {
        self.connection.client.lasting().await;
        self.connection.cross(Way::Up).await?;
        let connection = Arc::clone(&self.connection);
        let held = self.connection.at_server(async move { connection.service.stat(&connection.peer, request).await });
        let held = held.await?;
        self.connection.cross(Way::Down).await?;
        held
    }
}
