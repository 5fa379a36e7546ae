//! The words of the command line: verb, then noun. What they do is elsewhere.

use crate::print::Output;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use nsfl_types::UserRole;
use std::path::PathBuf;

/// Submits, follows and ends federated learning jobs on an NSFL server.
#[derive(Debug, Parser)]
#[command(name = "nsfl-ctl", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// URL of the API server, instead of the configured one
    #[arg(long, global = true, env = "NSFL_CTL_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done; with --wait or watch: the job FINISHED
  1  the server refused, or the job ended as FAILED or STOPPED
  2  the command, a file it names or the configuration is wrong
  3  the server cannot be reached
  4  no such job, client or namespace
  5  --timeout is over
  6  the backup is damaged, not whole, or of a newer version
  130  interrupted";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a job
    Create {
        #[command(subcommand)]
        what: Write,
    },
    /// Replace the document of a job that waits or rests
    Update {
        #[command(subcommand)]
        what: Change,
    },
    /// Run a job again
    Start {
        #[command(subcommand)]
        what: Start,
    },
    /// End a job's run, or an actor
    Stop {
        #[command(subcommand)]
        what: Stop,
    },
    /// End an actor orderly and start it again
    Restart {
        #[command(subcommand)]
        what: Restart,
    },
    /// Follow what an actor handles, message by message
    Trace {
        #[command(subcommand)]
        what: Trace,
    },
    /// Give a client no new tasks
    Cordon {
        #[command(subcommand)]
        what: KeepAway,
    },
    /// Let a client take part again, also a removed one
    Uncordon {
        #[command(subcommand)]
        what: LetIn,
    },
    /// Close a client's link, forget it and turn it away
    Remove {
        #[command(subcommand)]
        what: KeepAway,
    },
    /// Remove a job, its rounds and its events; its files stay
    Delete {
        #[command(subcommand)]
        what: Operate,
    },
    /// Show jobs, clients, actors, events, namespaces or the configuration
    Get(Get),
    /// Follow a job: a line a round, until it ends
    Watch {
        #[command(subcommand)]
        what: Watch,
    },
    /// Show a job (its state, who is awaited, why clients failed, with tracebacks), a client or an actor
    Describe {
        #[command(subcommand)]
        what: Describe,
    },
    /// Show what the scripts of failed tasks have printed
    Logs {
        #[command(subcommand)]
        what: Logs,
    },
    /// Change the configuration
    Set {
        #[command(subcommand)]
        what: Set,
    },
    /// Copy a running server's state into one file: jobs, models, the namespaces' files
    Backup(Backup),
    /// Put a backup into an empty data folder, on the server's machine, before the server is started
    Restore(Restore),
    /// Hand out, list and revoke the tokens that the server is asked with
    Token {
        #[command(subcommand)]
        what: Token,
    },
    /// Show who changed what
    Audit(Audit),
    /// Show actors, clients and jobs as they are now, again and again
    Top(Top),
    /// Ask whether the server is well
    Health,
    /// Show the versions of nsfl-ctl and of the server
    Version,
    /// Write the completion script of a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Write {
    /// A job
    Job(WriteJob),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Change {
    /// A job
    Job(Submit),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Start {
    /// A job
    Job(StartJob),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Operate {
    /// A job
    Job(JobName),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Stop {
    /// A job
    Job(JobName),
    /// An actor: it stays ended until it is restarted
    Actor(ActorPath),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Restart {
    /// An actor
    Actor(ActorPath),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Trace {
    /// An actor
    Actor(TraceActor),
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeepAway {
    /// A client
    Client(Because),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LetIn {
    /// A client
    Client {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ActorPath {
    /// Its path, as `get actors` shows it
    pub(crate) path: String,
}

#[derive(Debug, Args)]
pub(crate) struct TraceActor {
    #[command(flatten)]
    pub(crate) actor: ActorPath,
    /// For so long
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) seconds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Because {
    /// Its id
    pub(crate) id: String,
    /// Why, for those who look at it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token; it is shown this once
    Create {
        /// Whose it is
        name: String,
        /// viewer: look; operator: change jobs, files, clients, actors; admin: tokens, audit log, backups
        #[arg(long)]
        role: UserRole,
    },
    /// Every token, without its text
    List {
        /// Instead of a table
        #[arg(short = 'o', long, value_name = "FORMAT")]
        output: Option<Output>,
    },
    /// Make a token worthless
    Revoke {
        /// As `token list` shows it
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Only entries with a greater id, the oldest first; left out: the newest
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<u64>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: u32,
    /// Instead of a table
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) every: u64,
    /// Look once
    #[arg(long)]
    pub(crate) once: bool,
    /// Actors that are shown, the busiest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) actors: usize,
}

#[derive(Debug, Args)]
pub(crate) struct GetEvents {
    /// Go on with what happens from now
    #[arg(long)]
    pub(crate) follow: bool,
    /// Only of this job
    #[arg(long, value_name = "NS/ID")]
    pub(crate) job: Option<String>,
    /// Only of this client
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// At most so many of those before, the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Watch {
    /// A job
    Job(WatchJob),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Describe {
    /// A job
    Job(DescribeJob),
    /// A client: its link, its tasks, who keeps it away
    Client(DescribeOne),
    /// An actor: its mailbox, its handler, its restarts, its last error with causes
    Actor(DescribeOne),
}

#[derive(Debug, Args)]
pub(crate) struct DescribeOne {
    /// A client's id, or an actor's path
    pub(crate) name: String,
    /// Of an actor: of this client's, which must show them
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// Instead of text
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Logs {
    /// A job
    Job(LogsJob),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Set {
    /// The configuration of nsfl-ctl
    Config(Settings),
}

/// Where a job's document comes from.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Source {
    /// Job document: .json, .yaml, .yml or .toml
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "workspace")]
    pub(crate) file: Option<PathBuf>,
    /// Folder with job.json, job.yaml or job.toml, and perhaps model.safetensors, scripts/ and extender.py
    #[arg(short = 'w', long, value_name = "FOLDER")]
    pub(crate) workspace: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// Namespace
    pub(crate) namespace: String,
    #[command(flatten)]
    pub(crate) source: Source,
    /// Initial model, a safetensors file: uploaded, and model_path set to it
    #[arg(short = 'm', long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Folder of the tasks' scripts: packed, uploaded, and scripts.path set to it
    #[arg(short = 's', long, value_name = "FOLDER")]
    pub(crate) scripts: Option<PathBuf>,
    /// Script with broadcast, aggregate or finish: uploaded, and extender set to it
    #[arg(short = 'e', long, value_name = "FILE")]
    pub(crate) extender: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct WriteJob {
    #[command(flatten)]
    pub(crate) submit: Submit,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// A job by its id or by its document.
#[derive(Debug, Args)]
pub(crate) struct JobName {
    /// Namespace
    pub(crate) namespace: String,
    /// Job; left out: the id in the document
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) source: Source,
}

#[derive(Debug, Args)]
pub(crate) struct StartJob {
    #[command(flatten)]
    pub(crate) job: JobName,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// Wait until the job ends and show how it goes
    #[arg(long)]
    pub(crate) wait: bool,
    /// Wait at most so many seconds
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    pub(crate) timeout: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct WatchJob {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Follow for at most so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct DescribeJob {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Only this round, instead of the newest and those that failed last
    #[arg(long, value_name = "N")]
    pub(crate) round: Option<u32>,
    /// Instead of text
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
}

#[derive(Debug, Args)]
pub(crate) struct LogsJob {
    #[command(flatten)]
    pub(crate) job: JobName,
    /// Only of this client
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// Only of this round
    #[arg(long, value_name = "N")]
    pub(crate) round: Option<u32>,
    /// Go on with what fails from now, until the job ends
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Instead of a table
    #[arg(short = 'o', long, global = true, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
    #[command(subcommand)]
    pub(crate) what: What,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Jobs of a namespace, or one
    #[command(alias = "job")]
    Jobs(JobName),
    /// Clients the server knows
    #[command(alias = "client")]
    Clients {
        /// Only this one
        id: Option<String>,
    },
    /// The server's actors, as a tree
    #[command(alias = "actor")]
    Actors {
        /// Those of this client, which must show them
        #[arg(long, value_name = "ID")]
        client: Option<String>,
    },
    /// What happened, in all jobs
    #[command(alias = "event")]
    Events(GetEvents),
    /// Namespaces
    #[command(alias = "namespaces")]
    Namespace,
    /// The configuration of nsfl-ctl
    Config,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to be made
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A file that `backup` has made
    pub(crate) file: PathBuf,
    /// The server's data_dir: empty, or not there
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data_dir: PathBuf,
}

/// What may be set. An empty text removes a value.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Settings {
    /// URL of the API server
    #[arg(short = 's', long = "api-server", value_name = "URL")]
    pub(crate) api_server: Option<String>,
    /// URL of the server that takes and gives files, where it is another one
    #[arg(short = 'd', long, value_name = "URL")]
    pub(crate) data_server: Option<String>,
    /// User name, sent with HTTP basic authentication
    #[arg(short = 'u', long)]
    pub(crate) user: Option<String>,
    /// Ask for the user's password; it is kept in the configuration file
    #[arg(short = 'p', long)]
    pub(crate) password: bool,
    /// File that holds the token to ask with, such as the server's admin.token; - for standard input
    #[arg(short = 't', long, value_name = "FILE")]
    pub(crate) token: Option<PathBuf>,
    /// Certificate of the authority that https servers are checked against, PEM
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_manual_is_understood() {
        for line in [
            "nsfl-ctl create job default -f job.yaml",
            "nsfl-ctl create job default -w folder -m model.safetensors --wait --timeout 60",
            "nsfl-ctl update job default -f job.json",
            "nsfl-ctl create job default -f job.json -s scripts -e extender.py",
            "nsfl-ctl describe job default digits --round 3 -o json",
            "nsfl-ctl logs job default digits --client c1 --round 3 --follow",
            "nsfl-ctl start job default digits --wait",
            "nsfl-ctl stop job default -f job.json",
            "nsfl-ctl delete job default digits",
            "nsfl-ctl get jobs default",
            "nsfl-ctl get job default digits -o yaml",
            "nsfl-ctl get clients -o json",
            "nsfl-ctl get actors",
            "nsfl-ctl get actors --client c1 -o json",
            "nsfl-ctl get events --follow --job default/digits --client c1",
            "nsfl-ctl describe client c1",
            "nsfl-ctl describe actor jobs/default/digits/coordinator -o yaml",
            "nsfl-ctl restart actor selector",
            "nsfl-ctl stop actor selector",
            "nsfl-ctl trace actor selector --seconds 5",
            "nsfl-ctl cordon client c1 --reason disk",
            "nsfl-ctl uncordon client c1",
            "nsfl-ctl remove client c1",
            "nsfl-ctl token create ada --role operator",
            "nsfl-ctl token list -o json",
            "nsfl-ctl token revoke 0123456789ab",
            "nsfl-ctl audit --after 7 --limit 10",
            "nsfl-ctl top --once",
            "nsfl-ctl set config -t admin.token",
            "nsfl-ctl get namespace",
            "nsfl-ctl get config",
            "nsfl-ctl watch job default digits --timeout 5",
            "nsfl-ctl set config -s http://h:1 -d http://h:2 -u me -p -c ca.pem",
            "nsfl-ctl health --server http://h:1",
            "nsfl-ctl completion bash",
            "nsfl-ctl version",
            "nsfl-ctl backup monday.tar --server http://h:1",
            "nsfl-ctl restore monday.tar --data-dir server",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in [
            "nsfl-ctl",
            "nsfl-ctl create job",
            "nsfl-ctl create job default -f a -w b",
            "nsfl-ctl create job default -f a --timeout 3",
            "nsfl-ctl set config",
            "nsfl-ctl get jobs default -o xml",
            "nsfl-ctl restore monday.tar",
            "nsfl-ctl token create ada --role root",
            "nsfl-ctl trace actor a --seconds 61",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
