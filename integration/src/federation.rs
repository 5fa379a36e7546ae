//! A server and some clients on loopback, each a process, in a folder of their own.

use crate::hosts::{Hosts, NEAR};
use crate::port::Port;
use crate::{Launch, Node, Rest, binary};
use anyhow::Context;
use nsfl_transport::provision::{Authority, PemPair, Validity, write_private};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use time::OffsetDateTime;

/// One of the federation's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The server.
    Server,
    /// Client `c<number>`, from 1.
    Client(usize),
}

/// Variables of a process's environment.
pub type Env<'a> = &'a [(&'a str, String)];

/// What a federation is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The build of `nsfl-node`; the test's own when not given.
    pub program: Option<PathBuf>,
    /// Variables for the first life of one process.
    pub env: Option<(Place, Vec<(&'static str, String)>)>,
    /// Where a client finds the server, if not where it is.
    pub via: Vec<(usize, SocketAddr)>,
    /// Network namespaces: this client is on the far host, everything else on the near one, where the caller is.
    pub far: Option<(usize, Arc<Hosts>)>,
    /// Data folders elsewhere than beside everything else, such as on a small disk.
    pub data: Vec<(Place, PathBuf)>,
    /// Number of clients, named `c1`, `c2`, …
    pub clients: usize,
    /// Lines added to the server's configuration, before its first section.
    pub server_extra: String,
    /// The same of clients, by number.
    pub client_extra: Vec<(usize, String)>,
    /// Whether REST needs a token, also of this machine.
    pub tokens: bool,
    /// Data sets of every client beside `digits`: name, and folder with a `client-<number>` for each.
    pub datasets: Vec<(String, PathBuf)>,
}

impl Default for Options {
    fn default() -> Self {
        let (via, data, server_extra, client_extra, datasets) = Default::default();
        let (program, env, far) = Default::default();
        Self { program, env, via, far, data, clients: 2, server_extra, tokens: false, client_extra, datasets }
    }
}

/// A running federation. Dropped, its processes are killed and its folder removed.
pub struct Federation {
    /// The clients' processes, by number; `None` once taken away.
    pub clients: Vec<Node>,
    /// The server's process.
    pub server: Node,
    /// REST of the server.
    pub rest: Rest,
    authority: Authority,
    options: Options,
    program: PathBuf,
    folder: TempDir,
    /// Of REST and of the links, so that a server that is started again is found again.
    _ports: [Port; 2],
}

impl Options {
    fn data_of(&self, place: Place) -> Option<PathBuf> {
        self.data.iter().find(|(of, _)| *of == place).map(|(_, folder)| folder.clone())
    }
}

impl Federation {
    /// Provisions, configures, starts the server and then the clients, and waits until each is ready.
    ///
    /// # Errors
    /// A process did not start; the error carries the end of its log.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("nsfl-test-").tempdir()?;
        let dir = folder.path();
        let authority = Authority::create("tests", Validity::days(OffsetDateTime::now_utc(), 1))?;
        write_private(&dir.join("ca.crt"), &authority.pem().certificate)?;
        let pair = authority.issue_server(&"server".parse()?, Validity::days(OffsetDateTime::now_utc(), 1))?;
        write_pair(dir, "server", &pair)?;
        let digits = include_bytes!("../../data/digits/digits.csv.gz");
        nsfl_trainer::digits::split(digits, options.clients.max(2), 7, &dir.join("data"))?;
        let ports = [Port::take()?, Port::take()?];
        let (rest, link) = (ports[0].number, ports[1].number);
        let host = if options.far.is_some() { NEAR } else { "127.0.0.1" };
        let config = format!(
            "federation = \"tests\"\ndata_dir = {:?}\n{}\n[rest]\nlisten = \"127.0.0.1:{rest}\"\nloopback_without_token = \
             {}\n[link]\nlisten = \"{host}:{link}\"\n{}",
            options.data_of(Place::Server).unwrap_or_else(|| dir.join("server")),
            options.server_extra,
            !options.tokens,
            tls(dir, "server"),
        );
        std::fs::write(dir.join("server.toml"), config)?;
        let program = options.program.clone().map_or_else(|| binary("nsfl-node"), Ok)?;
        let env = |place| match &options.env {
            Some((of, env)) if *of == place => &env[..],
            _ => &[],
        };
        let server = launch(&program, dir, Place::Server, env(Place::Server))?;
        let rest = Rest::new(&format!("127.0.0.1:{rest}"));
        let mut federation = Self {
            clients: Vec::new(),
            server,
            rest,
            authority,
            options: options.clone(),
            program,
            folder,
            _ports: ports,
        };
        for number in 1..=options.clients {
            let client = federation.client_with(number, env(Place::Client(number)))?;
            federation.clients.push(client);
        }
        Ok(federation)
    }

    /// The folder of everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A process.
    #[must_use]
    pub fn node(&self, place: Place) -> &Node {
        match place {
            Place::Server => &self.server,
            Place::Client(number) => &self.clients[number - 1],
        }
    }

    /// The data folder of a process.
    #[must_use]
    pub fn data(&self, place: Place) -> PathBuf {
        let name = match place {
            Place::Server => "server".to_owned(),
            Place::Client(number) => format!("c{number}"),
        };
        self.options.data_of(place).unwrap_or_else(|| self.folder().join(name))
    }

    /// The address of the links.
    ///
    /// # Errors
    /// The server did not say.
    pub fn link(&self) -> anyhow::Result<String> {
        Ok(self.server.ready["link"].as_str().context("a server says where its links are")?.to_owned())
    }

    /// The authority, to make certificates that nodes trust.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Starts the server again in its folder and on its ports, after it was killed.
    ///
    /// # Errors
    /// It did not start.
    pub fn restart_server(&mut self) -> anyhow::Result<()> {
        self.restart_server_with(&[])
    }

    /// The same with variables in its environment.
    ///
    /// # Errors
    /// It did not start.
    pub fn restart_server_with(&mut self, env: Env<'_>) -> anyhow::Result<()> {
        self.server = self.launch(Place::Server, env)?;
        Ok(())
    }

    /// Starts a process that is configured, beside whatever runs.
    ///
    /// # Errors
    /// It did not start.
    pub fn launch(&self, place: Place, env: Env<'_>) -> anyhow::Result<Node> {
        launch(&self.program, self.folder.path(), place, env)
    }

    /// Starts client `number` (again), with its own certificate and folder.
    ///
    /// # Errors
    /// It did not start.
    pub fn client(&self, number: usize) -> anyhow::Result<Node> {
        self.client_with(number, &[])
    }

    /// The same with variables in its environment.
    ///
    /// # Errors
    /// It did not start.
    pub fn client_with(&self, number: usize, env: Env<'_>) -> anyhow::Result<Node> {
        let (dir, name) = (self.folder.path(), format!("c{number}"));
        let file = dir.join(format!("{name}.toml"));
        if !file.exists() {
            let validity = Validity::days(OffsetDateTime::now_utc(), 1);
            write_pair(dir, &name, &self.authority.issue_client(&name.parse()?, validity)?)?;
            let datasets = self.options.datasets.iter().map(|(name, folder)| (name.as_str(), folder.clone()));
            let datasets = [("digits", dir.join("data"))].into_iter().chain(datasets);
            let line =
                |(name, folder): (&str, PathBuf)| format!("{name} = {:?}\n", folder.join(format!("client-{number}")));
            let config = format!(
                "server = \"{}\"\ndata_dir = {:?}\n{}\n[datasets]\n{}[link]\nretry_base_ms = 50\n\
                 retry_max_ms = 200\n{}",
                self.options
                    .via
                    .iter()
                    .find(|(of, _)| *of == number)
                    .map_or_else(|| self.link(), |(_, at)| Ok(at.to_string()))?,
                self.options.data_of(Place::Client(number)).unwrap_or_else(|| dir.join(&name)),
                self.options.client_extra.iter().find(|(of, _)| *of == number).map_or("", |(_, lines)| lines),
                datasets.map(line).collect::<String>(),
                tls(dir, &name),
            );
            std::fs::write(&file, config)?;
        }
        let start = || self.launch(Place::Client(number), env);
        match &self.options.far {
            Some((far, hosts)) if *far == number => hosts.far_away(start)?,
            _ => start(),
        }
    }

    /// Submits a job and expects that it is taken.
    ///
    /// # Errors
    /// It was refused; the error is the answer.
    pub fn submit(&self, job: &Value) -> anyhow::Result<()> {
        let answer = self.rest.post("/namespaces/default/jobs", job)?;
        anyhow::ensure!(answer.status == 201, "refused: {answer:?}");
        Ok(())
    }

    /// Waits until the job is finished and gives the digest of its model, as its end was told.
    ///
    /// # Errors
    /// It ended otherwise, or the server went away.
    pub fn model(&self, job: &str) -> anyhow::Result<String> {
        let document = self.rest.wait_until_at_rest(job)?;
        anyhow::ensure!(document["status"]["state"] == "FINISHED", "not finished: {document}");
        let end = self.rest.events(job)?.filter(|event| event.kind == "run-ended").last().context("no end was told")?;
        Ok(end.fields["sha256"].as_str().context("no digest was told")?.to_owned())
    }

    /// The path of a file in the storage of namespace `default`.
    #[must_use]
    pub fn stored(&self, path: &str) -> PathBuf {
        self.folder.path().join("server/storage/default").join(path)
    }
}

/// A digits job for `clients` clients and `rounds` rounds; every client is needed.
#[must_use]
pub fn digits_job(id: &str, clients: usize, rounds: u32) -> Value {
    json!({
        "id": id, "runtime": "builtin", "task_entry": "classifier", "datasets": ["digits"], "output": "out",
        "hyper_parameters": {
            "max_round_num": rounds, "client_num": clients, "threshold_client_num": clients,
            "evaluate_interval": 2, "save_interval": 2, "round_timeout": 60,
        },
        "parameters": {"features": 64, "classes": 10, "hidden": 16, "epochs": 1, "scale": 16, "seed": 7},
    })
}

/// An echo job: no data, a model of `megabytes`.
#[must_use]
pub fn echo_job(id: &str, clients: usize, rounds: u32, megabytes: f64) -> Value {
    json!({
        "id": id, "runtime": "builtin", "task_entry": "echo", "output": "out",
        "hyper_parameters": {
            "max_round_num": rounds, "client_num": clients, "threshold_client_num": clients,
            "evaluate_interval": 0, "save_interval": 0, "round_timeout": 120,
        },
        "parameters": {"size_mb": megabytes, "seed": 7},
    })
}

/// A model of one tensor `w` of three numbers.
#[must_use]
pub fn model_of(values: [f32; 3]) -> Vec<u8> {
    let head = json!({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}).to_string();
    let mut file = (head.len() as u64).to_le_bytes().to_vec();
    file.extend(head.as_bytes());
    file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    file
}

fn launch(program: &Path, dir: &Path, place: Place, env: Env<'_>) -> anyhow::Result<Node> {
    let (role, name) = match place {
        Place::Server => ("server", "server".to_owned()),
        Place::Client(number) => ("client", format!("c{number}")),
    };
    let (config, log) = (dir.join(format!("{name}.toml")), dir.join(format!("{name}.log")));
    Node::launch(&Launch { program, role, config: &config, log: &log, env })
}

fn write_pair(dir: &Path, name: &str, pair: &PemPair) -> anyhow::Result<()> {
    write_private(&dir.join(format!("{name}.crt")), &pair.certificate)?;
    write_private(&dir.join(format!("{name}.key")), &pair.key)?;
    Ok(())
}

fn tls(dir: &Path, name: &str) -> String {
    let file = |name: String| dir.join(name);
    format!(
        "[tls]\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n",
        file("ca.crt".into()),
        file(format!("{name}.crt")),
        file(format!("{name}.key")),
    )
}
