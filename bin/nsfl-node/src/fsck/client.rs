//! The client's state: its task records, and the updates they still have to hand in.

use super::Report;
use crate::exit;
use nsfl_store::{Finding, StoreError};
use nsfl_store_sled::SledTaskStore;
use nsfl_workflow::{Outcome, TaskMachine, TaskPhase};
use std::path::Path;

pub(super) async fn check(folder: &Path) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let whole = report.blobs(&folder.join("blobs"))?;
    let tasks = folder.join("tasks");
    if !tasks.is_dir() {
        return Ok(report);
    }
    let read = match SledTaskStore::open(&tasks) {
        Ok(store) => store.verify().await,
        Err(error) => Err(error),
    };
    let (findings, records) = match read {
        Ok(read) => read,
        Err(StoreError::Damaged(what)) => {
            report.findings.push(Finding::damage("task records", what, "they could not be looked at"));
            return Ok(report);
        }
        Err(error) => return Err(exit::store(error)),
    };
    report.findings.extend(findings);
    report.count("tasks", records.len() as u64);
    for record in records {
        let place = format!("task {}", record.key);
        let problem = match TaskMachine::restore(&record.snapshot) {
            Ok(machine) => owed_update(&machine)
                .filter(|blob| whole.get(&blob.digest) != Some(&blob.len))
                .map(|blob| format!("its update {} is not whole", blob.digest)),
            Err(error) => Some(nsfl_actor::Failure::from_error(&error).to_string()),
        };
        let remedy = "nothing: the task is trained again when the server still wants it";
        report.findings.extend(problem.map(|problem| Finding::damage(&place, problem, remedy)));
    }
    Ok(report)
}

/// The update that the task has still to hand in from this client's store.
fn owed_update(machine: &TaskMachine) -> Option<nsfl_types::BlobRef> {
    match machine.phase() {
        TaskPhase::Offering { outcome: Outcome::Done { update }, uploaded: false, .. } => update.blob,
        _ => None,
    }
}
