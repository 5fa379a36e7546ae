//! `cargo xtask example`: trains an example of `examples/fashion_mnist` on a server and four clients on this machine, each
//! a process with its own share of the images, and checks the accuracy. Sets up Python and data itself.

use crate::bench::federation::{Federation, Settings};
use crate::python::{self, Environment};
use crate::{ci, metadata};
use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const CLIENTS: u32 = 4;

/// What ci runs. The first three must reach more than any site reaches alone in as many passes over its images. The
/// others, on few images: an optimizer's part of an update arrives and is kept, workers of a task train one model.
const IN_CI: [Trial; 7] = [
    whole(Example::Pytorch),
    whole(Example::Keras),
    whole(Example::Torchscript),
    Trial { optimizer: Some(Optimizer::Scaffold), ..few(Example::Pytorch) },
    // its pull towards the global model (mu 0.6) makes a few rounds slow
    Trial { optimizer: Some(Optimizer::Fedprox), floor: 0.45, ..few(Example::Keras) },
    Trial { workers: 2, ..few(Example::Pytorch) },
    Trial { workers: 2, ..few(Example::Keras) },
];
const ROUNDS_IN_CI: u32 = 3;

struct Trial {
    example: Example,
    optimizer: Option<Optimizer>,
    samples: Option<u32>,
    workers: u32,
    floor: f64,
}

const fn whole(example: Example) -> Trial {
    Trial { example, optimizer: None, samples: None, workers: 1, floor: 0.8 }
}

const fn few(example: Example) -> Trial {
    Trial { samples: Some(3000), floor: 0.6, ..whole(example) }
}

#[derive(Args)]
pub(crate) struct ExampleArgs {
    /// Without it what ci runs.
    example: Option<Example>,
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Images a client trains on in a round, of those it has; without it all. Not for torchscript, which takes all.
    #[arg(long)]
    samples: Option<u32>,
    /// The job's federated optimizer.
    #[arg(long)]
    optimizer: Option<Optimizer>,
    /// Workers that train together in each client's task. Not for torchscript, which has one.
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// Share of the 10,000 test images that must be told apart in the end.
    #[arg(long, default_value_t = 0.85)]
    floor: f64,
    /// Programs of the dev profile: sooner built.
    #[arg(long)]
    dev: bool,
    /// Folder for the nodes' data; kept. Without it a new one in the temporary folder, removed after success.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Optimizer {
    Fedprox,
    Scaffold,
}

impl Optimizer {
    fn name(self) -> &'static str {
        match self {
            Self::Fedprox => "fedprox",
            Self::Scaffold => "scaffold",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Example {
    Pytorch,
    Keras,
    Torchscript,
}

impl Example {
    /// Its folder in `examples/fashion_mnist`, and in its job's id.
    fn name(self) -> &'static str {
        match self {
            Self::Pytorch => "pytorch",
            Self::Keras => "keras",
            Self::Torchscript => "torchscript",
        }
    }

    fn runtime(self) -> &'static str {
        if self == Self::Keras { "tensorflow" } else { self.name() }
    }

    fn folder(self) -> PathBuf {
        metadata::root().join("examples/fashion_mnist").join(self.name())
    }
}

/// `cargo xtask example`.
pub(crate) fn run(args: &ExampleArgs) -> Result<()> {
    match args.example {
        Some(example) => run_one(example, args),
        None => in_ci(),
    }
}

