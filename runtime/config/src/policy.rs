//! The site's policy: a file of its own that says which tasks a client takes, whatever the server sends. It is read and
//! checked here; it is applied by the task manager.

use crate::ConfigError;
use nsfl_types::{Digest, Runtime};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A site's policy. A list that is not given allows all, an empty one none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Who may have submitted the job.
    pub authors: Option<BTreeSet<String>>,
    /// Namespaces the job may be of.
    pub namespaces: Option<BTreeSet<String>>,
    /// Runtimes.
    pub runtimes: Option<Vec<Runtime>>,
    /// Tasks that are configured on this client.
    pub tasks: Option<BTreeSet<String>>,
    /// Packages of scripts that come with a job, by the SHA-256 of the zip.
    pub packages: Option<BTreeSet<Digest>>,
    /// Data sets.
    pub datasets: Option<BTreeSet<String>>,
    /// Data sets of these authors, in place of `datasets`.
    pub author_datasets: BTreeMap<String, BTreeSet<String>>,
    /// The most a task may ask for.
    pub maximum: Maximum,
    /// Scripts run in a sandbox or not at all. Default false.
    pub require_sandbox: bool,
    /// The fewest clients whose updates are summed before the server sees them, at least 2.
    pub minimum_secure_aggregation_group: Option<u32>,
    /// The least noise multiplier of differential privacy, above 0.
    pub dp_floor: Option<f64>,
}

/// `[maximum]`: the most a task may ask for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Maximum {
    /// CPU cores.
    pub cpu: Option<f64>,
    /// GPUs.
    pub gpu: Option<f64>,
    /// Memory in MB.
    pub memory_mb: Option<f64>,
    /// Workers.
    pub worker_num: Option<u32>,
    /// Time for one task, in seconds.
    pub timeout_s: Option<f64>,
}

impl Policy {
    /// Reads and checks a policy.
    ///
    /// # Errors
    /// The file cannot be read, or it says something that is no policy: file, line and key are named.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let path = file.to_owned();
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        let read = toml::from_str::<Self>(&text).map_err(|e| e.to_string().trim_end().to_owned());
        read.and_then(|policy| policy.check().map(|()| policy)).map_err(|problem| ConfigError::Policy { path, problem })
    }

    fn check(&self) -> Result<(), String> {
        let Maximum { cpu, gpu, memory_mb, worker_num, timeout_s } = self.maximum;
        let amounts = [("cpu", cpu), ("gpu", gpu), ("memory_mb", memory_mb), ("timeout_s", timeout_s)];
        if let Some((key, Some(value))) = amounts.iter().find(|(_, v)| v.is_some_and(|v| !(v.is_finite() && v >= 0.0)))
        {
            return Err(format!("maximum.{key}: is {value}, a number of 0 or more is expected"));
        }
        if worker_num == Some(0) {
            return Err("maximum.worker_num: is 0, at least 1 is expected".to_owned());
        }
        if let Some(group) = self.minimum_secure_aggregation_group.filter(|group| *group < 2) {
            return Err(format!("minimum_secure_aggregation_group: is {group}, at least 2 is expected"));
        }
        match self.dp_floor {
            Some(floor) if !(floor.is_finite() && floor > 0.0) => {
                Err(format!("dp_floor: is {floor}, a number above 0 is expected"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Policy, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.toml");
        std::fs::write(&file, text).unwrap();
        Policy::read(&file).map_err(|e| e.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn an_empty_policy_allows_all() {
        assert_eq!(read(""), Ok(Policy::default()));
    }

    #[test]
    fn what_is_no_policy_is_told_with_file_line_and_key() {
        let unknown = read("author = [\"alice\"]").unwrap_err();
        assert!(unknown.starts_with("policy: file policy.toml: ") && unknown.contains("line 1"), "{unknown}");
        assert!(unknown.contains("unknown field `author`, expected one of `authors`"), "{unknown}");
        for (text, key) in [
            ("packages = [\"abc\"]", "packages"),
            ("[maximum]\ncpu = -1.0", "maximum.cpu"),
            ("[maximum]\nworker_num = 0", "maximum.worker_num"),
            ("[maximum]\ndisk = 1", "disk"),
            ("runtimes = [\"perl\"]", "perl"),
            ("minimum_secure_aggregation_group = 1", "minimum_secure_aggregation_group"),
            ("dp_floor = 0.0", "dp_floor"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(key), "{text}: {error}");
        }
        let missing = Policy::read(Path::new("/nowhere/policy.toml")).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/policy.toml: cannot be read"), "{missing}");
    }
}
