//! Control groups, of version 2 where its controllers are there, else of version 1: a group a task, below the daemon's
//! own. They bound memory, cores and processes of a whole tree, and hold it together whatever its processes do.

use super::limits::Limits;
use super::processes::kill;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where this process may make groups, found once at start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hierarchy {
    version: u8,
    /// The group of this process, and the parent of those it makes.
    own: PathBuf,
    controllers: Vec<String>,
}

/// Controllers we know what to do with.
const WANTED: [&str; 3] = ["memory", "cpu", "pids"];
/// Names of groups begin so; the process id of the daemon follows.
const PREFIX: &str = "nsfl-";

impl Cgroups {
    /// The groups this process may make, tried out. `None` when there are none.
    #[must_use]
    pub fn detect() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mut hierarchies: Vec<Hierarchy> = mounts.lines().filter_map(|mount| hierarchy(mount, &own)).collect();
        hierarchies.retain(Hierarchy::usable);
        let mut taken = BTreeSet::new();
        for hierarchy in &mut hierarchies {
            hierarchy.controllers.retain(|name| taken.insert(name.clone()));
        }
        hierarchies.retain(|hierarchy| !hierarchy.controllers.is_empty());
        (!hierarchies.is_empty()).then_some(Self { hierarchies })
    }

    /// Whether this is bounded by the groups: `memory`, `cpu`, `pids`.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.hierarchies.iter().any(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller))
    }

    /// Ends the groups that daemons which are gone have left. Gives their number.
    #[must_use]
    pub fn sweep(&self) -> usize {
        let mut swept = BTreeSet::new();
        for hierarchy in &self.hierarchies {
            for entry in fs::read_dir(&hierarchy.own).into_iter().flatten().flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let daemon = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
                if daemon.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) && swept.insert(name.clone())
                {
                    Group { cgroups: self.clone(), name }.end();
                }
            }
        }
        swept.len()
    }

    /// A name for a group that no other launch has.
    pub(super) fn name(number: u64) -> String {
        format!("{PREFIX}{}-{number}", std::process::id())
    }
}

/// One task's group in each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    cgroups: Cgroups,
    name: String,
}

impl Group {
    pub(super) fn new(cgroups: Cgroups, name: String) -> Self {
        Self { cgroups, name }
    }

    pub(super) fn has(&self, controller: &str) -> bool {
        self.cgroups.has(controller)
    }

    /// Makes the group with its limits.
    pub(super) fn make(&self, limits: &Limits) -> io::Result<()> {
        for (hierarchy, folder) in self.folders() {
            fs::create_dir_all(&folder)?;
            for (file, value) in hierarchy.settings(limits) {
                write(&folder.join(file), &value)?;
            }
            // where swap is counted, it counts as memory; where it is not, there is nothing to set
            for (file, value) in hierarchy.settings_for_swap(limits) {
                let _ = write(&folder.join(file), &value);
            }
        }
        Ok(())
    }

    /// Takes this process in, and with it what it starts from now on.
    pub(super) fn enter(&self) -> io::Result<()> {
        self.folders().try_for_each(|(_, folder)| write(&folder.join("cgroup.procs"), "0"))
    }

    /// Takes this process out again; what it started stays.
    pub(super) fn leave(&self) -> io::Result<()> {
        let mut own = self.cgroups.hierarchies.iter().map(|hierarchy| hierarchy.home().join("cgroup.procs"));
        own.try_for_each(|procs| write(&procs, "0"))
    }

    /// Whether the kernel has killed a process of the group for its memory.
    pub(super) fn memory_was_short(&self) -> bool {
        self.counter("memory", "memory.oom_control", "memory.events", "oom_kill ") > 0
    }

    /// Whether the kernel has refused the group a process or thread.
    pub(super) fn processes_were_short(&self) -> bool {
        self.counter("pids", "pids.events", "pids.events", "max ") > 0
    }

    /// Kills what is in the group and removes it.
    pub(super) fn end(&self) {
        for (hierarchy, folder) in self.folders() {
            // a process that is ending still counts for a moment
            for pause_ms in [0, 1, 2, 5, 10, 20, 50, 100, 200, 500] {
                std::thread::sleep(Duration::from_millis(pause_ms));
                if hierarchy.version == 2 {
                    let _ = write(&folder.join("cgroup.kill"), "1");
                }
                let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
                procs.lines().filter_map(|pid| pid.parse().ok()).for_each(kill);
                match fs::remove_dir(&folder) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {}
                    _ => break,
                }
            }
        }
    }

    fn folders(&self) -> impl Iterator<Item = (&Hierarchy, PathBuf)> {
        self.cgroups.hierarchies.iter().map(|hierarchy| (hierarchy, hierarchy.own.join(&self.name)))
    }

    fn counter(&self, controller: &str, first: &str, second: &str, key: &str) -> u64 {
        let with = |(hierarchy, _): &(&Hierarchy, PathBuf)| hierarchy.controllers.iter().any(|name| name == controller);
        let Some((hierarchy, folder)) = self.folders().find(with) else { return 0 };
        let file = if hierarchy.version == 2 { second } else { first };
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()).unwrap_or(0)
    }
}

