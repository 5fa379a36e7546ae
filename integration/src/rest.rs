//! REST as a test uses it, and the event stream as what it waits on.

use anyhow::{Context, bail};
use nsfl_rest_model::Time;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Lines, Read};
use std::path::Path;

/// Status and body.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body, `Null` when it is no JSON.
    pub body: Value,
}

/// One event of a job.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its place among all events, from 1.
    pub id: u64,
    /// When it happened, by the server's clock.
    pub at: Time,
    /// Such as `round-closed`.
    pub kind: String,
    /// Its fields.
    pub fields: Value,
}

/// A client of the REST interface.
#[derive(Debug, Clone)]
pub struct Rest {
    agent: ureq::Agent,
    base: String,
}

impl Rest {
    /// At `host:port`.
    #[must_use]
    pub fn new(address: &str) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { agent, base: format!("http://{address}/api/v1") }
    }

    /// GET below `/api/v1`.
    ///
    /// # Errors
    /// No connection.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        answer(self.agent.get(format!("{}{path}", self.base)).call()?)
    }

    /// GET a file, whole.
    ///
    /// # Errors
    /// No connection, no success, a body that was cut, a disk that cannot be written.
    pub fn download(&self, path: &str, to: &Path) -> anyhow::Result<()> {
        let got = self.agent.get(format!("{}{path}", self.base)).call()?;
        anyhow::ensure!(got.status() == 200, "{path}: {}", got.status());
        let mut body = got.into_body().into_with_config().limit(u64::MAX).reader();
        std::io::copy(&mut body, &mut std::fs::File::create(to)?)?;
        Ok(())
    }

    /// POST.
    ///
    /// # Errors
    /// No connection.
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        answer(self.agent.post(format!("{}{path}", self.base)).send_json(body)?)
    }

    /// PUT.
    ///
    /// # Errors
    /// No connection.
    pub fn put(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        answer(self.agent.put(format!("{}{path}", self.base)).send_json(body)?)
    }

    /// PUT of bytes.
    ///
    /// # Errors
    /// No connection.
    pub fn put_bytes(&self, path: &str, body: &[u8]) -> anyhow::Result<Answer> {
        answer(self.agent.put(format!("{}{path}", self.base)).send(body)?)
    }

    /// DELETE.
    ///
    /// # Errors
    /// No connection.
    pub fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        answer(self.agent.delete(format!("{}{path}", self.base)).call()?)
    }

    /// The events of a job of namespace `default`, from the first one, as they happen, until the job is at rest or the
    /// server goes away.
    ///
    /// # Errors
    /// No connection, or no such job.
    pub fn events(&self, job: &str) -> anyhow::Result<impl Iterator<Item = Event> + use<>> {
        self.events_after(job, 0)
    }

    /// The same, of those after event `after`.
    ///
    /// # Errors
    /// No connection, or no such job.
    pub fn events_after(&self, job: &str, after: u64) -> anyhow::Result<impl Iterator<Item = Event> + use<>> {
        let url = format!("{}/namespaces/default/jobs/{job}/events?after={after}&until_end=true", self.base);
        let mut got = self.agent.get(url).header("accept", "text/event-stream").call()?;
        if got.status() != 200 {
            bail!("no events: {}", got.body_mut().read_to_string()?);
        }
        let body = got.into_body().into_reader().take(u64::MAX);
        Ok(Events { lines: BufReader::new(body).lines() })
    }

    /// Waits for the first event that `wanted` accepts.
    ///
    /// # Errors
    /// The stream ended before.
    pub fn wait_for(&self, job: &str, wanted: impl Fn(&Event) -> bool) -> anyhow::Result<Event> {
        self.events(job)?.find(|e| wanted(e)).context("the job came to rest without that event")
    }

    /// Waits until the job is at rest and gives its document.
    ///
    /// # Errors
    /// No connection.
    pub fn wait_until_at_rest(&self, job: &str) -> anyhow::Result<Value> {
        self.events(job)?.for_each(drop);
        Ok(self.get(&format!("/namespaces/default/jobs/{job}"))?.body)
    }
}

fn answer(mut got: ureq::http::Response<ureq::Body>) -> anyhow::Result<Answer> {
    let status = got.status().as_u16();
    let text = got.body_mut().read_to_string()?;
    Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
}

struct Events<R> {
    lines: Lines<BufReader<R>>,
}

impl<R: Read> Iterator for Events<R> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (mut kind, mut data) = (String::new(), String::new());
        while let Some(Ok(line)) = self.lines.next() {
            if let Some(name) = line.strip_prefix("event:") {
                name.trim().clone_into(&mut kind);
            } else if let Some(text) = line.strip_prefix("data:") {
                data.push_str(text.trim_start());
            } else if line.is_empty() && !data.is_empty() {
                let event: Value = serde_json::from_str(&data).ok()?;
                let id = event["id"].as_u64().unwrap_or_default();
                let at = event["at"].as_str()?.parse().ok()?;
                return Some(Event { id, at, kind, fields: event["fields"].clone() });
            }
        }
        None
    }
}
