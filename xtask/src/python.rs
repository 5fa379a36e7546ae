//! `cargo xtask python`: the Python that tests and examples run in, under `target/python`: PyTorch on the CPU,
//! TensorFlow and Keras at pinned versions, and the SDK itself, editable. Made once, made again when a pin changes, every
//! command printed. Not for users: they `pip install` the SDK beside the framework they have.

pub(crate) mod data;
mod venv;

use crate::metadata;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Args)]
pub(crate) struct PythonArgs {
    /// PyTorch alone: all that the `torchscript` runtime needs.
    #[arg(long, conflicts_with_all = ["test", "data"])]
    torch: bool,
    /// Fetch Fashion-MNIST too.
    #[arg(long)]
    data: bool,
    /// Prints `export NAME=VALUE` lines on standard output: `eval "$(cargo xtask python --env)"`.
    #[arg(long, conflicts_with = "test")]
    env: bool,
    /// Then type-checks and tests the SDK.
    #[arg(long)]
    test: bool,
    /// With `--test`, arguments of pytest in place of all tests.
    #[arg(last = true, requires = "test")]
    pytest: Vec<String>,
}

/// `cargo xtask python`.
pub(crate) fn run(args: &PythonArgs) -> Result<()> {
    let environment = if args.torch { torch()? } else { environment()? };
    if args.data {
        eprintln!("data: {}", data::fashion_mnist()?.display());
    }
    if args.env {
        println!("export PATH={:?}:\"$PATH\"", environment.programs());
        environment.libtorch().iter().for_each(|(name, value)| println!("export {name}={value:?}"));
    }
    if args.test { tests(&environment, &args.pytest) } else { Ok(()) }
}

/// Types and tests of the SDK; those for Keras on two of its backends.
pub(crate) fn tests(environment: &Environment, pytest: &[String]) -> Result<()> {
    let sdk = metadata::root().join("sdk/python");
    let run = |args: &[&str], backend: &str| {
        shown(environment.command().args(["-m"]).args(args).env("KERAS_BACKEND", backend).current_dir(&sdk))
    };
    if !pytest.is_empty() {
        let args: Vec<&str> = ["pytest"].into_iter().chain(pytest.iter().map(String::as_str)).collect();
        return run(&args, "tensorflow");
    }
    run(&["mypy"], "tensorflow")?;
    run(&["pytest"], "tensorflow")?;
    run(&["pytest", "tests/test_keras.py", "tests/test_keras_optimizers.py"], "torch")
}

/// A virtual environment that holds what was asked for.
pub(crate) struct Environment {
    root: PathBuf,
}

impl Environment {
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn python(&self) -> PathBuf {
        self.programs().join("python")
    }

    /// The folder to put first in PATH, so that a task configuration's `python` is this one.
    pub(crate) fn programs(&self) -> PathBuf {
        self.root.join("bin")
    }

    pub(crate) fn site_packages(&self) -> Result<PathBuf> {
        let lib = self.root.join("lib");
        let found = std::fs::read_dir(&lib).with_context(|| lib.display().to_string())?;
        let paths = found.flatten().map(|entry| entry.path().join("site-packages"));
        paths.into_iter().find(|path| path.is_dir()).with_context(|| format!("no site-packages in {}", lib.display()))
    }

    /// What the `tch` crate and programs built with it need, to build and to run.
    pub(crate) fn libtorch(&self) -> [(&'static str, OsString); 2] {
        let torch = self.site_packages().unwrap_or_default().join("torch");
        let lib = torch.join("lib").into_os_string();
        [("LIBTORCH", torch.into_os_string()), ("LD_LIBRARY_PATH", lib)]
    }

    /// This Python with one thread a library: processes of a federation share the cores.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.python());
        command.envs(ONE_THREAD).envs(QUIET);
        command
    }
}

/// PyTorch, NumPy and Keras's backends each start a thread a core otherwise.
pub(crate) const ONE_THREAD: [(&str, &str); 5] = [
    ("OMP_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("OPENBLAS_NUM_THREADS", "1"),
    ("TF_NUM_INTRAOP_THREADS", "1"),
    ("TF_NUM_INTEROP_THREADS", "1"),
];
const QUIET: [(&str, &str); 2] = [("TF_CPP_MIN_LOG_LEVEL", "2"), ("TF_ENABLE_ONEDNN_OPTS", "1")];

/// All of it.
pub(crate) fn environment() -> Result<Environment> {
    venv::made(&venv::ALL)
}

/// PyTorch alone, and with it libtorch. What else is there already stays.
pub(crate) fn torch() -> Result<Environment> {
    venv::made(&venv::ALL[..1])
}

/// `target/python` and the like.
fn target(folder: &str) -> Result<PathBuf> {
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().current_dir(metadata::root()).exec()?;
    Ok(metadata.target_directory.join(folder).into())
}

/// As `shown`, for what sets up: standard output is kept for results.
fn set_up(command: &mut Command) -> Result<()> {
    shown(command.stdout(std::io::stderr()))
}

/// Prints a command, runs it, and fails with it.
pub(crate) fn shown(command: &mut Command) -> Result<()> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    eprintln!("+ {line}");
    let status = command.status().with_context(|| format!("{line}: cannot be started"))?;
    if !status.success() {
        bail!("{line}: {status}");
    }
    Ok(())
}

/// SHA-256 of a file, in hex.
fn digest(path: &Path) -> Result<String> {
    use sha2::Digest as _;
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(hex::encode(sha2::Sha256::digest(bytes)))
}
