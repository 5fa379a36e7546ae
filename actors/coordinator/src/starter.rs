//! Starts a job's actors under the job supervisor and ends them. A job that fails again and again without getting on is
//! given up with its cause chain; the other jobs do not notice.

use crate::extender::{Extender, ExtenderArgs};
use crate::patience::{Patience, SAME};
use crate::{Aggregator, AggregatorArgs, Coordinator, CoordinatorArgs, ExtenderConfig};
use backon::{ExponentialBuilder, Retryable as _};
use nsfl_actor::{
    Address, ChildEvent, ChildSpec, Directory, Failure, GiveUp, Restart, Strategy, Supervisor, SupervisorSpec,
};
use nsfl_aggregate::Rules;
use nsfl_messages::{CoordinatorMsg, GatewayMsg, JobRun, Live, RunEvent, SchedulerMsg, SelectorMsg, Starter};
use nsfl_store::{BlobStore, JobStore};
use nsfl_trainer::TrainerCommand;
use nsfl_types::{Code, JobKey};
use nsfl_workflow::RetryPolicy;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What every coordinator works with.
#[derive(Clone)]
pub struct Surroundings {
    /// The database.
    pub store: Arc<dyn JobStore>,
    /// Models and updates.
    pub blobs: Arc<dyn BlobStore>,
    /// Where runs' ends are told.
    pub scheduler: Address<SchedulerMsg>,
    /// Who is asked for clients.
    pub selector: Address<SelectorMsg>,
    /// The way to clients.
    pub gateway: Address<GatewayMsg>,
    /// Root of the namespaces' storage.
    pub storage: PathBuf,
    /// Scratch folder for the trainer that initialises models.
    pub scratch: PathBuf,
    /// The program that initialises models.
    pub trainer: TrainerCommand,
    /// After a restart, the time that clients have to come back before they count as away.
    pub link_grace: Duration,
    /// What to do when a round fails.
    pub retry: RetryPolicy,
    /// How rounds are aggregated.
    pub aggregation: AggregationConfig,
    /// By which rules they may be.
    pub rules: Rules,
    /// How extenders are run.
    pub extender: ExtenderConfig,
    /// Who watches at the moment.
    pub live: Live,
}

/// How rounds are aggregated.
#[derive(Debug, Clone, Copy)]
pub struct AggregationConfig {
    /// Memory that making one job's next model may take beside the updates.
    pub memory_bytes: u64,
    /// Rounds of a run that can be made again by an auditor; 0: none.
    pub keep_rounds: u32,
}

/// Starts coordinators under the supervisor `jobs`.
pub struct CoordinatorStarter {
    jobs: Supervisor,
    directory: Directory<JobKey, CoordinatorMsg>,
    surroundings: Surroundings,
    runs: Arc<Mutex<BTreeMap<JobKey, u32>>>,
}

const MAILBOX: usize = 4096;

