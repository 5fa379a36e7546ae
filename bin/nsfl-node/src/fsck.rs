//! `fsck`: looks at all that a stopped node has stored and says what is wrong, a line a finding. It repairs nothing.

mod client;
mod server;

use crate::cli::FsckArgs;
use crate::{exit, node};
use nsfl_config::{ClientConfig, ServerConfig};
use nsfl_store::Finding;
use serde_json::{Map, Value, json};
use std::path::Path;

/// What was looked at and what was found.
#[derive(Default)]
struct Report {
    checked: Map<String, Value>,
    findings: Vec<Finding>,
}

#[allow(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn main(args: &FsckArgs) -> anyhow::Result<()> {
    let (file, no_flags) = (args.config.as_deref(), Map::<String, Value>::new());
    let wrong = |e: nsfl_config::ConfigError| exit::coded(exit::CONFIG, e.to_string());
    let report = if args.role == "server" {
        let config = ServerConfig::load(file, no_flags).map_err(wrong)?;
        let _lock = lock(&config.data_dir)?;
        node::run(server::check(&config.data_dir))?
    } else {
        let config = ClientConfig::load(file, no_flags).map_err(wrong)?;
        let _lock = lock(&config.data_dir)?;
        node::run(client::check(&config.data_dir))?
    };
    let damaged = report.findings.iter().filter(|finding| finding.damage).count();
    if args.json {
        println!("{}", json!({"clean": damaged == 0, "checked": report.checked, "findings": report.findings}));
    } else {
        report.findings.iter().for_each(|finding| println!("{finding}"));
        let counts: Vec<_> = report.checked.iter().map(|(what, count)| format!("{count} {what}")).collect();
        println!("checked {}: {damaged} damaged", counts.join(", "));
    }
    match damaged {
        0 => Ok(()),
        _ => Err(exit::coded(exit::DAMAGED, format!("{damaged} of the stored things are damaged"))),
    }
}

/// A folder that is not there is a wrong configuration, and not one to be made.
fn lock(folder: &Path) -> anyhow::Result<std::fs::File> {
    if folder.is_dir() {
        return node::lock_folder(folder);
    }
    Err(exit::coded(exit::CONFIG, format!("configuration: data_dir: there is no folder {}", folder.display())))
}

impl Report {
    fn count(&mut self, what: &str, count: u64) {
        self.checked.insert(what.to_owned(), count.into());
    }

    /// Looks at the blobs; the digests of those that are whole.
    fn blobs(&mut self, root: &Path) -> anyhow::Result<std::collections::BTreeMap<nsfl_types::Digest, u64>> {
        let verified = nsfl_store_posix::verify(root).map_err(exit::store)?;
        self.count("blobs", verified.whole.len() as u64);
        self.count("bytes", verified.bytes);
        self.findings.extend(verified.findings);
        Ok(verified.whole)
    }
}
