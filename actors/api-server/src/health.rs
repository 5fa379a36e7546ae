//! Whether the server is there, which one it is, and what it serves.

use crate::openapi;
use crate::shared::App;
use actix_web::HttpResponse;
use nsfl_rest_model::{Namespaces, Version};

pub(crate) async fn health() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("OK")
}

pub(crate) async fn version() -> HttpResponse {
    HttpResponse::Ok().json(Version { version: env!("CARGO_PKG_VERSION").to_owned(), api: "v1".to_owned() })
}

pub(crate) async fn namespaces(app: App) -> HttpResponse {
    let mut namespaces: Vec<String> = app.args.namespaces.iter().map(ToString::to_string).collect();
    namespaces.sort();
    HttpResponse::Ok().json(Namespaces { namespaces })
}

pub(crate) async fn description() -> HttpResponse {
    HttpResponse::Ok().json(openapi::document())
}
