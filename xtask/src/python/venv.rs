//! Makes the virtual environment in stages, each with a stamp of what it was made from. A stage whose stamp is as
//! wanted costs nothing; a torn or changed one is made again.

use super::{Environment, digest, set_up, target};
use crate::metadata;
use anyhow::{Context as _, Result, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One step of the way to a whole environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Torch,
    Frameworks,
    Tools,
    Sdk,
}

/// In the order they are made.
pub(super) const ALL: [Stage; 4] = [Stage::Torch, Stage::Frameworks, Stage::Tools, Stage::Sdk];

/// The environment with these stages in it; another process that makes it meanwhile is waited for.
pub(super) fn made(stages: &[Stage]) -> Result<Environment> {
    let folder = target("python")?;
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock().context("target/python/lock")?;
    let environment = Environment { root: folder.join("venv") };
    let base = base()?;
    let mut before = format!("{base}\n{}", environment.root.display());
    for &stage in stages {
        let wanted = stage.wanted(&before)?;
        let stamp = environment.root.join(stage.stamp());
        if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            eprintln!("python: {stage:?} as pinned");
        } else {
            if stage == Stage::Torch {
                empty(&environment, &base)?;
            }
            stage.make(&environment)?;
            fs::write(&stamp, &wanted).with_context(|| stamp.display().to_string())?;
        }
        before = wanted;
    }
    Ok(environment)
}

impl Stage {
    fn stamp(self) -> &'static str {
        match self {
            Self::Torch => "torch.stamp",
            Self::Frameworks => "frameworks.stamp",
            Self::Tools => "tools.stamp",
            Self::Sdk => "sdk.stamp",
        }
    }

    /// Files that decide what the stage holds.
    fn inputs(self) -> &'static [&'static str] {
        match self {
            Self::Torch => &["xtask/python/torch.txt", "xtask/python/cpu_only_torch.py"],
            Self::Frameworks => &["xtask/python/frameworks.txt"],
            Self::Tools => &["xtask/python/tools.txt"],
            Self::Sdk => &["sdk/python/pyproject.toml"],
        }
    }

    /// What the stamp holds: this stage's inputs on top of those before it.
    fn wanted(self, before: &str) -> Result<String> {
        let mut text = before.to_owned();
        for input in self.inputs() {
            text.push_str(&format!("\n{input} {}", digest(&metadata::root().join(input))?));
        }
        Ok(text)
    }

    fn make(self, environment: &Environment) -> Result<()> {
        let python = || Command::new(environment.python());
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps"];
        let root = metadata::root();
        if self == Self::Sdk {
            let sdk = root.join("sdk/python");
            return set_up(python().args(pip).args(["--no-build-isolation", "--editable"]).arg(sdk));
        }
        set_up(python().args(pip).arg("--requirement").arg(root.join(self.inputs()[0])))?;
        if self == Self::Torch {
            set_up(python().arg(root.join(self.inputs()[1])).arg(&environment.root))?;
        }
        if self == Self::Frameworks {
            set_up(python().args(["-c", "import torch; assert torch.ones(2).sum() == 2"]))?;
        }
        Ok(())
    }
}

/// A new, empty environment in the place of whatever was there: pip would leave the stubs of another PyTorch behind.
fn empty(environment: &Environment, base: &str) -> Result<()> {
    if environment.root.exists() {
        eprintln!("python: {} is another version's, making it anew", environment.root.display());
        fs::remove_dir_all(&environment.root).with_context(|| environment.root.display().to_string())?;
    }
    let python = PathBuf::from(base.lines().next().context("Python said where it is")?);
    set_up(Command::new(python).args(["-m", "venv"]).arg(&environment.root))
}

/// The machine's own Python: path and version.
fn base() -> Result<String> {
    let ask = "import sys; print(sys.executable); print(sys.version)";
    let found = Command::new("python3").args(["-c", ask]).output();
    let found = found.context("python3 cannot be started: install Python 3.11 or newer with its venv module")?;
    ensure!(found.status.success(), "python3 -c {ask:?}: {}", String::from_utf8_lossy(&found.stderr));
    let text = String::from_utf8(found.stdout).context("python3 printed something that is not UTF-8")?;
    ensure!(Path::new(text.lines().next().unwrap_or_default()).is_absolute(), "python3 gave no path of itself: {text}");
    Ok(text)
}
