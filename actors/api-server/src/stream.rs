//! Server-sent events (WHATWG HTML, 9.2) as the new streams write them: a task writes pieces, the connection takes them at
//! its pace, silence is broken now and then.

use crate::shared::{App, Shared};
use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use bytes::Bytes;
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Pieces that may wait for a connection; then the writer waits.
const PIECES: usize = 16;

/// One event, ready to be sent.
#[derive(Debug)]
pub(crate) struct Piece(String);

impl Piece {
    /// An event with JSON as its data. JSON has no line breaks of its own, so one `data:` line holds it.
    pub(crate) fn of(kind: &str, data: &impl Serialize) -> Self {
        Self::raw(kind, &serde_json::to_string(data).expect("plain data is JSON"))
    }

    /// The same with data that is JSON already.
    pub(crate) fn raw(kind: &str, json: &str) -> Self {
        Self(format!("event: {kind}\ndata: {json}\n\n"))
    }

    /// With the id that a reader gives when it comes again.
    pub(crate) fn id(self, id: &str) -> Self {
        Self(format!("id: {id}\n{}", self.0))
    }
}

/// The reader is gone, or the server ends.
#[derive(Debug)]
pub(crate) struct Gone;

/// Where a stream's task writes.
pub(crate) struct Out {
    sender: mpsc::Sender<Bytes>,
    closing: watch::Receiver<bool>,
}

impl Out {
    pub(crate) async fn send(&mut self, piece: Piece) -> Result<(), Gone> {
        self.text(piece.0).await
    }

    async fn text(&mut self, text: String) -> Result<(), Gone> {
        if *self.closing.borrow() {
            return Err(Gone);
        }
        tokio::select! {
            sent = self.sender.send(Bytes::from(text)) => sent.map_err(|_| Gone),
            _ = self.closing.changed() => Err(Gone),
        }
    }
}

/// A stream written by `write`, which is dropped when the reader goes or the server ends.
pub(crate) fn sse(
    app: &App,
    name: &str,
    write: impl AsyncFnOnce(&mut Out) -> Result<(), Gone> + 'static,
) -> HttpResponse {
    let (sender, mut receiver) = mpsc::channel(PIECES);
    let mut out = Out { sender: sender.clone(), closing: app.closing.clone() };
    let greeting = format!(": {name}\n\n");
    actix_web::rt::spawn(async move {
        let reader_gone = out.sender.clone();
        let _ = tokio::select! {
            written = async { out.text(greeting).await?; write(&mut out).await } => written,
            () = reader_gone.closed() => Err(Gone),
        };
    });
    beat(app, sender.downgrade());
    let stream = futures_util::stream::poll_fn(move |context| {
        receiver.poll_recv(context).map(|piece| piece.map(Ok::<_, Infallible>))
    });
    HttpResponse::Ok().content_type("text/event-stream").insert_header((CACHE_CONTROL, "no-cache")).streaming(stream)
}

/// A comment now and then, so that a dead connection is noticed.
fn beat(app: &Shared, sender: mpsc::WeakSender<Bytes>) {
    let every: Duration = app.args.limits.keep_alive;
    actix_web::rt::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            let Some(sender) = sender.upgrade() else { return };
            // a full queue is no silence
            if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(Bytes::from_static(b":\n\n")) {
                return;
            }
        }
    });
}