fn run_one(example: Example, args: &ExampleArgs) -> Result<()> {
    let environment = python::environment()?;
    let clients = split(&environment)?;
    let programs = Programs::build(example, args.dev, &environment)?;
    let temporary = std::env::temp_dir().join(format!("nsfl-example-{}", std::process::id()));
    let dir = args.dir.as_ref().unwrap_or(&temporary);
    ensure!(!dir.exists(), "{} is there already", dir.display());
    std::fs::create_dir_all(dir)?;
    let accuracy = trained(example, args, &environment, &clients, &programs, dir);
    let accuracy = accuracy.with_context(|| format!("what nodes said and kept is in {}", dir.display()))?;
    let optimizer = args.optimizer.map(Optimizer::name);
    let shown = json!({"example": example.name(), "optimizer": optimizer, "workers": args.workers, "rounds": args.rounds, "accuracy": accuracy, "floor": args.floor});
    println!("{shown}");
    ensure!(accuracy >= args.floor, "accuracy {accuracy}, at least {} expected; see {}", args.floor, dir.display());
    if args.dir.is_none() {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}

/// Examples for a few rounds, with a floor that the sites' models alone miss.
pub(crate) fn in_ci() -> Result<()> {
    IN_CI.into_iter().try_for_each(|Trial { example, optimizer, samples, workers, floor }| {
        let rounds = ROUNDS_IN_CI;
        run_one(
            example,
            &ExampleArgs { example: None, rounds, samples, optimizer, workers, floor, dev: false, dir: None },
        )
    })
}

/// Each client's folder of images, made anew from Fashion-MNIST: the same every time.
fn split(environment: &Environment) -> Result<Vec<PathBuf>> {
    let source = python::data::fashion_mnist()?;
    let out = source.with_file_name("fashion-mnist-clients");
    let script = metadata::root().join("examples/fashion_mnist/split.py");
    let count = CLIENTS.to_string();
    let mut command = environment.command();
    python::shown(command.arg(script).arg(source).arg(&out).args(["--clients", &count]))?;
    Ok((1..=CLIENTS).map(|i| out.join(format!("client-{i}"))).collect())
}

/// What an example runs, built now.
struct Programs {
    node: PathBuf,
    ctl: PathBuf,
    /// For torchscript.
    trainer: PathBuf,
}

impl Programs {
    /// The trainer is one of the dev profile, as `cargo xtask torch` makes it: libtorch does the work.
    fn build(example: Example, dev: bool, environment: &Environment) -> Result<Self> {
        let chosen: &[&str] =
            if dev { &["--workspace", "--bins"] } else { &["--release", "-p", "nsfl-node", "-p", "nsfl-ctl"] };
        ci::cargo_with(&[&["build", "--locked"], chosen].concat(), &[])?;
        if example == Example::Torchscript {
            let trainer = ["build", "--locked", "-p", "nsfl-trainer-torch", "--features", "torch"];
            ci::cargo_with(&trainer, &environment.libtorch())?;
        }
        let metadata = cargo_metadata::MetadataCommand::new().no_deps().current_dir(metadata::root()).exec()?;
        let program = |profile: &str, name: &str| metadata.target_directory.join(profile).join(name).into();
        let built = if dev { "debug" } else { "release" };
        let (node, ctl) = (program(built, "nsfl-node"), program(built, "nsfl-ctl"));
        Ok(Self { node, ctl, trainer: program("debug", "nsfl-trainer-torch") })
    }
}

/// The accuracy of the last round.
fn trained(
    example: Example,
    args: &ExampleArgs,
    environment: &Environment,
    clients: &[PathBuf],
    programs: &Programs,
    dir: &Path,
) -> Result<f64> {
    let (package, model) = exported(example, environment, dir)?;
    let settings = Settings {
        environment: variables(environment)?,
        clients: clients.iter().map(|data| client(example, environment, data, &package, &programs.trainer)).collect(),
    };
    let federation = Federation::start(&programs.node, dir, &settings)?;
    let job = dir.join("job.json");
    std::fs::write(&job, serde_json::to_vec_pretty(&document(example, args)?)?)?;
    let server = federation.api.trim_end_matches("/api/v1");
    let mut create = Command::new(&programs.ctl);
    create.args(["create", "job", "default", "--wait", "--server", server, "-f"]).arg(&job).arg("-m").arg(&model);
    if example != Example::Torchscript {
        create.arg("-s").arg(&package);
    }
    python::shown(&mut create)?;
    let id = format!("fashion-{}", example.name());
    let metrics = federation.get(&format!("namespaces/default/jobs/{id}/metrics"))?;
    let measured = metrics["evaluate"]["accuracy"].as_array().context("no accuracy was measured")?;
    measured.iter().rev().find_map(Value::as_f64).context("no round has an accuracy")
}

/// The folder that sites run from, and the initial model for the server.
fn exported(example: Example, environment: &Environment, dir: &Path) -> Result<(PathBuf, PathBuf)> {
    let (package, model) = (dir.join("scripts"), dir.join("model.safetensors"));
    std::fs::create_dir_all(&package)?;
    let mut export = environment.command();
    export.arg(example.folder().join("export.py"));
    if example == Example::Torchscript {
        export.arg(package.join("model.pt"));
    }
    python::shown(export.arg(&model))?;
    for entry in std::fs::read_dir(example.folder())? {
        let path = entry?.path();
        let name = path.file_name().context("an entry of a folder has a name")?;
        let is_part = path.extension().is_some_and(|e| e == "py") || name == "config.json" || name == "workers.json";
        if is_part && name != "export.py" {
            std::fs::copy(&path, package.join(name))?;
        }
    }
    Ok((package, model))
}

/// PATH with the environment's Python first, libtorch, and one thread a process.
fn variables(environment: &Environment) -> Result<Vec<(&'static str, OsString)>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([environment.programs()].into_iter().chain(std::env::split_paths(&path)))?;
    let mut variables = vec![("PATH", path)];
    variables.extend(environment.libtorch());
    variables.extend(python::ONE_THREAD.map(|(name, value)| (name, OsString::from(value))));
    Ok(variables)
}

/// A client's configuration: its images, and what its scripts may see.
fn client(example: Example, environment: &Environment, data: &Path, package: &Path, trainer: &Path) -> String {
    let seen = [environment.root().to_owned(), metadata::root().join("sdk/python/src")];
    let threads = python::ONE_THREAD.map(|(name, _)| name);
    let task = match example {
        Example::Torchscript => {
            let task = package.join("config.json");
            format!("[runtime.torchscript]\ncommand = [{trainer:?}]\n[tasks]\nfashion = {task:?}\n")
        }
        Example::Pytorch | Example::Keras => String::new(),
    };
    format!(
        "runtimes = [{:?}]\n[datasets]\nfashion-mnist = {data:?}\n{task}[scripts]\nenvironment = {threads:?}\n[sandbox]\n\
         read_only = {seen:?}\n[resource]\ncpu = 1.0\nmemory_mb = 4000.0\n",
        example.runtime(),
    )
}

/// The example's job, of so many rounds.
fn document(example: Example, args: &ExampleArgs) -> Result<Value> {
    let path = example.folder().join("job.json");
    let mut job: Value = serde_json::from_slice(&std::fs::read(&path)?).with_context(|| path.display().to_string())?;
    job["hyper_parameters"]["max_round_num"] = args.rounds.into();
    if let Some(samples) = args.samples.filter(|_| example != Example::Torchscript) {
        job["parameters"]["--samples"] = samples.into();
    }
    if args.workers > 1 {
        ensure!(example != Example::Torchscript, "a torchscript task has one worker");
        job["resource"]["worker_num"] = args.workers.into();
        job["scripts"]["config_file"] = "workers.json".into();
    }
    if let Some(optimizer) = args.optimizer {
        job["optimizer"] = json!({"name": optimizer.name()});
    }
    Ok(job)
}