/// An actor that has run for so long begins again at the shortest pause. How often it may fail is for `patience` to say.
const PERIOD: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl CoordinatorStarter {
    /// Addresses are entered in `directory` while a job's actors exist.
    #[must_use]
    pub fn new(jobs: Supervisor, directory: Directory<JobKey, CoordinatorMsg>, surroundings: Surroundings) -> Self {
        Self { jobs, directory, surroundings, runs: Arc::default() }
    }

    fn spec(&self, run: &JobRun) -> (Address<CoordinatorMsg>, SupervisorSpec) {
        let path = format!("jobs/{}", run.key);
        let aggregator = Address::new(format!("{path}/aggregator"), MAILBOX);
        let coordinator = Address::new(format!("{path}/coordinator"), MAILBOX);
        let s = &self.surroundings;
        let aggregator_args = AggregatorArgs {
            blobs: s.blobs.clone(),
            spec: run.spec.clone(),
            rules: s.rules.clone(),
            memory: usize::try_from(s.aggregation.memory_bytes).unwrap_or(usize::MAX),
            scratch: s.scratch.clone(),
        };
        let extender = run.spec.extender.as_ref().map(|extender| {
            let folder = format!("extender+{}+{}+r{}", run.key.namespace, run.key.id, run.run);
            let args = ExtenderArgs {
                blobs: s.blobs.clone(),
                config: s.extender.clone(),
                spec: extender.clone(),
                workspace: s.scratch.join(folder),
            };
            (Address::new(format!("{path}/extender"), MAILBOX), args)
        });
        let (scheduler, key, number) = (s.scheduler.clone(), run.key.clone(), run.run);
        let patience = Patience::new(move |reason| tell_given_up(scheduler.clone(), key.clone(), number, reason));
        let coordinator_args = CoordinatorArgs {
            run: run.clone(),
            surroundings: s.clone(),
            aggregator: aggregator.clone(),
            extender: extender.as_ref().map(|(address, _)| address.clone()),
            patience: patience.clone(),
        };
        let spec = SupervisorSpec::new(run.key.to_string())
            .bind(&Supervisor::unbound(path))
            .strategy(Strategy::OneForAll)
            .intensity(u32::MAX, PERIOD)
            .backoff(PAUSE, LONGEST_PAUSE)
            .on_event(move |event| {
                if let ChildEvent::Restarting { path, failure, .. } = event {
                    patience.failed(&format!("{path}: {failure}"));
                }
            })
            .child(ChildSpec::role::<Aggregator>("aggregator", &aggregator, aggregator_args, Restart::Permanent));
        let spec = match extender {
            Some((address, args)) => {
                spec.child(ChildSpec::role::<Extender>("extender", &address, args, Restart::Permanent))
            }
            None => spec,
        };
        let spec = spec.child(ChildSpec::role::<Coordinator>(
            "coordinator",
            &coordinator,
            coordinator_args,
            Restart::Transient,
        ));
        (coordinator, spec)
    }

    /// Whether this run was asked for last, and has not been ended since.
    fn is_wanted(&self, run: &JobRun) -> bool {
        self.runs.lock().expect("nothing panics while it holds this lock").get(&run.key) == Some(&run.run)
    }

    async fn start_once(&self, run: &JobRun) -> Result<(), Failure> {
        let (address, spec) = self.spec(run);
        self.directory.insert(run.key.clone(), address);
        let started = self.jobs.start_child(ChildSpec::supervisor(spec, Restart::Transient)).await;
        if started.is_err() {
            self.directory.remove(&run.key);
        }
        // ended meanwhile: nobody waits for it
        if self.is_wanted(run) { started } else { Ok(()) }
    }

    /// The supervisor `jobs`. A job whose own supervisor does not stay, as often as `patience` bears the same failure, is
    /// FAILED, with the cause chain.
    pub fn supervisor(&self) -> SupervisorSpec {
        let (scheduler, runs) = (self.surroundings.scheduler.clone(), self.runs.clone());
        SupervisorSpec::new("jobs")
            .bind(&self.jobs)
            .intensity(SAME, PERIOD)
            .backoff(PAUSE, LONGEST_PAUSE)
            .give_up(GiveUp::Drop)
            .on_event(move |event| {
                let ChildEvent::GaveUp { path, failure } = event else { return };
                let Some(key) = job_of(path) else { return };
                let run = runs.lock().expect("nothing panics while it holds this lock").get(&key).copied();
                if let Some(run) = run {
                    tell_given_up(scheduler.clone(), key, run, failure.to_string());
                }
            })
    }
}

/// Tells the scheduler, until it has heard.
fn tell_given_up(scheduler: Address<SchedulerMsg>, key: JobKey, run: u32, reason: String) {
    let event = RunEvent::Failed { code: Code::Internal, reason };
    tokio::spawn(async move {
        while scheduler.tell(SchedulerMsg::Run { key: key.clone(), run, event: event.clone() }).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

fn job_of(path: &str) -> Option<JobKey> {
    let (namespace, id) = path.strip_prefix("jobs/")?.split_once('/')?;
    Some(JobKey::new(namespace.parse().ok()?, id.parse().ok()?))
}

impl Starter for CoordinatorStarter {
    fn start(&self, run: JobRun) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + '_>> {
        Box::pin(async move {
            if self.is_wanted(&run)
                && let Some(coordinator) = self.directory.get(&run.key)
                && coordinator.tell(CoordinatorMsg::Tell).await.is_ok()
            {
                return Ok(());
            }
            self.end(&run.key).await;
            self.runs.lock().expect("nothing panics while it holds this lock").insert(run.key.clone(), run.run);
            let pauses = ExponentialBuilder::default()
                .with_min_delay(PAUSE)
                .with_max_delay(LONGEST_PAUSE)
                .with_max_times(SAME as usize - 1);
            (|| self.start_once(&run))
                .retry(pauses)
                .when(|_| self.is_wanted(&run))
                .notify(|failure, _| tracing::warn!(job = %run.key, error = %failure, "coordinator did not start"))
                .await
        })
    }

    fn end<'a>(&'a self, key: &'a JobKey) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            self.runs.lock().expect("nothing panics while it holds this lock").remove(key);
            if self.directory.remove(key).is_some()
                && let Err(failure) = self.jobs.stop_child(&key.to_string()).await
            {
                tracing::debug!(job = %key, error = %failure, "coordinator was gone already");
            }
        })
    }

    fn stop_run<'a>(&'a self, key: &'a JobKey, run: u32) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move {
            let Some(coordinator) = self.directory.get(key) else { return false };
            coordinator.tell(CoordinatorMsg::StopRun { run }).await.is_ok()
        })
    }
}
