//! The processes of a quickstart: provisioned, configured, started, ended. None outlives this one: each watches the
//! pipe it has as standard input.

use super::report::Report;
use crate::cli::{ProvisionArgs, QuickstartArgs};
use crate::provision::provision;
use anyhow::{Context as _, bail};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use tokio::signal::unix::{SignalKind, signal};

const DIGITS: &[u8] = include_bytes!("../../../../data/digits/digits.csv.gz");

pub(crate) struct Cast {
    pub(crate) rest: String,
    server: Process,
    clients: Vec<Process>,
}

/// A child and the pipe it watches: the pipe is held apart, since waiting for a child closes its own.
struct Process {
    child: Child,
    tether: Option<ChildStdin>,
}

impl Cast {
    pub(crate) fn start(args: &QuickstartArgs, dir: &Path, report: &Report) -> anyhow::Result<Self> {
        let names: Vec<String> = (1..=args.clients).map(|i| format!("client-{i}")).collect();
        let pki = ProvisionArgs {
            dir: dir.join("pki"),
            federation: "quickstart".into(),
            server: vec!["server".parse()?],
            client: names.iter().map(|n| n.parse()).collect::<Result<_, _>>()?,
            days: 30,
        };
        provision(&pki)?;
        report.say(&format!("certificates for 1 server and {} clients", args.clients));
        nsfl_trainer::digits::split(DIGITS, args.clients as usize, args.seed, &dir.join("data"))?;
        report.say("1,797 handwritten digits split unevenly over the clients");

        std::fs::write(dir.join("server.toml"), server_toml(dir))?;
        let (server, ready) = spawn("server", &dir.join("server.toml"), &dir.join("server.log"))?;
        let mut cast = Self { rest: text(&ready, "rest")?, server, clients: Vec::new() };
        let link = text(&ready, "link")?;
        for name in &names {
            let file = dir.join(format!("{name}.toml"));
            std::fs::write(&file, client_toml(dir, name, &link))?;
            let (client, _) = spawn("client", &file, &dir.join(format!("{name}.log")))?;
            cast.clients.push(client);
        }
        report.say(&format!("server at http://{}, links at {link}, {} clients", cast.rest, args.clients));
        Ok(cast)
    }

    /// Ends clients, then the server; each has its configured time.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        for process in self.clients.iter_mut().chain([&mut self.server]) {
            drop(process.tether.take());
        }
        for process in self.clients.iter_mut().chain([&mut self.server]) {
            process.child.wait()?;
        }
        Ok(())
    }

    /// Until Ctrl-C or SIGTERM, or until the server has ended by itself. `told` is called once a signal is waited for.
    pub(crate) fn wait_for_interrupt(&self, told: impl FnOnce()) -> anyhow::Result<()> {
        let server = Pid::from_child(&self.server.child);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let waited = runtime.block_on(async {
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            told();
            // NOWAIT: it is waited for when everything is ended
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let ended = tokio::task::spawn_blocking(move || waitid(WaitId::Pid(server), options));
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                ended = ended => drop(ended??),
            }
            Ok(())
        });
        runtime.shutdown_background();
        waited
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "a process was not ended");
        }
    }
}

/// Starts this program as `role` and waits for its line on standard output.
fn spawn(role: &str, config: &Path, log: &Path) -> anyhow::Result<(Process, Value)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([role, "--until-stdin-closes", "--config"])
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(log)?)
        .spawn()
        .with_context(|| format!("the {role} cannot be started"))?;
    let stdout = child.stdout.take().context("standard output is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.is_empty() {
        let status = child.wait()?;
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let last = log.lines().last().unwrap_or("nothing was logged");
        bail!("the {role} ended at its start ({status}): {last}");
    }
    let tether = child.stdin.take();
    Ok((Process { child, tether }, serde_json::from_str(&line)?))
}

fn text(ready: &Value, field: &str) -> anyhow::Result<String> {
    ready[field].as_str().map(str::to_owned).with_context(|| format!("the server did not say its {field} address"))
}

fn server_toml(dir: &Path) -> String {
    format!(
        "federation = \"quickstart\"\ndata_dir = {data:?}\n\n[rest]\nlisten = \"127.0.0.1:0\"\nloopback_without_token = true\n\n[link]\nlisten = \
         \"127.0.0.1:0\"\n\n[tls]\nca = {ca:?}\ncertificate = {crt:?}\nkey = {key:?}\n",
        data = dir.join("server"),
        ca = dir.join("pki/ca.crt"),
        crt = dir.join("pki/server.crt"),
        key = dir.join("pki/server.key"),
    )
}

fn client_toml(dir: &Path, name: &str, link: &str) -> String {
    format!(
        "server = \"{link}\"\ndata_dir = {data:?}\n\n[console]\nobserve = true\n\n[datasets]\ndigits = {digits:?}\n\n[tls]\nca = {ca:?}\n\
         certificate = {crt:?}\nkey = {key:?}\n",
        data = dir.join(name),
        digits = dir.join("data").join(name),
        ca = dir.join("pki/ca.crt"),
        crt = dir.join(format!("pki/{name}.crt")),
        key = dir.join(format!("pki/{name}.key")),
    )
}