impl Hierarchy {
    fn settings(&self, limits: &Limits) -> Vec<(&'static str, String)> {
        const PERIOD_US: f64 = 100_000.0;
        let has = |name: &str| self.controllers.iter().any(|controller| controller == name);
        let mut settings = Vec::new();
        if let Some(bytes) = limits.memory.filter(|_| has("memory")) {
            let file = if self.version == 2 { "memory.max" } else { "memory.limit_in_bytes" };
            settings.push((file, bytes.to_string()));
        }
        if let Some(cores) = limits.cpu.filter(|cores| has("cpu") && *cores > 0.0) {
            // the kernel takes no less than a millisecond
            let quota = (cores * PERIOD_US).max(1000.0).round();
            if self.version == 2 {
                settings.push(("cpu.max", format!("{quota} {PERIOD_US}")));
            } else {
                settings.push(("cpu.cfs_period_us", PERIOD_US.to_string()));
                settings.push(("cpu.cfs_quota_us", quota.to_string()));
            }
        }
        if let Some(number) = limits.processes.filter(|_| has("pids")) {
            settings.push(("pids.max", number.to_string()));
        }
        settings
    }

    fn settings_for_swap(&self, limits: &Limits) -> Vec<(&'static str, String)> {
        match (limits.memory.filter(|_| self.controllers.iter().any(|name| name == "memory")), self.version) {
            (None, _) => vec![],
            (Some(_), 2) => vec![("memory.swap.max", "0".to_owned()), ("memory.oom.group", "1".to_owned())],
            (Some(bytes), _) => vec![("memory.memsw.limit_in_bytes", bytes.to_string())],
        }
    }

    /// Where this process itself is.
    fn home(&self) -> PathBuf {
        let leaf = self.own.join(LEAF);
        if self.version == 2 && leaf.is_dir() { leaf } else { self.own.clone() }
    }

    /// Tries to make a group here, and in version 2 hands the controllers down.
    fn usable(&self) -> bool {
        let trial = self.own.join(format!("{PREFIX}{}-trial", std::process::id()));
        if fs::create_dir(&trial).is_err() {
            return false;
        }
        let made = self.version == 1 || self.hand_down().is_ok();
        let _ = fs::remove_dir(&trial);
        made
    }

    /// A group of version 2 that gives its children controllers holds no process itself: they move to a leaf.
    fn hand_down(&self) -> io::Result<()> {
        let control = self.own.join("cgroup.subtree_control");
        let wanted: Vec<String> = self.controllers.iter().map(|name| format!("+{name}")).collect();
        if write(&control, &wanted.join(" ")).is_ok() {
            return Ok(());
        }
        let leaf = self.own.join(LEAF);
        fs::create_dir_all(&leaf)?;
        for pid in fs::read_to_string(self.own.join("cgroup.procs"))?.lines() {
            write(&leaf.join("cgroup.procs"), pid)?;
        }
        write(&control, &wanted.join(" "))
    }
}

/// The daemon's own group in version 2, beside those of its tasks.
const LEAF: &str = "daemon";

/// From one line of `mountinfo` and the lines of `/proc/self/cgroup`.
fn hierarchy(mount: &str, own: &str) -> Option<Hierarchy> {
    let (fields, kind) = mount.split_once(" - ")?;
    let (fields, kind): (Vec<&str>, Vec<&str>) = (fields.split(' ').collect(), kind.split(' ').collect());
    let (root, at) = (*fields.get(3)?, *fields.get(4)?);
    let version = match *kind.first()? {
        "cgroup2" => 2,
        "cgroup" => 1,
        _ => return None,
    };
    let options: Vec<&str> = kind.get(2)?.split(',').collect();
    let mine = own.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        let here = if version == 2 { names.is_empty() } else { names.split(',').any(|name| options.contains(&name)) };
        here.then_some(path)
    })?;
    let below = Path::new(mine).strip_prefix(root).ok()?;
    let own = Path::new(at).join(below);
    let controllers: Vec<String> = if version == 2 {
        let text = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
        text.split_ascii_whitespace().map(str::to_owned).collect()
    } else {
        options.iter().map(|name| (*name).to_owned()).collect()
    };
    let controllers: Vec<String> = controllers.into_iter().filter(|name| WANTED.contains(&name.as_str())).collect();
    (!controllers.is_empty()).then_some(Hierarchy { version, own, controllers })
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path).and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "4:memory:/daemons/a\n2:cpu,cpuacct:/\n0::/system.slice/nsfl.service\n";

    #[test]
    fn hierarchies_of_version_1_are_found_in_what_the_kernel_says() {
        let line = "30 20 0:26 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory";
        let memory = hierarchy(line, OWN).unwrap();
        assert_eq!((memory.version, memory.own.as_path()), (1, Path::new("/sys/fs/cgroup/memory/daemons/a")));
        let line = "31 20 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct";
        let cpu = hierarchy(line, OWN).unwrap();
        assert_eq!((cpu.own.as_path(), cpu.controllers), (Path::new("/sys/fs/cgroup/cpu/"), vec!["cpu".to_owned()]));
        let line = "30 20 0:26 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer";
        assert_eq!(hierarchy(line, OWN), None);
        assert_eq!(hierarchy("30 20 0:26 / /tmp rw - tmpfs tmpfs rw", OWN), None);
    }

    #[test]
    fn limits_are_written_in_the_words_of_each_version() {
        let limits = Limits { memory: Some(512_000_000), cpu: Some(1.5), processes: Some(100), ..Limits::default() };
        let settings = |version| {
            let controllers = WANTED.map(str::to_owned).into();
            Hierarchy { version, own: PathBuf::new(), controllers }.settings(&limits)
        };
        let owned = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(file, value)| (*file, (*value).to_owned())).collect::<Vec<_>>()
        };
        let second = [("memory.max", "512000000"), ("cpu.max", "150000 100000"), ("pids.max", "100")];
        assert_eq!(settings(2), owned(&second));
        let first = [
            ("memory.limit_in_bytes", "512000000"),
            ("cpu.cfs_period_us", "100000"),
            ("cpu.cfs_quota_us", "150000"),
            ("pids.max", "100"),
        ];
        assert_eq!(settings(1), owned(&first));
    }
}
