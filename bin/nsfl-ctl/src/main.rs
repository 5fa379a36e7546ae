//! The command line: talks REST and nothing else. Results go to stdout, talk to stderr.

mod actor;
mod actor_tree;
mod attach;
mod backup;
mod cli;
mod client;
mod config;
mod describe;
mod document;
mod events;
mod fault;
mod get;
mod job;
mod password;
mod print;
mod progress;
mod rest;
mod screen;
mod settings;
mod spark;
mod sse;
mod token;
mod top;
mod watch;

use clap::{CommandFactory as _, Parser as _};
use cli::{Cli, Command};
use fault::Fault;
use rest::Rest;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // A help text asked for is no mistake; clap says which stream it belongs to.
        Err(talk) => return print::usage(&talk),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            print::talk(&format!("nsfl-ctl: {fault}"));
            ExitCode::from(fault.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Fault> {
    let path = config::path()?;
    match cli.command {
        Command::Set { what: cli::Set::Config(options) } => settings::set(&path, options),
        Command::Get(get) if matches!(get.what, cli::What::Config) => {
            settings::show(&path, cli.server.as_deref(), get.output)
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "nsfl-ctl", &mut script);
            print::result(&String::from_utf8_lossy(&script))
        }
        Command::Restore(args) => backup::restore(&args),
        command => {
            let rest = Rest::new(config::load(&path)?.with_server(cli.server))?;
            ask(&rest, command)
        }
    }
}

fn ask(rest: &Rest, command: Command) -> Result<(), Fault> {
    match command {
        Command::Create { what: cli::Write::Job(args) } => job::create(rest, &args),
        Command::Update { what: cli::Change::Job(args) } => job::update(rest, &args),
        Command::Start { what: cli::Start::Job(args) } => job::start(rest, &args),
        Command::Stop { what: cli::Stop::Job(job) } => job::stop(rest, &job),
        Command::Stop { what: cli::Stop::Actor(actor) } => actor::operate(rest, &actor, "stop"),
        Command::Restart { what: cli::Restart::Actor(actor) } => actor::operate(rest, &actor, "restart"),
        Command::Trace { what: cli::Trace::Actor(args) } => actor::trace(rest, &args),
        Command::Cordon { what: cli::KeepAway::Client(args) } => client::cordon(rest, &args),
        Command::Remove { what: cli::KeepAway::Client(args) } => client::remove(rest, &args),
        Command::Uncordon { what: cli::LetIn::Client { id } } => client::uncordon(rest, &id),
        Command::Token { what } => token::token(rest, what),
        Command::Audit(args) => token::audit(rest, &args),
        Command::Top(args) => top::top(rest, &args),
        Command::Delete { what: cli::Operate::Job(job) } => job::delete(rest, &job),
        Command::Get(get) => get::get(rest, get),
        Command::Watch { what: cli::Watch::Job(args) } => watch::job(rest, &args),
        Command::Backup(args) => backup::take(rest, &args),
        Command::Describe { what: cli::Describe::Job(args) } => describe::job(rest, &args),
        Command::Describe { what: cli::Describe::Client(args) } => client::describe(rest, &args),
        Command::Describe { what: cli::Describe::Actor(args) } => actor::describe(rest, &args),
        Command::Logs { what: cli::Logs::Job(args) } => describe::logs(rest, &args),
        Command::Health => print::result(&format!("{}\n", rest.text("/api/v1/health")?.trim_end())),
        Command::Version => get::version(rest),
        Command::Set { .. } | Command::Completion { .. } | Command::Restore(_) => unreachable!("done without a server"),
    }
}
