//! The command line. Flags of `server` and `client` are the topmost layer of their configuration.

use clap::{Args, Parser, Subcommand};
use nsfl_types::ClientId;
use serde::Serialize;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 address in use, 4 damaged or newer \
data, 5 disk full, 6 data folder in use by another node, 70 gave up after repeated failures (restart it)";

/// Federated learning node: server, client, and what one needs to set them up.
#[derive(Parser)]
#[command(name = "nsfl-node", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a server: REST, scheduler, coordinators, links to clients.
    Server(ServerArgs),
    /// Run a client: dials the server and trains on local data.
    Client(ClientArgs),
    /// One server and some clients on this machine train a model on handwritten digits.
    Quickstart(QuickstartArgs),
    /// Make a federation's certificate authority and certificates for its nodes.
    Provision(ProvisionArgs),
    /// Check what a stopped node has stored: database, blobs, checkpoints, task records. Repairs nothing.
    Fsck(FsckArgs),
    /// Aggregate files: a base model and updates to it become the next model, by any rule a job may name. The files must not change
    /// meanwhile.
    Aggregate(AggregateArgs),
    /// Make a round of a stopped server's job again and compare the digests.
    Replay(ReplayArgs),
    /// Check a configuration file and print what is in effect.
    CheckConfig(CheckArgs),
    /// Run one task in this process (used by the client itself).
    #[command(hide = true)]
    Trainer {
        /// The task file.
        #[arg(long)]
        task: PathBuf,
    },
    /// Watch over the processes of one task (used by the client itself).
    #[command(hide = true)]
    Warden {
        /// What one of them runs.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

#[derive(Args)]
pub(crate) struct ServerArgs {
    /// Configuration file (see conf/server.toml).
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Folder of everything the server keeps.
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where REST listens.
    #[arg(long)]
    pub(crate) rest: Option<SocketAddr>,
    /// Where clients' links are accepted.
    #[arg(long)]
    pub(crate) link: Option<SocketAddr>,
}

#[derive(Args)]
pub(crate) struct ClientArgs {
    /// Configuration file (see conf/client.toml).
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Folder of everything the client keeps.
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
    /// The server's links, host:port.
    #[arg(long)]
    pub(crate) server: Option<String>,
}

/// What server and client have in common.
#[derive(Args)]
pub(crate) struct NodeArgs {
    /// Log level or filter, such as info or nsfl_transport=debug.
    #[arg(long)]
    pub(crate) log_level: Option<String>,
    /// pretty or json.
    #[arg(long)]
    pub(crate) log_format: Option<String>,
    /// End orderly when standard input is closed: for a parent process that must leave nothing behind.
    #[arg(long)]
    pub(crate) until_stdin_closes: bool,
}

#[derive(Args)]
pub(crate) struct QuickstartArgs {
    /// Number of client processes.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) clients: u32,
    /// Number of rounds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// Seed of data split, initial model and training: the same seed gives the same model, bit for bit.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Print one JSON object {accuracy, rounds, seconds, model, sha256} and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave server and clients running until Ctrl-C.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Folder for certificates, data and output; a new one in the temporary folder when not given.
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Args, Clone)]
pub(crate) struct ProvisionArgs {
    /// Folder for the certificates. An authority found there is used again.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Name of the federation, for a new authority.
    #[arg(long, default_value = "default")]
    pub(crate) federation: String,
    /// Server to make a certificate for; may be given several times.
    #[arg(long)]
    pub(crate) server: Vec<ClientId>,
    /// Client to make a certificate for; may be given several times.
    #[arg(long)]
    pub(crate) client: Vec<ClientId>,
    /// Days the node certificates hold.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// server or client.
    #[arg(value_parser = ["server", "client"])]
    pub(crate) role: String,
    /// Configuration file.
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct FsckArgs {
    /// server or client.
    #[arg(value_parser = ["server", "client"], default_value = "server")]
    pub(crate) role: String,
    /// Configuration file.
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON object {clean, checked, findings} and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct AggregateArgs {
    /// The rule, by its name in job documents.
    #[arg(long)]
    pub(crate) rule: String,
    /// Its parameters, a JSON object as in a job document.
    #[arg(long, default_value = "{}")]
    pub(crate) params: String,
    /// The model the updates are to (safetensors).
    #[arg(long)]
    pub(crate) base: PathBuf,
    /// The updates' weights; 1 for all when not given.
    #[arg(long, value_delimiter = ',')]
    pub(crate) weights: Vec<f64>,
    /// What each update came with, for rules that ask for it: a JSON list of objects, such as [{"local_steps": 5}].
    #[arg(long)]
    pub(crate) numbers: Option<String>,
    /// All clients of the job (N); as many as there are updates when not given.
    #[arg(long)]
    pub(crate) clients: Option<usize>,
    /// For rules that draw.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Memory beside the files, in MB.
    #[arg(long, default_value_t = 256)]
    pub(crate) memory_mb: usize,
    /// What the rule kept of the round before; none before the first.
    #[arg(long)]
    pub(crate) state: Option<PathBuf>,
    /// Where to write what it keeps for the next.
    #[arg(long)]
    pub(crate) state_out: Option<PathBuf>,
    /// Where to write the next model.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// The updates are whole weights, not differences to the base.
    #[arg(long)]
    pub(crate) absolute: bool,
    /// The updates (safetensors).
    #[arg(required = true)]
    pub(crate) updates: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// The job: its id, or namespace/id.
    pub(crate) job: String,
    /// The round.
    #[arg(long)]
    pub(crate) round: u32,
    /// The server's configuration file.
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON object {job, run, round, rule, members, model, recomputed, equal} and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A flag that was not given is null and overrides nothing.
#[derive(Serialize)]
pub(crate) struct LogFlags {
    level: Option<String>,
    format: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Listen {
    listen: Option<SocketAddr>,
}

#[derive(Serialize)]
pub(crate) struct ServerFlags {
    data_dir: Option<PathBuf>,
    rest: Listen,
    link: Listen,
    log: LogFlags,
}

#[derive(Serialize)]
pub(crate) struct ClientFlags {
    data_dir: Option<PathBuf>,
    server: Option<String>,
    log: LogFlags,
}

impl NodeArgs {
    fn log(&self) -> LogFlags {
        LogFlags { level: self.log_level.clone(), format: self.log_format.clone() }
    }
}

impl ServerArgs {
    pub(crate) fn flags(&self) -> ServerFlags {
        ServerFlags {
            data_dir: self.data_dir.clone(),
            rest: Listen { listen: self.rest },
            link: Listen { listen: self.link },
            log: self.node.log(),
        }
    }
}

impl ClientArgs {
    pub(crate) fn flags(&self) -> ClientFlags {
        ClientFlags { data_dir: self.data_dir.clone(), server: self.server.clone(), log: self.node.log() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
