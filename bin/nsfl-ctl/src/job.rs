//! Create, update, start, stop, delete.

use crate::cli::{JobName, StartJob, Submit, WriteJob};
use crate::document::{Document, job_id};
use crate::fault::Fault;
use crate::print::{result, talk};
use crate::rest::{Rest, escaped};
use crate::{attach, watch};
use nsfl_rest_model::{Events, Job};
use serde_json::Value;
use std::time::Duration;

pub(crate) fn create(rest: &Rest, args: &WriteJob) -> Result<(), Fault> {
    let submit = &args.submit;
    let mut document = Document::load(&submit.source)?;
    let id = document.id()?.to_owned();
    // A job of that name would lose its files before the server could refuse the new one.
    if attach::brings_files(submit, &document) && exists(rest, &submit.namespace, &id)? {
        let how = format!("job '{id}' exists in namespace '{}': update it, or give another id", submit.namespace);
        return Err(Fault::Refused(how));
    }
    attach::send(rest, submit, &mut document)?;
    rest.change("POST", &jobs_path(&submit.namespace), &document.json)?;
    talk(&format!("job {}/{id} created", submit.namespace));
    if args.waiting.wait {
        return watch::until_end(rest, &submit.namespace, &id, 0, args.waiting.timeout.map(Duration::from_secs));
    }
    result(&format!("{}/{id}\n", submit.namespace))
}

pub(crate) fn update(rest: &Rest, submit: &Submit) -> Result<(), Fault> {
    let mut document = Document::load(&submit.source)?;
    let id = document.id()?.to_owned();
    attach::send(rest, submit, &mut document)?;
    rest.change("PUT", &job_path(&submit.namespace, &id), &document.json)?;
    result(&format!("{}/{id}\n", submit.namespace))
}

pub(crate) fn start(rest: &Rest, args: &StartJob) -> Result<(), Fault> {
    let (namespace, id) = (&args.job.namespace, job_id(&args.job)?);
    let before = if args.waiting.wait { last_event(rest, namespace, &id)? } else { 0 };
    rest.change("PUT", &format!("{}:start", job_path(namespace, &id)), &Value::Null)?;
    if args.waiting.wait {
        talk(&format!("job {namespace}/{id} started"));
        return watch::until_end(rest, namespace, &id, before, args.waiting.timeout.map(Duration::from_secs));
    }
    result(&format!("{namespace}/{id}\n"))
}

pub(crate) fn stop(rest: &Rest, job: &JobName) -> Result<(), Fault> {
    let id = job_id(job)?;
    rest.change("PUT", &format!("{}:stop", job_path(&job.namespace, &id)), &Value::Null)?;
    result(&format!("{}/{id}\n", job.namespace))
}

pub(crate) fn delete(rest: &Rest, job: &JobName) -> Result<(), Fault> {
    let id = job_id(job)?;
    rest.delete(&job_path(&job.namespace, &id))?;
    result(&format!("{}/{id}\n", job.namespace))
}

/// Where the jobs of a namespace are.
pub(crate) fn jobs_path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{}/jobs", escaped(namespace))
}

/// Where a job is.
pub(crate) fn job_path(namespace: &str, id: &str) -> String {
    format!("{}/{}", jobs_path(namespace), escaped(id))
}

fn exists(rest: &Rest, namespace: &str, id: &str) -> Result<bool, Fault> {
    match rest.get::<Job>(&job_path(namespace, id)) {
        Ok(_) => Ok(true),
        Err(Fault::NotFound(_)) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// What comes after this event belongs to the run that is about to begin.
fn last_event(rest: &Rest, namespace: &str, id: &str) -> Result<u64, Fault> {
    Ok(rest.get::<Events>(&format!("{}/events?limit=0", job_path(namespace, id)))?.last)
}
