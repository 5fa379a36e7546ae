//! Which path and method leads to which handler, what happens without one, and the count of answers.

use crate::error::ApiError;
use crate::shared::App;
use crate::{
    actors, backup, clients, console, events, files, health, history, jobs, live, metrics, rounds, session, tokens,
};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, Resource, web};
use nsfl_types::Code;

/// Everything that is served. `:start` and `:stop` stand before the job they belong to, which would take them as its id.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    let jobs = "/namespaces/{ns}/jobs";
    let job = |rest: &str| at(&format!("{jobs}/{{id}}{rest}"));
    config.service(
        web::scope("/api/v1")
            .service(at("/health").route(web::get().to(health::health)))
            .service(at("/version").route(web::get().to(health::version)))
            .service(at("/openapi.json").route(web::get().to(health::description)))
            .service(at("/namespaces").route(web::get().to(health::namespaces)))
            .service(
                at("/session")
                    .route(web::get().to(session::get))
                    .route(web::post().to(session::begin))
                    .route(web::delete().to(session::end)),
            )
            .service(at("/tokens").route(web::get().to(tokens::list)).route(web::post().to(tokens::make)))
            .service(at("/tokens/{id}").route(web::delete().to(tokens::revoke)))
            .service(at("/audit").route(web::get().to(tokens::audit)))
            .service(at("/events").route(web::get().to(history::events)))
            .service(at("/logs").route(web::get().to(history::logs)))
            .service(at("/live").route(web::get().to(live::live)))
            .service(at("/clients").route(web::get().to(clients::list)))
            .service(at("/clients/{client}:cordon").route(web::put().to(clients::cordon)))
            .service(at("/clients/{client}:uncordon").route(web::put().to(clients::uncordon)))
            .service(
                at("/clients/{client}").route(web::get().to(clients::get)).route(web::delete().to(clients::remove)),
            )
            .service(at("/actors").route(web::get().to(actors::tree)))
            .service(at("/actors/{path:.*}:restart").route(web::put().to(actors::restart)))
            .service(at("/actors/{path:.*}:stop").route(web::put().to(actors::stop)))
            .service(at("/actors/{path:.*}:trace").route(web::get().to(actors::trace)))
            .service(at("/actors/{path:.*}").route(web::get().to(actors::get)))
            .service(at("/backup").route(web::get().to(backup::take)))
            .service(at(jobs).route(web::post().to(jobs::create)).route(web::get().to(jobs::list)))
            .service(job(":start").route(web::put().to(jobs::start)))
            .service(job(":stop").route(web::put().to(jobs::stop)))
            .service(job("/rounds").route(web::get().to(rounds::list)))
            .service(job("/rounds/{round}").route(web::get().to(rounds::detail)))
            .service(job("/metrics").route(web::get().to(rounds::metrics)))
            .service(job("/events").route(web::get().to(events::events)))
            .service(
                job("")
                    .route(web::get().to(jobs::get))
                    .route(web::put().to(jobs::update))
                    .route(web::delete().to(jobs::delete)),
            )
            .service(
                at("/namespaces/{ns}/files/{path:.*}")
                    .route(web::get().to(files::get))
                    .route(web::head().to(files::get))
                    .route(web::put().to(files::put)),
            ),
    );
    config.service(at("/metrics").route(web::get().to(metrics::get)));
    config.service(at("/").route(web::get().to(console::redirect)));
    config.service(at("/console").route(web::get().to(console::redirect)));
    config.service(at("/console/{file:.*}").route(web::get().to(console::file)).route(web::head().to(console::file)));
    config.default_service(web::to(no_such_path));
}

/// Counts every answer by the class of its status.
pub(crate) async fn count(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let app = request.app_data::<App>().cloned();
    let answer = next.call(request).await?;
    if let Some(app) = app {
        app.served.count(answer.status());
    }
    let (status, asked) = (answer.status().as_u16(), answer.request());
    tracing::debug!(method = %asked.method(), path = asked.path(), status, "request served");
    Ok(answer)
}

fn at(path: &str) -> Resource {
    web::resource(path.to_owned()).default_service(web::to(no_such_method))
}

async fn no_such_path(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let path = request.path();
    let reason = format!("there is nothing at {path}; /api/v1/openapi.json names what there is");
    Err(ApiError::other(Code::NotFound, reason))
}

async fn no_such_method(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let reason = format!("{} is not offered at {}", request.method(), request.path());
    Err(ApiError::method_not_allowed(reason))
}
