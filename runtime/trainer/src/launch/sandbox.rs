//! What a task sees of the machine: bubblewrap's arguments. The system, the interpreter, its data sets and scripts read
//! only; its own folder and a folder for temporary files to write in; no network but its own loopback; nothing else.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A task's sandbox. All its workers share one, so that they reach each other on its loopback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Bubblewrap.
    pub program: Bubblewrap,
    /// Seen and written.
    pub writable: Vec<PathBuf>,
    /// Seen as `/tmp`, written.
    pub tmp: PathBuf,
    /// Seen, not written.
    pub read_only: Vec<PathBuf>,
    /// Never seen, also where they lie below a path that is: the daemon's data and keys.
    pub hidden: Vec<PathBuf>,
    /// With the machine's network.
    pub network: bool,
    /// With its GPUs.
    pub gpu: bool,
}

/// A bubblewrap that works here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bubblewrap(PathBuf);

/// The system, as far as it holds no secrets: of `/etc` only what programs need to run.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt"];
const ETC: [&str; 12] = [
    "alternatives",
    "fonts",
    "group",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "passwd",
    "python3",
];
/// The same for programs that use a network.
const ETC_NETWORK: [&str; 5] = ["ca-certificates", "gai.conf", "pki", "resolv.conf", "ssl"];
/// Where the warden's program is seen in a sandbox.
pub(super) const WARDEN: &str = "/run/nsfl-warden";

impl Bubblewrap {
    /// Finds `bwrap` and tries it out.
    ///
    /// # Errors
    /// Why there is no sandbox here, in a sentence.
    pub fn probe() -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join("bwrap")).find(|path| path.is_file());
        let program =
            found.ok_or("bubblewrap is not installed (no bwrap in PATH; Debian's package is 'bubblewrap')")?;
        let trial = Command::new(&program)
            .args([
                "--ro-bind",
                "/",
                "/",
                "--unshare-all",
                "--die-with-parent",
                "--proc",
                "/proc",
                "--dev",
                "/dev",
                "true",
            ])
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("{} cannot be run: {e}", program.display()))?;
        if trial.status.success() {
            return Ok(Self(program));
        }
        let words = String::from_utf8_lossy(&trial.stderr);
        Err(format!("{} does not work here ({}): {}", program.display(), trial.status, words.trim()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Sandbox {
    /// The arguments of bubblewrap, up to the command, for the warden's program and workers with these environments.
    pub(super) fn arguments(&self, warden: &Path, workers: &[(PathBuf, &BTreeMap<String, String>)]) -> Vec<OsString> {
        let mut args = Arguments(Vec::new());
        args.all(["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
        if self.network {
            args.all(["--share-net"]);
        }
        for path in SYSTEM {
            args.bind("--ro-bind-try", Path::new(path), Path::new(path));
        }
        for name in ETC.iter().chain(ETC_NETWORK.iter().filter(|_| self.network)) {
            let path = Path::new("/etc").join(name);
            args.bind("--ro-bind-try", &path, &path);
        }
        args.all(["--proc", "/proc", "--dev", "/dev"]);
        // what of a temporary folder of the machine is shown lies on top of it
        args.bind("--bind", &self.tmp, Path::new("/tmp"));
        let topology = Path::new(if self.gpu { "/sys" } else { "/sys/devices/system/cpu" });
        args.bind("--ro-bind-try", topology, topology);
        for device in self.devices() {
            args.bind("--dev-bind-try", &device, &device);
        }
        let found: Vec<PathBuf> = workers.iter().flat_map(|(program, env)| interpreter(program, env)).collect();
        for path in found.iter().filter(|path| !is_system(path)) {
            args.bind("--ro-bind-try", path, path);
        }
        // What is hidden is covered where it lies below something seen so far; what the task may see of it comes after.
        let covered =
            |path: &Path| found.iter().chain(&self.read_only).any(|seen| path.starts_with(seen)) || is_system(path);
        for folder in self.hidden.iter().filter(|path| path.is_dir() && covered(path)) {
            args.all(["--tmpfs"]);
            args.0.push(folder.into());
        }
        // a device that is bound cannot be opened any more
        for path in self.read_only.iter().filter(|path| !path.starts_with("/dev")) {
            args.bind("--ro-bind", path, path);
        }
        for path in &self.writable {
            args.bind("--bind", path, path);
        }
        let shown = |path: &Path| covered(path) || self.writable.iter().any(|seen| path.starts_with(seen));
        for file in self.hidden.iter().filter(|path| path.is_file() && shown(path)) {
            args.bind("--ro-bind", Path::new("/dev/null"), file);
        }
        args.bind("--ro-bind", warden, Path::new(WARDEN));
        args.all(["--remount-ro", "/", "--"]);
        args.0
    }

    fn devices(&self) -> Vec<PathBuf> {
        let wanted = |name: &str| name.starts_with("nvidia") || ["dri", "kfd"].contains(&name);
        let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
        let devices = entries.filter(|entry| self.gpu && entry.file_name().to_str().is_some_and(wanted));
        devices.map(|entry| entry.path()).collect()
    }
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn all<const N: usize>(&mut self, args: [&str; N]) {
        self.0.extend(args.map(OsString::from));
    }

    fn bind(&mut self, how: &str, from: &Path, to: &Path) {
        self.0.extend([how.into(), from.into(), to.into()]);
    }
}

fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|system| path.starts_with(system))
}

/// Where a worker's program and what it is told to load lie: its folder or, for a Python, its whole installation and
/// that of the environment it belongs to.
fn interpreter(program: &Path, env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for program in [Some(program.to_owned()), program.canonicalize().ok()].into_iter().flatten() {
        found.extend(installation(&program));
    }
    for name in ["VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH", "PATH"] {
        let paths = env.get(name).map(OsString::from).unwrap_or_default();
        let given = std::env::split_paths(&paths).filter(|path| path.is_absolute() && path.parent().is_some());
        found.extend(given.map(|path| packages_of(&path).unwrap_or(path)));
    }
    found.retain(|path| path.exists());
    // the shorter first: what lies below is then bound into it
    found.sort();
    found.dedup();
    found
}

/// All Python packages where a folder is one of theirs: libraries of one, such as libtorch, load those of others.
fn packages_of(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|parent| parent.ends_with("site-packages")).map(Path::to_owned)
}

fn installation(program: &Path) -> Vec<PathBuf> {
    let Some(folder) = program.parent() else { return Vec::new() };
    let Some(prefix) = folder.parent().filter(|prefix| prefix.parent().is_some()) else { return vec![folder.into()] };
    if let Ok(config) = std::fs::read_to_string(prefix.join("pyvenv.cfg")) {
        // the Python it was made from
        let home = config.lines().find_map(|line| line.strip_prefix("home")?.trim_start().strip_prefix('='));
        let base = home.map(|home| installation(&Path::new(home.trim()).join("python3"))).unwrap_or_default();
        return [vec![prefix.into()], base].concat();
    }
    // pyenv: a script that finds the installation beside it
    if folder.ends_with("shims") {
        return vec![prefix.into()];
    }
    let is_python = |name: &str| name.starts_with("python3");
    let mut libraries = std::fs::read_dir(prefix.join("lib")).into_iter().flatten().flatten();
    if libraries.any(|entry| entry.file_name().to_str().is_some_and(is_python)) {
        return vec![prefix.into()];
    }
    vec![folder.into()]
}
