//! `/actors`: the supervision tree as it is now.

use crate::rounds::name;
use crate::shared::App;
use actix_web::HttpResponse;
use nsfl_actor::ActorView;
use nsfl_rest_model::{Actor, Mailbox, Time};
use nsfl_types::Timestamp;

pub(crate) async fn tree(app: App) -> HttpResponse {
    HttpResponse::Ok().json(body((app.args.observe)().await))
}

fn body(view: ActorView) -> Actor {
    Actor {
        state: name(&view.state),
        path: view.path,
        kind: view.kind,
        restarts: view.restarts,
        started: (view.started_at_ms > 0).then_some(Time(Timestamp(view.started_at_ms))),
        mailbox: Mailbox {
            depth: view.mailbox.depth as u64,
            capacity: view.mailbox.capacity as u64,
            high_water: view.mailbox.high_water as u64,
            oldest_ms: view.mailbox.oldest_ms,
        },
        handled: view.handled,
        busy_us: view.busy_us,
        last_error: view.last_error.map(|failure| failure.to_string()),
        detail: view.detail,
        children: view.children.into_iter().map(body).collect(),
    }
}
