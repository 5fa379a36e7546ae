//! `get` and `version`: tables for people, `-o` for scripts.

use crate::actor_tree;
use crate::cli::{Get, JobName, What};
use crate::document::job_id;
use crate::events;
use crate::fault::Fault;
use crate::job::{job_path, jobs_path};
use crate::print::{Output, or_dash, result, structured, table};
use crate::rest::{Rest, escaped};
use nsfl_rest_model::{Actor, Client, Clients, Job, JobMetrics, Jobs, Namespaces, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub(crate) fn get(rest: &Rest, get: Get) -> Result<(), Fault> {
    let output = get.output;
    match get.what {
        What::Jobs(job) => jobs(rest, &job, output),
        What::Clients { id: None } => {
            show(rest, "/api/v1/clients", output, |body: Clients| clients_table(&body.clients))
        }
        What::Clients { id: Some(id) } => {
            let path = format!("/api/v1/clients/{}", escaped(&id));
            show(rest, &path, output, |client: Client| clients_table(&[client]))
        }
        What::Actors { client } => {
            let path = client.map_or_else(String::new, |client| format!("?client={}", escaped(&client)));
            show(rest, &format!("/api/v1/actors{path}"), output, |tree: Actor| actor_tree::render(&tree))
        }
        What::Events(args) => events::get(rest, &args, output),
        What::Namespace => show(rest, "/api/v1/namespaces", output, |body: Namespaces| {
            body.namespaces.into_iter().map(|name| name + "\n").collect()
        }),
        What::Config => unreachable!("done without a server"),
    }
}

/// Ours first: it is there even when the server is not.
pub(crate) fn version(rest: &Rest) -> Result<(), Fault> {
    result(&format!("nsfl-ctl {}\n", env!("CARGO_PKG_VERSION")))?;
    let server: Version = rest.get("/api/v1/version")?;
    result(&format!("server {} (api {})\n", server.version, server.api))
}

fn jobs(rest: &Rest, job: &JobName, output: Option<Output>) -> Result<(), Fault> {
    let one = job.id.is_some() || job.source.file.is_some() || job.source.workspace.is_some();
    let path = if one { job_path(&job.namespace, &job_id(job)?) } else { jobs_path(&job.namespace) };
    let Some(output) = output else {
        let jobs = if one { vec![rest.get::<Job>(&path)?] } else { rest.get::<Jobs>(&path)?.jobs };
        return result(&jobs_table(&jobs));
    };
    let mut body: Value = rest.get(&path)?;
    if one {
        add_metrics(rest, &job.namespace, &mut body)?;
    } else {
        for item in body["jobs"].as_array_mut().into_iter().flatten() {
            add_metrics(rest, &job.namespace, item)?;
        }
    }
    result(&structured(&body, output)?)
}

/// `metrics`: the last value of each metric of the last run.
fn add_metrics(rest: &Rest, namespace: &str, job: &mut Value) -> Result<(), Fault> {
    let path = format!("{}/metrics", job_path(namespace, job["id"].as_str().unwrap_or_default()));
    match rest.get::<JobMetrics>(&path) {
        Ok(metrics) => job["metrics"] = last_values(&metrics),
        Err(Fault::NotFound(_)) => {}
        Err(fault) => return Err(fault),
    }
    Ok(())
}

fn last_values(metrics: &JobMetrics) -> Value {
    let last = |series: &std::collections::BTreeMap<String, Vec<Option<f64>>>| -> Map<String, Value> {
        let measured = series.iter().filter_map(|(name, values)| Some((name, values.iter().rev().find_map(|v| *v)?)));
        measured.map(|(name, value)| (name.clone(), json!(value))).collect()
    };
    json!({"train": last(&metrics.train), "evaluate": last(&metrics.evaluate)})
}

pub(crate) fn show<T: Serialize + DeserializeOwned>(
    rest: &Rest,
    path: &str,
    output: Option<Output>,
    render: impl FnOnce(T) -> String,
) -> Result<(), Fault> {
    match output {
        None => result(&render(rest.get(path)?)),
        Some(output) => result(&structured(&rest.get::<Value>(path)?, output)?),
    }
}

fn jobs_table(jobs: &[Job]) -> String {
    let row = |job: &Job| {
        let progress = format!("{}%", job.status.progress);
        [
            job.id().to_owned(),
            job.status.state.to_string(),
            progress,
            job.create_time.short(),
            job.status.reason.clone(),
        ]
    };
    table(["ID", "STATUS", "PROGRESS", "CREATE TIME (UTC)", "REASON"], jobs.iter().map(row))
}

fn clients_table(clients: &[Client]) -> String {
    let row = |client: &Client| {
        let datasets: Vec<String> = client.datasets.iter().map(|(name, count)| format!("{name}:{count}")).collect();
        let runtimes: Vec<&str> = client.runtimes.iter().map(|runtime| runtime.as_str()).collect();
        [
            client.id.to_string(),
            if client.cordoned && client.state != "removed" {
                format!("{}, cordoned", client.state)
            } else {
                client.state.clone()
            },
            format!("{}/{}", client.current_tasks, client.max_tasks),
            or_dash(Some(runtimes.join(",")).filter(|text| !text.is_empty())),
            or_dash(Some(datasets.join(",")).filter(|text| !text.is_empty())),
            or_dash(Some(client.label.clone()).filter(|text| !text.is_empty())),
            client.last_seen.short(),
        ]
    };
    table(["ID", "STATE", "TASKS", "RUNTIMES", "DATASETS", "LABEL", "LAST SEEN (UTC)"], clients.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_a_row_each() {
        let jobs: Jobs = serde_json::from_value(json!({"jobs": [
            {"id": "digits", "namespace": "default", "create_time": "2026-01-02T03:04:05Z", "start_time": null, "run": 1,
             "status": {"state": "RUNNING", "reason": "", "progress": 40}, "checkpoints": {}},
            {"id": "another-job", "namespace": "default", "create_time": "2026-01-02T03:04:05Z", "start_time": null,
             "run": 1, "status": {"state": "PENDING", "reason": "2 clients fit, 3 are needed", "progress": 0}, "checkpoints": {}},
        ]}))
        .unwrap();
        insta::assert_snapshot!(jobs_table(&jobs.jobs));
    }

    #[test]
    fn clients_are_a_row_each() {
        let client = |id: &str, label: &str| {
            serde_json::from_value::<Client>(json!({
                "id": id, "address": "", "os": "linux", "version": "0.1.0", "runtimes": ["builtin", "pytorch"],
                "label": label, "state": "online", "max_tasks": 2, "current_tasks": 1,
                "resource": {"worker_num": 1, "cpu": 4.0, "gpu": 0.0, "memory_mb": 2000.0}, "datasets": {"digits": 120},
                "registered": "2026-01-02T03:04:05Z", "last_seen": "2026-01-02T03:04:06Z",
            }))
            .unwrap()
        };
        insta::assert_snapshot!(clients_table(&[client("c1", ""), client("clinic-7", "eu")]));
    }

    #[test]
    fn the_last_metrics_are_the_newest_that_were_measured() {
        let metrics: JobMetrics = serde_json::from_value(json!({
            "run": 1, "rounds": [1, 2, 3], "train": {"loss": [0.9, 0.5, 0.25]}, "evaluate": {"accuracy": [null, 0.8, null]},
        }))
        .unwrap();
        assert_eq!(last_values(&metrics), json!({"train": {"loss": 0.25}, "evaluate": {"accuracy": 0.8}}));
    }
}
