//! Each limit, by real processes that exceed it: with control groups where this machine lets us make them, and without.
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::print_stderr, reason = "says what this machine could not show")]

mod scene;

use nsfl_trainer::launch::{Cgroups, Ending, How, Limit, Limits};
use nsfl_types::Code;
use scene::Scene;
use std::path::Path;

/// Holds more and more memory, up to what this machine can spare.
const EATS: &str = "exec python3 -c 'x = []
while len(x) < 250: x.append(bytearray(4 << 20))'";

async fn with(cgroups: Option<Cgroups>, limits: Limits, script: &str) -> (Ending, String) {
    let mut scene = Scene::new();
    scene.cgroups = cgroups;
    let mut spec = scene.spec(&[script]);
    spec.limits = limits;
    let ending = scene.run(spec).await;
    (ending, scene.log(0))
}

/// The controller's groups, or a word on why this cannot be shown here.
fn groups(controller: &str) -> Option<Cgroups> {
    let groups = Cgroups::detect().filter(|groups| groups.has(controller));
    if groups.is_none() {
        eprintln!("skipped with control groups: this process may make none that bound {controller}");
    }
    groups
}

#[tokio::test]
async fn a_tree_above_its_memory_is_killed_and_told() {
    let limits = Limits { memory: Some(80_000_000), ..Limits::default() };
    for cgroups in [None].into_iter().chain(groups("memory").map(Some)) {
        let (ending, log) = with(cgroups, limits.clone(), EATS).await;
        assert_eq!((ending.limit, ending.code()), (Some(Limit::Memory(80_000_000)), Some(Code::ScriptMemory)), "{log}");
        assert_eq!(ending.limit.unwrap().to_string(), "memory 80 MB");
        assert_eq!(ending.how(), &How::Signal(9));
        // several processes, each below
        let several = "for i in 1 2 3 4; do python3 -c 'x = b\"x\" * 40_000_000; input()' < /dev/zero & done; wait";
        let (ending, log) = with(None, limits.clone(), several).await;
        assert_eq!(ending.limit, Some(Limit::Memory(80_000_000)), "{log}");
    }
}

#[tokio::test]
async fn one_that_keeps_to_its_memory_is_left_alone_and_its_peak_is_told() {
    let script = "exec python3 -c 'import time; x = b\"x\" * 40_000_000; time.sleep(0.3)'";
    let (ending, log) = with(None, Limits { memory: Some(200_000_000), ..Limits::default() }, script).await;
    assert!(ending.is_well(), "{ending:?} {log}");
    assert!((40_000_000..100_000_000).contains(&ending.peak_memory), "{}", ending.peak_memory);
}

#[tokio::test]
async fn too_large_a_file_and_too_full_a_folder_are_told() {
    let file = Limits { file: Some(1_000_000), ..Limits::default() };
    let one = "python3 -c 'open(\"large\", \"wb\").write(bytes(2_000_000))'";
    // Python is told by an error, others by a signal
    for script in [one, "exec dd if=/dev/zero of=large bs=1000 count=2000"] {
        let (ending, log) = with(None, file.clone(), script).await;
        assert_eq!((ending.limit, ending.code()), (Some(Limit::FileSize(1_000_000)), Some(Code::ScriptDisk)), "{log}");
    }
    let folder = Limits { folder: Some(3_000_000), ..Limits::default() };
    let many = "i=0; while :; do head -c 1000000 /dev/zero > file$i; i=$((i+1)); done";
    let (ending, log) = with(None, folder, many).await;
    assert_eq!((ending.limit, ending.code()), (Some(Limit::Folder(3_000_000)), Some(Code::ScriptDisk)), "{log}");
}

#[tokio::test]
async fn processor_time_is_bounded_for_one_process_and_for_all() {
    let limits = Limits { cpu_seconds: Some(1), ..Limits::default() };
    let several = "for i in 1 2 3; do sh -c 'while :; do :; done' & done; wait";
    for script in ["while :; do :; done", several] {
        let (ending, log) = with(None, limits.clone(), script).await;
        assert_eq!((ending.limit, ending.code()), (Some(Limit::CpuTime(1)), Some(Code::ScriptCpu)), "{log}");
        assert!(ending.cpu_time.as_millis() >= 900, "{:?}", ending.cpu_time);
    }
}

#[tokio::test]
async fn more_and_more_processes_are_stopped() {
    let limits = Limits { processes: Some(40), ..Limits::default() };
    // one after the other: a real bomb, if it were not stopped, would take the machine along
    let many = "while :; do sleep 100000 & done";
    for cgroups in [None].into_iter().chain(groups("pids").map(Some)) {
        // with a control group its forks fail, and it fails of that
        let script = if cgroups.is_some() { "for i in $(seq 60); do sleep 100000 & done" } else { many };
        let (ending, log) = with(cgroups, limits.clone(), script).await;
        assert_eq!((ending.limit, ending.is_well()), (Some(Limit::Processes(40)), false), "{log}");
    }
}

#[tokio::test]
async fn open_files_are_bounded_and_no_core_is_dumped() {
    let limits = Limits { open_files: Some(50), ..Limits::default() };
    let script = "ulimit -n; ulimit -c; exec python3 -c 'x = [open(\"/dev/null\") for _ in range(60)]'";
    let (ending, log) = with(None, limits, script).await;
    assert_eq!(ending.code(), Some(Code::ScriptExit));
    assert!(log.starts_with("50\n0\n") && log.contains("Too many open files"), "{log}");
}

#[tokio::test]
async fn cores_are_bounded_by_a_control_group() {
    let Some(cgroups) = groups("cpu") else { return };
    let script = "end=$(($(date +%s%N) + 1000000000)); while [ $(date +%s%N) -lt $end ]; do :; done";
    let limits = Limits { cpu: Some(0.2), ..Limits::default() };
    let (ending, log) = with(Some(cgroups), limits, script).await;
    assert!(ending.is_well(), "{log}");
    assert!(ending.cpu_time.as_millis() < 600, "a second at a fifth of a core: {:?}", ending.cpu_time);
}

#[tokio::test]
async fn no_group_is_left_behind() {
    let Some(cgroups) = groups("pids") else { return };
    let script = "setsid -f sleep 100000; grep :pids: /proc/self/cgroup";
    let (ending, log) = with(Some(cgroups), Limits::default(), script).await;
    assert_eq!(ending.code(), Some(Code::ScriptForks), "{log}");
    let group = log.trim().split_once(":pids:/").unwrap().1;
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    assert!(group.contains("nsfl-") && !own.contains(group), "{group}");
    assert!(!Path::new("/sys/fs/cgroup/pids").join(group).exists(), "{group}");
}
