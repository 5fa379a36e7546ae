//! How this client confines its scripts: what is configured, and what the machine offers. Tried out once, at its start.

use crate::exit;
use nsfl_config::{ClientConfig, Policy, SandboxMode};
use nsfl_task_manager::{Confinement, SandboxRules};
use nsfl_trainer::launch::{Bubblewrap, Launcher, kill_remains};
use std::path::{Path, PathBuf};

/// What scripts may use and see.
pub(crate) fn confinement(config: &ClientConfig) -> anyhow::Result<Confinement> {
    let scripts = &config.scripts;
    Ok(Confinement {
        sandbox: sandbox(config)?,
        file: Some(u64::from(scripts.file_mb.get()) * 1_000_000),
        processes: Some(scripts.processes.get().into()),
        open_files: Some(scripts.open_files.get().into()),
        cpu_seconds: Some(u64::from(scripts.cpu_seconds)).filter(|seconds| *seconds > 0),
    })
}

fn sandbox(config: &ClientConfig) -> anyhow::Result<Option<SandboxRules>> {
    let mode = config.sandbox.mode;
    if mode == SandboxMode::Off {
        tracing::info!("scripts run without a sandbox: it is off");
        return Ok(None);
    }
    let program = match Bubblewrap::probe() {
        Ok(program) => program,
        Err(reason) if mode == SandboxMode::Auto => {
            tracing::warn!(reason, "scripts run without a sandbox");
            return Ok(None);
        }
        Err(reason) => {
            let missing = format!("configuration: sandbox.mode: is 'require', but there is no sandbox: {reason}");
            return Err(exit::coded(exit::CONFIG, missing));
        }
    };
    tracing::info!(program = %program.path().display(), "scripts run in a sandbox");
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let tls = &config.tls;
    Ok(Some(SandboxRules {
        program,
        read_only: config.sandbox.read_only.iter().map(absolute).collect(),
        hidden: [&config.data_dir, &tls.key, &tls.certificate].map(absolute).into(),
        network: config.sandbox.network,
    }))
}

/// The policy's path, once the policy is known to be one.
pub(crate) fn policy(config: &ClientConfig) -> anyhow::Result<Option<PathBuf>> {
    if let Some(file) = &config.policy {
        Policy::read(file).map_err(|e| exit::coded(exit::CONFIG, e.to_string()))?;
    }
    Ok(config.policy.clone())
}

/// Ends what a daemon that was killed has left running, if its wardens were killed too.
pub(crate) fn sweep(launcher: &Launcher, workspace: &Path) {
    let folder = std::path::absolute(workspace).unwrap_or_else(|_| workspace.to_owned());
    let processes = kill_remains(&folder);
    let groups = launcher.cgroups.as_ref().map_or(0, |cgroups| cgroups.sweep());
    if processes + groups > 0 {
        tracing::warn!(processes, groups, "remains of earlier tasks killed");
    }
}
