//! Which crate may depend on which: the arrows of ARCHITECTURE.md, checked on what cargo resolves.
//! It looks at crates, not at modules, and at what is linked; dev-dependencies only where a rule says so.

use crate::metadata::{self, Graph, Package};
use anyhow::{Result, bail};
use std::fmt;

/// A rule that is broken, and by which path.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    /// Names from the crate that breaks the rule to the one it may not reach.
    path: Vec<String>,
    reason: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.path.first().map_or("", String::as_str), self.path.last().map_or("", String::as_str));
        write!(f, "{from} → {to}: {}\n    path: {}", self.reason, self.path.join(" → "))
    }
}

/// `cargo xtask layers`.
pub(crate) fn run() -> Result<()> {
    let graph = metadata::load()?;
    let violations = violations(&graph);
    for violation in &violations {
        println!("{violation}");
    }
    if !violations.is_empty() {
        bail!("{} arrows that must not be", violations.len());
    }
    println!("layers: {} crates, every arrow allowed", graph.members().count());
    Ok(())
}

/// Lower may not know higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Lib,
    Runtime,
    Actors,
    Bin,
    Top,
}

fn layer(package: &Package) -> Option<Layer> {
    let folder = package.folder.as_deref()?;
    Some(match folder.split('/').next()? {
        "lib" => Layer::Lib,
        "runtime" => Layer::Runtime,
        "actors" => Layer::Actors,
        "bin" => Layer::Bin,
        "integration" | "xtask" | "examples" => Layer::Top,
        _ => return None,
    })
}

const BACKENDS: [&str; 3] = ["nsfl-store-posix", "nsfl-store-sqlite", "nsfl-store-sled"];
/// A program that is a library too, for those in `examples/` that are a node with more in it.
const NODE: &str = "nsfl-node";
const WITHOUT_WEIGHTS: [&str; 2] = ["nsfl-messages", "nsfl-workflow"];
/// libtorch, and who alone may link it.
const TORCH: [&str; 2] = ["tch", "torch-sys"];
const TORCH_TRAINER: &str = "nsfl-trainer-torch";
const CTL_MAY_REACH: [&str; 4] = ["nsfl-types", "nsfl-rest-model", "nsfl-backup", "nsfl-package"];
/// Runtimes, sockets and stores: out of reach of lib/ by any path.
const IMPURE: [&str; 8] = ["tokio", "mio", "socket2", "tonic", "actix-web", "ractor", "rusqlite", "sled"];
/// Files and the system's randomness: not asked for by lib/ itself. Features are unified over the workspace, so crates
/// that lib/ may use link these for the sake of others (safetensors tempfile, half rand).
const IMPURE_DIRECTLY: [&str; 4] = ["rand", "getrandom", "tempfile", "memmap2"];
const PURE: &str = "lib/ is pure: no IO, no clock, no threads, no randomness but a seed";

fn violations(graph: &Graph) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, package) in graph.members() {
        let Some(own) = layer(package) else {
            found.push(Violation { path: vec![package.name.clone()], reason: "a crate in a folder that is no layer" });
            continue;
        };
        arrows(graph, package, own, &mut found);
        let mut reach = |reason: &'static str, wanted: &dyn Fn(&Package) -> bool| {
            found.extend(graph.reached(index, wanted).into_iter().map(|path| Violation { path, reason }));
        };
        if WITHOUT_WEIGHTS.contains(&package.name.as_str()) {
            reach("weights must not be able to sit in a mailbox or a state machine", &|p| p.name == "nsfl-tensor");
        }
        if package.name == "nsfl-ctl" {
            reach("the command line speaks REST, unpacks backups and knows nothing else of us", &|p| {
                p.folder.is_some() && !CTL_MAY_REACH.contains(&p.name.as_str())
            });
        }
        if package.name != TORCH_TRAINER {
            reach("only nsfl-trainer-torch links libtorch: start it as a process", &|p| {
                TORCH.contains(&p.name.as_str())
            });
        }
        if own == Layer::Lib {
            reach(PURE, &|p| IMPURE.contains(&p.name.as_str()));
        }
    }
    found
}

fn is_example(package: &Package) -> bool {
    package.folder.as_deref().is_some_and(|folder| folder.starts_with("examples/"))
}

/// Rules on single arrows from a crate of ours, those of tests included where a test may not break them either.
/// A longer path between our crates breaks a rule only if one of its arrows does.
fn arrows(graph: &Graph, package: &Package, own: Layer, found: &mut Vec<Violation>) {
    let linked = package.normal.iter().map(|&to| (&graph.packages[to], false));
    let tests = package.dev.iter().map(|&to| (&graph.packages[to], true));
    for (to, only_tests) in linked.chain(tests) {
        let mut violate = |reason| found.push(Violation { path: vec![package.name.clone(), to.name.clone()], reason });
        if own == Layer::Lib && !only_tests && IMPURE_DIRECTLY.contains(&to.name.as_str()) {
            violate(PURE);
        }
        let Some(other) = layer(to) else { continue };
        if other > own {
            violate("arrows point down: lib < runtime < actors < bin");
        } else if other >= Layer::Bin && !(to.name == NODE && is_example(package)) {
            violate("nothing depends on a program: start it as a process");
        }
        if own == Layer::Actors && other == Layer::Actors && to.name != "nsfl-messages" {
            violate("roles do not know roles: they talk in messages");
        }
        if BACKENDS.contains(&to.name.as_str()) && package.name != NODE && !only_tests {
            violate("only nsfl-node knows which backend stands behind a store (tests may, as dev-dependency)");
        }
    }
}

#[cfg(test)]
mod tests;
