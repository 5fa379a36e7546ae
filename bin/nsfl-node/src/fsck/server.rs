//! The server's state: the database and its records, the blobs its runs need, the checkpoints in the storage.

use super::Report;
use crate::exit;
use nsfl_coordinator::kept_blobs;
use nsfl_store::{CheckpointRecord, Finding, JobRecord, JobStore, StoreError};
use nsfl_store_sqlite::SqliteJobStore;
use nsfl_types::{Digest, JobKey, JobSpec};
use nsfl_workflow::JobMachine;
use std::collections::BTreeMap;
use std::path::Path;

const BACKUP: &str = "put back a backup, or start the job again";

type Whole = BTreeMap<Digest, u64>;

pub(super) async fn check(folder: &Path) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let whole = report.blobs(&folder.join("blobs"))?;
    let database = folder.join("nsfl.sqlite");
    if !database.is_file() {
        let remedy = "put back a backup; without one the server starts empty";
        report.findings.push(Finding::damage(database.display(), "there is no database", remedy));
        return Ok(report);
    }
    let store = match SqliteJobStore::open(&database, true) {
        Ok(store) => store,
        Err(StoreError::Damaged(what)) => {
            report.findings.push(Finding::damage("database", what, "its records could not be looked at"));
            return Ok(report);
        }
        Err(error) => return Err(exit::store(error)),
    };
    let unsound = store.verify().await.map_err(exit::store)?;
    report.findings.extend(unsound);
    match store.jobs().await {
        Ok(jobs) => {
            report.count("jobs", jobs.len() as u64);
            for job in &jobs {
                report.job(&store, job, &whole, &folder.join("storage")).await?;
            }
        }
        Err(error) => report.unreadable("jobs", &error),
    }
    store.fold_log().await.map_err(exit::store)?;
    Ok(report)
}

impl Report {
    async fn job(
        &mut self,
        store: &SqliteJobStore,
        job: &JobRecord,
        whole: &Whole,
        storage: &Path,
    ) -> anyhow::Result<()> {
        let place = format!("job {}", job.key);
        if let Err(error) = JobSpec::parse(job.document.as_bytes()) {
            self.findings.push(Finding::damage(&place, format!("its document: {error}"), BACKUP));
        }
        let runs = match JobMachine::restore(&job.snapshot) {
            Ok(machine) => machine.run(),
            Err(error) => {
                let problem = nsfl_actor::Failure::from_error(&error).to_string();
                self.findings.push(Finding::damage(&place, problem, BACKUP));
                0
            }
        };
        for run in 1..=runs {
            self.run(store, &job.key, run, whole).await;
        }
        // those that cannot be read were named with the other rows
        for checkpoint in store.checkpoints(&job.key).await.unwrap_or_default() {
            self.checkpoint(&checkpoint, &storage.join(job.key.namespace.as_str()))?;
        }
        Ok(())
    }

    async fn run(&mut self, store: &SqliteJobStore, key: &JobKey, run: u32, whole: &Whole) {
        let place = format!("job {key}, run {run}");
        match store.run(key, run).await {
            Ok(None) => {}
            Ok(Some(record)) => match kept_blobs(&record) {
                Ok(blobs) => {
                    let missing = blobs.iter().filter(|(_, blob)| whole.get(&blob.digest) != Some(&blob.len));
                    self.findings.extend(missing.map(|(owner, blob)| {
                        Finding::damage(
                            &place,
                            format!("needs blob {} of {owner}, which is not whole", blob.digest),
                            BACKUP,
                        )
                    }));
                }
                Err(error) => {
                    let problem = nsfl_actor::Failure::from_error(&error).to_string();
                    self.findings.push(Finding::damage(&place, problem, BACKUP));
                }
            },
            Err(error) => self.unreadable(&place, &error),
        }
    }

    fn checkpoint(&mut self, record: &CheckpointRecord, storage: &Path) -> anyhow::Result<()> {
        let file = storage.join(&record.path);
        let stored = (record.model.digest, record.model.len);
        let problem = match nsfl_store_posix::hash(&file) {
            Ok(found) if found == stored => return Ok(()),
            Ok((found, _)) => format!("checkpoint {} hashes to {found}, stored was {}", record.id, stored.0),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                format!("checkpoint {} is missing", record.id)
            }
            Err(error) => return Err(error.into()),
        };
        let remedy = "put the file back from a backup; a job that starts from it fails until then";
        self.findings.push(Finding::damage(file.display(), problem, remedy));
        Ok(())
    }

    fn unreadable(&mut self, place: &str, error: &StoreError) {
        let problem = nsfl_actor::Failure::from_error(error).to_string();
        self.findings.push(Finding::damage(place, problem, "put back a backup"));
    }
}
