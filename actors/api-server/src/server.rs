//! The api-server as an actor: its life is the life of the HTTP server. Requests do not pass its mailbox.

use crate::access::Access;
use crate::args::ApiServerArgs;
use crate::guard::guard;
use crate::live::{self, Pulse};
use crate::retention::retain;
use crate::routes::{count, routes};
use crate::shared::Shared;
use crate::storage::Storage;
use crate::tls;
use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use nsfl_actor::{Context, Failure, Next, Role, now_ms};
use nsfl_types::Timestamp;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Threads that serve requests.
const WORKERS: usize = 2;
/// Blocking threads of each, for files.
const BLOCKING_THREADS: usize = 4;
/// Connections of each at once, event streams included.
const MAX_CONNECTIONS: usize = 512;
/// Seconds that requests have to end when the server does.
const SHUTDOWN_S: u64 = 2;

/// Serves REST while it lives.
pub struct ApiServer {
    shared: web::Data<Shared>,
    address: SocketAddr,
    closing: watch::Sender<bool>,
    handle: ServerHandle,
}

/// To the api-server.
#[derive(Debug)]
pub enum ApiServerMsg {
    /// The HTTP server ended though nobody asked it to.
    Ended(Result<(), Failure>),
}

impl Role for ApiServer {
    type Msg = ApiServerMsg;
    type Args = ApiServerArgs;
    const KIND: &'static str = "api-server";

    async fn start(args: ApiServerArgs, ctx: &Context<ApiServerMsg>) -> Result<Self, Failure> {
        let listener = listen(args.listen)?;
        let address = listener.local_addr()?;
        let (closing, closed) = watch::channel(false);
        let storage = Storage::open(&args.storage, &args.namespaces)?;
        let access = Access::load(args.access.clone(), args.loopback_without_token).await?;
        let shared = web::Data::new(Shared {
            args,
            storage,
            served: Default::default(),
            access,
            boot: Timestamp(now_ms()),
            pulse: Pulse::new(),
            runtime: Handle::current(),
            path: ctx.path().to_owned(),
            closing: closed,
        });
        ctx.run(live::beat(shared.clone()));
        ctx.run(retain(shared.clone()));
        let server = serve(&shared, listener)?;
        let handle = server.handle();
        // Not the server itself: aborted, it would leave its threads behind. It ends by its handle.
        let running = tokio::spawn(server);
        ctx.spawn(running, |ended| ApiServerMsg::Ended(flat(ended)));
        tracing::info!(%address, tls = shared.args.tls.is_some(), "rest interface up");
        Ok(Self { shared, address, closing, handle })
    }

    async fn handle(&mut self, msg: ApiServerMsg, _: &Context<ApiServerMsg>) -> Result<Next, Failure> {
        match msg {
            ApiServerMsg::Ended(Ok(())) => Err(Failure::new("the HTTP server ended")),
            ApiServerMsg::Ended(Err(failure)) => Err(failure.context("the HTTP server failed")),
        }
    }

    fn observe(&self) -> Value {
        let tls = self.shared.args.tls.is_some();
        json!({"address": self.address.to_string(), "tls": tls, "served": self.shared.served.view()})
    }

    async fn stop(&mut self, _: &Context<ApiServerMsg>) {
        self.closing.send_replace(true);
        self.handle.stop(true).await;
    }
}

impl Drop for ApiServer {
    /// However the life ends, the port is free again. After `stop` there is nothing left to end.
    fn drop(&mut self) {
        self.closing.send_replace(true);
        drop(self.handle.stop(false));
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        let how = match error.kind() {
            ErrorKind::AddrInUse => "another process listens there: end it, or set another `rest.listen`",
            ErrorKind::PermissionDenied => "this user may not: set `rest.listen` to a port from 1024 on",
            _ => "set `rest.listen` to an address of this machine",
        };
        Failure::from(error).context(format!("the REST interface cannot listen on {address}; {how}"))
    })
}

fn serve(shared: &web::Data<Shared>, listener: TcpListener) -> Result<Server, Failure> {
    let tls = shared.args.tls.as_ref().map(tls::config).transpose()?;
    let data = shared.clone();
    let server = HttpServer::new(move || {
        App::new().app_data(data.clone()).wrap(from_fn(guard)).wrap(from_fn(count)).configure(routes)
    })
    .workers(WORKERS)
    .worker_max_blocking_threads(BLOCKING_THREADS)
    .max_connections(MAX_CONNECTIONS)
    .keep_alive(Duration::from_secs(30))
    .client_request_timeout(Duration::from_secs(10))
    .shutdown_timeout(SHUTDOWN_S)
    .disable_signals();
    let server = match tls {
        Some(config) => server.listen_rustls_0_23(listener, config)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// Ended, panicked or cancelled, as one.
fn flat(ended: Result<Result<std::io::Result<()>, tokio::task::JoinError>, Failure>) -> Result<(), Failure> {
    ended???;
    Ok(())
}
