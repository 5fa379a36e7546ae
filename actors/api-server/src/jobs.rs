//! `/namespaces/{ns}/jobs`: what the scheduler is asked for.

use crate::error::{ApiError, Request};
use crate::rounds;
use crate::session::caller;
use crate::shared::{App, Shared, job_key, namespace};
use actix_web::{HttpRequest, HttpResponse, web};
use nsfl_actor::now_ms;
use nsfl_fault_point::Step;
use nsfl_messages::{JobOperation, JobView, SchedulerMsg};
use nsfl_rest_model::{Answer, Checkpoint, Job, Jobs};
use nsfl_telemetry::{Stage, TraceContext, is_traced};
use nsfl_types::{Code, JobKey, JobSpec, Namespace, Refusal};

type JobPath = web::Path<(String, String)>;
type Answered = Result<HttpResponse, ApiError>;

/// Of failures that a job's document shows.
const FAILURES: u32 = 20;

pub(crate) async fn create(app: App, path: web::Path<String>, request: HttpRequest, body: web::Payload) -> Answered {
    let author = caller(&request)?.author;
    let namespace = namespace(&path, Request::ChangeJob)?;
    let document = document(&app, body).await?;
    let submission = Submission::of(&namespace, &document);
    let step = Step::new("api-server", &"create");
    step.reach("begin");
    done(app.ask(&app.args.scheduler, |reply| SchedulerMsg::Create { namespace, document, author, reply }).await?)?;
    submission.done(1);
    step.reach("before-reply");
    Ok(HttpResponse::Created().json(Answer::successful()))
}

pub(crate) async fn update(app: App, path: JobPath, request: HttpRequest, body: web::Payload) -> Answered {
    let author = caller(&request)?.author;
    let key = job_key(path.into_inner(), Request::ChangeJob)?;
    let document = document(&app, body).await?;
    done(app.ask(&app.args.scheduler, |reply| SchedulerMsg::Update { key, document, author, reply }).await?)?;
    Ok(HttpResponse::Ok().json(Answer::successful()))
}

pub(crate) async fn start(app: App, path: JobPath) -> Answered {
    let key = job_key(path.into_inner(), Request::ChangeJob)?;
    let submission = Submission::of_job(key.clone());
    let answer = operate(&app, key.clone(), JobOperation::Start).await?;
    if is_traced() {
        submission.done(app.job(key).await?.run);
    }
    Ok(answer)
}

/// What a run comes from: the root of its first round's trace.
struct Submission(Option<(JobKey, u64)>);

impl Submission {
    fn of_job(key: JobKey) -> Self {
        Self(is_traced().then(|| (key, now_ms())))
    }

    /// The document names the job.
    fn of(namespace: &Namespace, document: &[u8]) -> Self {
        let spec = is_traced().then(|| JobSpec::parse(document).ok()).flatten();
        let key = spec.map(|(_, spec)| JobKey::new(namespace.clone(), spec.id));
        Self(key.map(|key| (key, now_ms())))
    }

    fn done(self, run: u32) {
        if let Some((key, began)) = self.0 {
            let work = Stage::at("submit", TraceContext::of_submission(&key, run), None, began);
            work.with("job", key.to_string()).with("run", i64::from(run)).done();
        }
    }
}

pub(crate) async fn stop(app: App, path: JobPath) -> Answered {
    operate(&app, job_key(path.into_inner(), Request::ChangeJob)?, JobOperation::Stop).await
}

/// A job that is not there is removed already, whatever its name.
pub(crate) async fn delete(app: App, path: JobPath) -> Answered {
    match job_key(path.into_inner(), Request::ChangeJob) {
        Ok(key) => operate(&app, key, JobOperation::Delete).await,
        Err(_) => Ok(HttpResponse::Ok().json(Answer::successful())),
    }
}

pub(crate) async fn get(app: App, path: JobPath) -> Answered {
    let key = job_key(path.into_inner(), Request::Other)?;
    let view = app.job(key.clone()).await?;
    let run = view.run;
    let mut job = body(view);
    job.awaited = rounds::live(&app, &key).await.as_ref().map(rounds::awaited).unwrap_or_default();
    let failures = app.args.store.failures(&key, run, FAILURES).await?;
    job.failures = failures.into_iter().map(rounds::failure).collect();
    Ok(HttpResponse::Ok().json(job))
}

pub(crate) async fn list(app: App, path: web::Path<String>) -> Answered {
    Ok(HttpResponse::Ok().json(Jobs { jobs: of(&app, namespace(&path, Request::Other)?).await? }))
}

/// The jobs of a namespace.
pub(crate) async fn of(app: &Shared, namespace: Namespace) -> Result<Vec<Job>, ApiError> {
    let answer = app.ask(&app.args.scheduler, |reply| SchedulerMsg::List { namespace, reply }).await?;
    let jobs = answer.map_err(|refusal| ApiError::new(Request::Other, refusal))?;
    Ok(jobs.into_iter().map(body).collect())
}

async fn operate(app: &App, key: JobKey, operation: JobOperation) -> Answered {
    let answer = app.ask(&app.args.scheduler, |reply| SchedulerMsg::Operate { key, operation, reply }).await?;
    match answer {
        Err(Refusal { code: Code::NotFound | Code::NoNamespace, .. }) if operation == JobOperation::Delete => {}
        answer => done(answer)?,
    }
    Ok(HttpResponse::Ok().json(Answer::successful()))
}

fn done(answer: Result<(), Refusal>) -> Result<(), ApiError> {
    answer.map_err(|refusal| ApiError::new(Request::ChangeJob, refusal))
}

/// The bytes of a job document; the scheduler parses them.
async fn document(app: &App, body: web::Payload) -> Result<Vec<u8>, ApiError> {
    let max = app.args.limits.document_bytes;
    match body.to_bytes_limited(max).await {
        Ok(Ok(bytes)) => Ok(bytes.to_vec()),
        Ok(Err(error)) => {
            Err(ApiError::other(Code::BadDocument, format!("the request's body cannot be read: {error}")))
        }
        Err(_) => Err(ApiError::other(Code::TooLarge, format!("the job document is larger than {max} bytes"))),
    }
}

fn body(job: JobView) -> Job {
    let checkpoints = job.checkpoints.into_iter().map(|(id, (accuracy, path))| (id, Checkpoint { accuracy, path }));
    Job {
        document: job.document,
        namespace: job.key.namespace.to_string(),
        create_time: job.created.into(),
        start_time: job.started.map(Into::into),
        run: job.run,
        status: job.status,
        checkpoints: checkpoints.collect(),
        author: job.author,
        awaited: Vec::new(),
        failures: Vec::new(),
    }
}
