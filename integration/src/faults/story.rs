//! A job from submit to rest as seen from outside, whatever happens to the processes meanwhile.

use crate::{Answer, Event, Federation, Place, Rest};
use anyhow::{Context, bail, ensure};
use nsfl_rest_model::Time;
use nsfl_types::Timestamp;
use serde_json::Value;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// A job takes a second or two; what takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at processes.
const GLANCE: Duration = Duration::from_millis(5);

/// A running job and what was seen of it.
pub struct Story {
    /// Its processes.
    pub federation: Federation,
    seen: Receiver<Seen>,
    begun: Instant,
    /// The last event and when it came.
    pub last: Option<(Instant, Event)>,
    digest: Option<String>,
    struck: Option<(Instant, Time)>,
    /// From the last strike to the next event.
    pub recovery: Option<Duration>,
}

enum Seen {
    Event(Event),
    AtRest(Value),
}

impl Story {
    /// Submits the job, again and again until the server has it, and follows it.
    #[must_use]
    pub fn begin(federation: Federation, job: &Value) -> Self {
        let (sender, seen) = channel();
        let (rest, job) = (federation.rest.clone(), job.clone());
        thread::spawn(move || follow(&rest, &job, &sender));
        Self { federation, seen, begun: Instant::now(), last: None, digest: None, struck: None, recovery: None }
    }

    /// The first event that happens from now on is the recovery. One that was stored before and is only read now is not.
    pub fn struck(&mut self) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = Time::from(Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
        (self.struck, self.recovery) = (Some((Instant::now(), wall)), None);
    }

    /// Goes on until the job is at rest; `look` is called all the while. Gives the final model's digest.
    ///
    /// # Errors
    /// What `look` says, a job that did not finish, or one that stands still.
    pub fn to_its_end(&mut self, mut look: impl FnMut(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<String> {
        loop {
            look(self)?;
            match self.seen.recv_timeout(GLANCE) {
                Ok(Seen::Event(event)) => self.note(event),
                Ok(Seen::AtRest(job)) => {
                    let status = &job["status"];
                    ensure!(status["state"] == "FINISHED", "the job ended {status}");
                    return self.digest.clone().context("a finished job says its model's digest");
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("nobody follows the job any more"),
            }
            if self.begun.elapsed() > PATIENCE {
                let last = self.last.as_ref().map(|(_, event)| (event.kind.clone(), event.fields.clone()));
                let text = std::fs::read_to_string(&self.federation.server.log).unwrap_or_default();
                let log: Vec<&str> = text.lines().rev().take(8).collect();
                bail!("stuck; last event {last:?}; the server's log ends, newest first:\n{}", log.join("\n"));
            }
        }
    }

    /// The digest when nothing is failed.
    ///
    /// # Errors
    /// The job did not finish.
    pub fn undisturbed(mut self) -> anyhow::Result<String> {
        self.to_its_end(|_| Ok(()))
    }

    fn note(&mut self, event: Event) {
        let now = Instant::now();
        if let (Some((struck, wall)), None) = (self.struck, self.recovery)
            && event.at > wall
        {
            self.recovery = Some(now - struck);
        }
        if event.kind == "run-ended" {
            self.digest = event.fields["sha256"].as_str().map(str::to_owned);
        }
        self.last = Some((now, event));
    }

    /// Starts a process again.
    ///
    /// # Errors
    /// It did not start.
    pub fn restart(&mut self, place: Place, env: crate::Env<'_>) -> anyhow::Result<()> {
        match place {
            Place::Server => {
                // its port is free once it is known to have ended
                self.federation.server.kill()?;
                self.federation.restart_server_with(env)
            }
            Place::Client(number) => {
                self.federation.clients[number - 1].kill()?;
                self.federation.clients[number - 1] = self.federation.client_with(number, env)?;
                Ok(())
            }
        }
    }
}

/// Ends when the job is at rest or nobody listens.
fn follow(rest: &Rest, job: &Value, sender: &Sender<Seen>) {
    let id = job["id"].as_str().unwrap_or_default();
    let taken = |answer: Answer| answer.status == 201 || answer.body.to_string().contains("job-exists");
    while !rest.post("/namespaces/default/jobs", job).is_ok_and(taken) {
        thread::sleep(GLANCE);
    }
    let mut last = 0;
    loop {
        for event in rest.events_after(id, last).into_iter().flatten() {
            last = event.id;
            if sender.send(Seen::Event(event)).is_err() {
                return;
            }
        }
        let job = rest.get(&format!("/namespaces/default/jobs/{id}")).map(|answer| answer.body);
        match job {
            Ok(job) if matches!(job["status"]["state"].as_str(), Some("FINISHED" | "FAILED" | "STOPPED")) => {
                let _ = sender.send(Seen::AtRest(job));
                return;
            }
            _ => thread::sleep(GLANCE),
        }
    }
}
