//! `/clients`: what the selector knows of the training sites.

use crate::error::ApiError;
use crate::shared::{App, Shared};
use actix_web::{HttpResponse, web};
use nsfl_messages::{ClientView, SelectorMsg};
use nsfl_rest_model::{Client, Clients};
use nsfl_types::Code;

pub(crate) async fn list(app: App) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(Clients { clients: all(&app).await?.into_iter().map(body).collect() }))
}

pub(crate) async fn get(app: App, path: web::Path<String>) -> Result<HttpResponse, ApiError> {
    match all(&app).await?.into_iter().find(|client| client.info.client.as_str() == path.as_str()) {
        Some(client) => Ok(HttpResponse::Ok().json(body(client))),
        None => Err(ApiError::other(Code::NotFound, format!("no client '{path}' is known"))),
    }
}

async fn all(app: &Shared) -> Result<Vec<ClientView>, ApiError> {
    app.ask(&app.args.selector, |reply| SelectorMsg::List { reply }).await
}

fn body(view: ClientView) -> Client {
    let info = view.info;
    Client {
        id: info.client,
        address: info.address,
        os: info.os,
        version: info.version,
        runtimes: info.runtimes,
        label: info.label,
        state: view.state,
        max_tasks: info.max_tasks,
        current_tasks: view.load.current_tasks,
        resource: info.resource,
        datasets: info.datasets,
        registered: view.registered.into(),
        last_seen: view.last_seen.into(),
    }
}
