//! What every handler is given: the arguments, the counters, and the ways to ask.

use crate::access::Access;
use crate::args::ApiServerArgs;
use crate::error::{ApiError, Request};
use crate::live::Pulse;
use crate::served::Served;
use crate::storage::Storage;
use actix_web::{HttpRequest, web};
use nsfl_actor::{Address, Reply};
use nsfl_messages::{ClientView, JobView, SchedulerMsg, SelectorMsg};
use nsfl_types::{Code, JobKey, Namespace, Refusal, Timestamp};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::watch;

pub(crate) type App = web::Data<Shared>;

/// One per life of the server.
pub(crate) struct Shared {
    pub(crate) args: ApiServerArgs,
    pub(crate) storage: Storage,
    pub(crate) served: Served,
    pub(crate) access: Access,
    /// When this life began: tells a reader of a stream that numbers begin anew.
    pub(crate) boot: Timestamp,
    /// States that are followed.
    pub(crate) pulse: Pulse,
    /// The node's own runtime; requests are served on others, which end with this actor.
    pub(crate) runtime: Handle,
    /// This actor's path.
    pub(crate) path: String,
    /// True once the server shall end: streams end too.
    pub(crate) closing: watch::Receiver<bool>,
}

impl Shared {
    /// Asks an actor, within the time one may take.
    pub(crate) async fn ask<M: Send + 'static, T>(
        &self,
        address: &Address<M>,
        question: impl FnOnce(Reply<T>) -> M,
    ) -> Result<T, ApiError> {
        let answer = address.ask(self.args.limits.answer_within, question).await;
        answer.map_err(|error| ApiError::unanswered(error, address.path()))
    }

    /// Tells an actor what it also reads when it starts: one that is down misses nothing.
    pub(crate) async fn tell<M: Send + 'static>(&self, address: &Address<M>, msg: M) {
        if let Err(error) = address.tell_within(self.args.limits.answer_within, msg).await {
            tracing::warn!(actor = address.path(), %error, "not told; it reads it when it starts");
        }
    }

    /// Those that are registered, by id.
    pub(crate) async fn clients(&self) -> Result<Vec<ClientView>, ApiError> {
        self.ask(&self.args.selector, |reply| SelectorMsg::List { reply }).await
    }

    /// A job as the scheduler knows it; 404 without.
    pub(crate) async fn job(&self, key: JobKey) -> Result<JobView, ApiError> {
        let answer = self.ask(&self.args.scheduler, |reply| SchedulerMsg::Get { key, reply }).await?;
        answer.map_err(|refusal| ApiError::new(Request::Other, refusal))
    }
}

/// The query of a request; what it does not know is refused.
pub(crate) fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, ApiError> {
    let query = web::Query::<T>::from_query(request.query_string());
    query.map(web::Query::into_inner).map_err(|e| ApiError::other(Code::BadDocument, format!("query: {e}")))
}

/// Checks a namespace's name as it stands in the path.
pub(crate) fn namespace(name: &str, request: Request) -> Result<Namespace, ApiError> {
    let unknown = |e: nsfl_types::IdError| ApiError::new(request, Refusal::new(Code::NoNamespace, e.to_string()));
    Namespace::new(name).map_err(unknown)
}

/// Checks a job's name as it stands in the path.
pub(crate) fn job_key(path: (String, String), request: Request) -> Result<JobKey, ApiError> {
    let unknown = |e: nsfl_types::IdError| ApiError::new(request, Refusal::new(Code::NotFound, e.to_string()));
    Ok(JobKey::new(namespace(&path.0, request)?, path.1.parse().map_err(unknown)?))
}
