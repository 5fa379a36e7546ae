//! A federation on this machine for one measurement or example: provisioned, configured, started, ended. None of its processes
//! outlives this one: each watches the pipe it has as standard input.

use super::process::{self, Memory};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for what takes a moment.
const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Federation {
    pub(crate) agent: ureq::Agent,
    /// The server's REST address with `/api/v1`.
    pub(crate) api: String,
    server: Child,
    clients: Vec<Child>,
    /// From starting a client's process to its name in the registry: the median, in seconds.
    pub(crate) registered_seconds: f64,
}

/// What nodes get beside addresses and certificates.
#[derive(Default)]
pub(crate) struct Settings {
    /// Variables of every node.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// Configuration of each client, TOML: top-level keys, then tables.
    pub(crate) clients: Vec<String>,
}

impl Federation {
    /// Starts a server and a client for each configuration, one after the other, and waits until the registry knows all.
    pub(crate) fn start(program: &Path, dir: &Path, settings: &Settings) -> Result<Self> {
        let count = settings.clients.len();
        let names: Vec<String> = (1..=count).map(|i| format!("client-{i:03}")).collect();
        provision(program, dir, &names)?;
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let toml = write(
            dir,
            "server",
            "[rest]\nlisten = \"127.0.0.1:0\"\nloopback_without_token = true\n[link]\nlisten = \"127.0.0.1:0\"\n",
        )?;
        let (server, ready) = spawn(program, "server", &toml, &settings.environment)?;
        let text = |field: &str| ready[field].as_str().with_context(|| format!("the server did not say its {field}"));
        let (api, link) = (format!("http://{}/api/v1", text("rest")?), text("link")?.to_owned());
        let mut federation = Self { agent, api, server, clients: Vec::new(), registered_seconds: 0.0 };
        let mut waits = Vec::new();
        for (name, client) in names.iter().zip(&settings.clients) {
            let toml = write(dir, name, &format!("server = \"{link}\"\n{client}"))?;
            let began = Instant::now();
            federation.clients.push(spawn(program, "client", &toml, &settings.environment)?.0);
            let path = format!("clients/{name}");
            while federation.get(&path)?["state"] != "online" {
                ensure!(began.elapsed() < SOON, "{name} has not registered; see {}", toml.display());
                std::thread::sleep(Duration::from_millis(1));
            }
            waits.push(began.elapsed().as_secs_f64());
        }
        waits.sort_by(f64::total_cmp);
        federation.registered_seconds = waits[waits.len() / 2];
        Ok(federation)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        Ok(self.agent.get(format!("{}/{path}", self.api)).call()?.body_mut().read_json()?)
    }

    pub(crate) fn server_memory(&self) -> Result<Memory> {
        process::memory(self.server.id()).context("the server's memory cannot be read: this needs Linux's /proc")
    }

    pub(crate) fn client_memory(&self) -> Result<Memory> {
        let client = self.clients.first().context("there is a client")?;
        process::memory(client.id()).context("the client's memory cannot be read: this needs Linux's /proc")
    }

    /// Processor seconds so far of the server, and of all clients with their ended trainers.
    pub(crate) fn cpu_seconds(&self) -> (f64, f64) {
        let of = |child: &Child| process::cpu_seconds(child.id()).unwrap_or(f64::NAN);
        (of(&self.server), self.clients.iter().map(of).sum())
    }

    /// Bytes of blobs the server has sent and taken.
    pub(crate) fn bytes_moved(&self) -> Result<u64> {
        let tree = self.get("actors")?;
        let gateway = find(&tree, "gateway/gateway").context("the actor tree has a gateway")?;
        let count = |field: &str| gateway["detail"][field].as_u64().unwrap_or_default();
        Ok(count("bytes_read") + count("bytes_written"))
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        let mut all: Vec<&mut Child> = self.clients.iter_mut().chain([&mut self.server]).collect();
        all.iter_mut().for_each(|child| drop(child.stdin.take()));
        all.iter_mut().for_each(|child| drop(child.wait()));
    }
}

fn find<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    if tree["path"].as_str().is_some_and(|p| p.ends_with(path)) {
        return Some(tree);
    }
    tree["children"].as_array()?.iter().find_map(|child| find(child, path))
}

fn provision(program: &Path, dir: &Path, names: &[String]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["provision", "--federation", "bench", "--server", "server", "--dir"]).arg(dir.join("pki"));
    command.args(names.iter().flat_map(|name| ["--client", name]));
    let done = command.output().context("the node program cannot be started")?;
    ensure!(done.status.success(), "provision failed: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

fn write(dir: &Path, name: &str, settings: &str) -> Result<PathBuf> {
    let path = dir.join(format!("{name}.toml"));
    let pki = dir.join("pki");
    // What stands before the first table belongs to the whole file.
    let first_table = if settings.starts_with('[') { Some(0) } else { settings.find("\n[").map(|at| at + 1) };
    let (top, tables) = settings.split_at(first_table.unwrap_or(settings.len()));
    let federation = if name == "server" { "federation = \"bench\"\n" } else { "" };
    let text = format!(
        "{federation}{top}data_dir = {data:?}\n{tables}[log]\nlevel = \"warn\"\n[tls]\nca = {ca:?}\ncertificate = \
         {crt:?}\nkey = {key:?}\n",
        data = dir.join(name),
        ca = pki.join("ca.crt"),
        crt = pki.join(format!("{name}.crt")),
        key = pki.join(format!("{name}.key")),
    );
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Starts a node and waits for its line on standard output.
fn spawn(program: &Path, role: &str, config: &Path, environment: &[(&str, OsString)]) -> Result<(Child, Value)> {
    let log = config.with_extension("log");
    let mut child = Command::new(program)
        .args([role, "--until-stdin-closes", "--config"])
        .arg(config)
        .envs(environment.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(&log)?)
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("standard output is piped")?).read_line(&mut line)?;
    if line.is_empty() {
        bail!("the {role} ended at its start ({}): {}", child.wait()?, std::fs::read_to_string(&log)?);
    }
    Ok((child, serde_json::from_str(&line)?))
}
