//! `watch job` and `--wait`: follows a job's events to its end, across restarts of the server.

use crate::cli::WatchJob;
use crate::document::job_id;
use crate::fault::Fault;
use crate::job::job_path;
use crate::print::result;
use crate::progress::Progress;
use crate::rest::Rest;
use crate::screen::Screen;
use crate::sse;
use nsfl_rest_model::Event;
use std::io::{self, BufRead};
use std::time::{Duration, Instant};

/// Pause before the server is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// A server that was there and is gone for longer than this does not come back.
const PATIENCE: Duration = Duration::from_secs(300);

/// Follows a job from its first event; the lines are the result.
pub(crate) fn job(rest: &Rest, args: &WatchJob) -> Result<(), Fault> {
    let id = job_id(&args.job)?;
    let timeout = args.timeout.map(Duration::from_secs);
    end(rest, &args.job.namespace, &id, 0, timeout, Screen::result())
}

/// Follows a job from the events after `after`; the lines are talk, the result is how it ended.
pub(crate) fn until_end(
    rest: &Rest,
    namespace: &str,
    id: &str,
    after: u64,
    timeout: Option<Duration>,
) -> Result<(), Fault> {
    end(rest, namespace, id, after, timeout, Screen::talk())
}

fn end(
    rest: &Rest,
    namespace: &str,
    id: &str,
    after: u64,
    timeout: Option<Duration>,
    screen: Screen,
) -> Result<(), Fault> {
    let path = job_path(namespace, id);
    let until = timeout.map(|timeout| Instant::now() + timeout);
    let mut follower = Follower { rest, path, after, until, progress: Progress::default(), screen };
    let state = follower.follow();
    follower.screen.status(None);
    let (state, name) = (state?, format!("{namespace}/{id}"));
    let reason = match follower.progress.reason() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    match state.as_str() {
        "FINISHED" => result(&format!("{name} FINISHED\n")),
        "DELETED" => Err(Fault::NotFound(format!("job {name} was deleted"))),
        other => Err(Fault::Refused(format!("job {name} {other}{reason}"))),
    }
}

struct Follower<'a> {
    rest: &'a Rest,
    path: String,
    after: u64,
    until: Option<Instant>,
    progress: Progress,
    screen: Screen,
}

impl Follower<'_> {
    /// The state the job came to rest in. Only a server that has answered once is worth waiting for.
    fn follow(&mut self) -> Result<String, Fault> {
        let mut answered: Option<Instant> = None;
        loop {
            let left = self.left()?;
            match self.rest.stream(&format!("{}/events?after={}&until_end=true", self.path, self.after), left) {
                Ok(stream) => {
                    answered = Some(Instant::now());
                    self.screen.status(self.progress.status());
                    // A stream that breaks is taken up again.
                    if let Ok(Some(state)) = self.read(stream) {
                        return Ok(state);
                    }
                    self.left()?;
                }
                Err(fault @ (Fault::Unreachable { .. } | Fault::Busy(_))) => {
                    if answered.is_none_or(|last| last.elapsed() > PATIENCE) {
                        return Err(fault);
                    }
                    self.left()?;
                }
                Err(fault) => return Err(fault),
            }
            self.screen.status(Some("the server does not answer; trying again".to_owned()));
            std::thread::sleep(PAUSE);
        }
    }

    /// Reads a stream; the job's state if it came to the end, none if it was cut.
    fn read(&mut self, mut stream: impl BufRead) -> io::Result<Option<String>> {
        while let Some(sent) = sse::next(&mut stream)? {
            if sent.kind == "end" {
                let end: serde_json::Value = serde_json::from_str(&sent.data)?;
                return Ok(Some(end["state"].as_str().unwrap_or_default().to_owned()));
            }
            let event: Event = serde_json::from_str(&sent.data)?;
            self.after = self.after.max(sent.id.unwrap_or(event.id));
            if let Some(line) = self.progress.apply(&event) {
                self.screen.line(&line);
            }
            self.screen.status(self.progress.status());
        }
        Ok(None)
    }

    /// The time that is left, none without a limit.
    fn left(&self) -> Result<Option<Duration>, Fault> {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            let status = self.progress.status().map(|status| format!("; {status}")).unwrap_or_default();
            return Err(Fault::TimedOut(format!("the job has not ended in the time given{status}")));
        }
        Ok(left)
    }
}
