//! `/backup`: the server's state as one archive, streamed as it is read.

use crate::error::{ApiError, Request};
use crate::shared::App;
use actix_web::HttpResponse;
use futures_util::stream::poll_fn;

/// GET. Nothing is sent before the state is pinned, so that what goes wrong until then has a status of its own.
pub(crate) async fn take(app: App) -> Result<HttpResponse, ApiError> {
    let taken = (app.args.backup)().await;
    let mut pieces = taken.map_err(|refusal| ApiError::new(Request::Other, refusal))?.0;
    let stream = poll_fn(move |context| pieces.poll_recv(context));
    Ok(HttpResponse::Ok().content_type("application/x-tar").streaming(stream))
}
