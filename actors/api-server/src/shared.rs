//! What every handler is given: the arguments, the counters, and the ways to ask.

use crate::args::ApiServerArgs;
use crate::error::{ApiError, Request};
use crate::served::Served;
use crate::storage::Storage;
use actix_web::web;
use nsfl_actor::{Address, Reply};
use nsfl_messages::{JobView, SchedulerMsg};
use nsfl_types::{Code, JobKey, Namespace, Refusal};
use tokio::sync::watch;

pub(crate) type App = web::Data<Shared>;

/// One per life of the server.
pub(crate) struct Shared {
    pub(crate) args: ApiServerArgs,
    pub(crate) storage: Storage,
    pub(crate) served: Served,
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

    /// A job as the scheduler knows it; 404 without.
    pub(crate) async fn job(&self, key: JobKey) -> Result<JobView, ApiError> {
        let answer = self.ask(&self.args.scheduler, |reply| SchedulerMsg::Get { key, reply }).await?;
        answer.map_err(|refusal| ApiError::new(Request::Other, refusal))
    }
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
