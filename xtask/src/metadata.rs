//! The workspace as a graph: what `cargo metadata` says, reduced to names, folders and arrows.

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

/// A crate, ours or a dependency.
#[derive(Debug, Clone, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Folder from the workspace root with `/`, such as `lib/types`; `None` for a dependency.
    pub(crate) folder: Option<String>,
    /// What is linked into it, by index.
    pub(crate) normal: Vec<usize>,
    /// What its tests use besides, by index.
    pub(crate) dev: Vec<usize>,
}

/// All crates. Build dependencies are left out: they are not linked.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) packages: Vec<Package>,
}

impl Graph {
    /// Index and package of each crate of ours.
    pub(crate) fn members(&self) -> impl Iterator<Item = (usize, &Package)> {
        self.packages.iter().enumerate().filter(|(_, p)| p.folder.is_some())
    }

    /// Shortest path of names from `from` over linked crates to each crate that `wanted` holds for, `from` excluded.
    pub(crate) fn reached(&self, from: usize, wanted: impl Fn(&Package) -> bool) -> Vec<Vec<String>> {
        let mut came_from = BTreeMap::from([(from, from)]);
        let mut queue = VecDeque::from([from]);
        let mut found = Vec::new();
        while let Some(at) = queue.pop_front() {
            if at != from && wanted(&self.packages[at]) {
                found.push(self.path(&came_from, from, at));
            }
            for &next in &self.packages[at].normal {
                if let std::collections::btree_map::Entry::Vacant(entry) = came_from.entry(next) {
                    entry.insert(at);
                    queue.push_back(next);
                }
            }
        }
        found
    }

    fn path(&self, came_from: &BTreeMap<usize, usize>, from: usize, to: usize) -> Vec<String> {
        let mut path = vec![self.packages[to].name.clone()];
        let mut at = to;
        while at != from {
            at = came_from[&at];
            path.push(self.packages[at].name.clone());
        }
        path.reverse();
        path
    }
}

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace").to_owned()
}

/// Features that link what an ordinary build does not.
const OPTIONAL: &str = "nsfl-trainer-torch/torch";

/// Asks cargo.
pub(crate) fn load() -> Result<Graph> {
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .other_options(["--locked", "--features", OPTIONAL].map(str::to_owned).to_vec())
        .exec()
        .context("cargo metadata")?;
    let resolve = metadata.resolve.as_ref().context("cargo metadata gave no dependency graph")?;
    let index: BTreeMap<_, _> = resolve.nodes.iter().enumerate().map(|(i, node)| (&node.id, i)).collect();
    let mut packages = Vec::with_capacity(resolve.nodes.len());
    for node in &resolve.nodes {
        let package = &metadata[&node.id];
        let folder = metadata.workspace_members.contains(&node.id).then(|| {
            let folder = package.manifest_path.parent().expect("a manifest is in a folder");
            folder.strip_prefix(&metadata.workspace_root).unwrap_or(folder).as_str().replace('\\', "/")
        });
        let of_kind = |kind: DependencyKind| {
            let is = |dep: &&cargo_metadata::NodeDep| dep.dep_kinds.iter().any(|k| k.kind == kind);
            node.deps.iter().filter(is).map(|dep| index[&dep.pkg]).collect::<Vec<_>>()
        };
        packages.push(Package {
            name: package.name.to_string(),
            folder,
            normal: of_kind(DependencyKind::Normal),
            dev: of_kind(DependencyKind::Development),
        });
    }
    Ok(Graph { packages })
}
