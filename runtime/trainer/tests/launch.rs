//! A task's processes under a warden: how they end is told, and nothing of them is left, whoever dies first.
#![allow(clippy::unwrap_used, reason = "a test")]

mod scene;

use nsfl_trainer::launch::{How, LaunchSpec, Limits, log_tail};
use nsfl_types::Code;
use scene::{Scene, await_all_gone, await_ready, fifo, shell};
use std::path::Path;
use std::time::Duration;

/// A process that has left group, session and parent, holds the pipe, and never ends.
const ESCAPED: &str = "exec > fifo; setsid sh -c 'sleep 100000 & sleep 100000' & setsid -f sleep 100000; echo ready";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_each_worker_is_told_with_what_it_printed() {
    let scene = Scene::new();
    let ending = scene.run(scene.spec(&["echo out; echo err >&2"])).await;
    assert!(ending.is_well(), "{ending:?}");
    assert_eq!(scene.log(0), "out\nerr\n");

    let ending = scene.run(scene.spec(&["sleep 100000", "echo $0; exit 3"])).await;
    assert_eq!((ending.failed, ending.how()), (Some(1), &How::Exit(3)));
    assert_eq!((ending.code(), ending.workers[0].to_string()), (Some(Code::ScriptExit), "signal 9 (SIGKILL)".into()));

    let ending = scene.run(scene.spec(&["kill -SEGV $$"])).await;
    assert_eq!((ending.code(), ending.how().to_string()), (Some(Code::ScriptSignal), "signal 11 (SIGSEGV)".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_has_the_environment_it_is_given_and_no_other() {
    let scene = Scene::new();
    let mut spec = scene.spec(&["env; pwd; cat"]);
    spec.workers[0].env.insert("RANK".into(), "0".into());
    assert!(scene.run(spec).await.is_well(), "its standard input is at its end");
    let log = scene.log(0);
    let mut lines: Vec<&str> =
        log.lines().filter(|line| !line.starts_with("_=") && !line.starts_with("SHLVL")).collect();
    lines.sort_unstable();
    let folder = scene.folder().display().to_string();
    let [mark, path, pwd] =
        [format!("NSFL_TASK_TREE={folder}"), format!("PATH={}", scene::PATH), format!("PWD={folder}")];
    assert_eq!(lines, [folder.as_str(), &mark, &path, &pwd, "RANK=0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_told_by_its_code() {
    let scene = Scene::new();
    let spec = |program: &str| {
        let mut spec = scene.spec(&[""]);
        spec.workers[0].program = program.into();
        spec
    };
    assert_eq!(scene.launcher().launch(spec("python9")).unwrap_err().code(), Code::ScriptCommand);
    assert_eq!(scene.launcher().launch(spec("./nothing")).unwrap_err().code(), Code::ScriptCommand);
    let nowhere = LaunchSpec { cwd: scene.folder().join("nowhere"), ..scene.spec(&[""]) };
    assert_eq!(scene.launcher().launch(nowhere).unwrap_err().code(), Code::ScriptMissing);
    std::fs::write(scene.folder().join("plain"), "no program").unwrap();
    let ending = scene.run(spec("./plain")).await;
    assert_eq!(
        (ending.code(), ending.how().to_string()),
        (Some(Code::ScriptCommand), "not started: Permission denied (os error 13)".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outlives_its_worker_is_killed_and_told_by_its_name() {
    let scene = Scene::new();
    let fifo = fifo(scene.folder());
    let mut task = scene.launcher().launch(scene.spec(&[ESCAPED])).unwrap();
    let reader = await_ready(&fifo);
    let ending = task.wait().await.unwrap();
    assert_eq!((ending.how(), ending.code()), (&How::Exit(0), Some(Code::ScriptForks)));
    assert!(ending.left.iter().any(|left| left == "sleep 100000"), "{:?}", ending.left);
    await_all_gone(reader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_by_itself_soon_after_its_worker_is_waited_for() {
    let scene = Scene::new();
    let ending = scene.run(scene.spec(&["setsid -f sh -c 'sleep 0.3; echo done'"])).await;
    assert!(ending.is_well() && ending.left.is_empty(), "{ending:?}");
    assert_eq!(scene.log(0), "done\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_and_a_drop_reach_what_has_left_its_group_and_parent() {
    for dropped in [false, true] {
        let scene = Scene::new();
        let fifo = fifo(scene.folder());
        let mut task = scene.launcher().launch(scene.spec(&[&format!("{ESCAPED}; sleep 100000")])).unwrap();
        let reader = await_ready(&fifo);
        if dropped {
            drop(task);
        } else {
            task.kill();
            let ending = task.wait().await.unwrap();
            assert_eq!((ending.code(), ending.how()), (Some(Code::ScriptSignal), &How::Signal(9)));
        }
        await_all_gone(reader);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_asked_to_end_before_it_is_killed() {
    let scene = Scene::new();
    let fifo_path = fifo(scene.folder());
    let polite = "trap 'echo bye; exit 0' TERM; echo ready > fifo; while :; do sleep 0.01; done";
    let mut task = scene.launcher().launch(scene.spec(&[polite])).unwrap();
    await_all_gone(await_ready(&fifo_path));
    task.terminate(Duration::from_secs(3600));
    assert!(task.wait().await.unwrap().is_well());
    assert!(scene.log(0).ends_with("bye\n"), "{}", scene.log(0));

    let deaf = "trap '' TERM; echo ready > fifo; while :; do sleep 0.01; done";
    let mut task = scene.launcher().launch(scene.spec(&[deaf])).unwrap();
    await_all_gone(await_ready(&fifo_path));
    task.terminate(Duration::from_millis(50));
    assert_eq!(task.wait().await.unwrap().how(), &How::Signal(9));
}

/// `descend` levels below the warden: 0 is itself, 1 its keeper.
async fn killed_from_outside(descend: usize, signal: rustix::process::Signal) {
    let mut scene = Scene::new();
    scene.cgroups = None;
    let fifo = fifo(scene.folder());
    let mut task = scene.launcher().launch(scene.spec(&[&format!("{ESCAPED}; sleep 100000")])).unwrap();
    let reader = await_ready(&fifo);
    let mut pid = scene.warden();
    for _ in 0..descend {
        pid = scene::only_child(pid);
    }
    rustix::process::kill_process(pid, signal).unwrap();
    if signal == rustix::process::Signal::STOP {
        task.kill();
    }
    let ending = task.wait().await.unwrap();
    assert_eq!(ending.how(), &How::Lost);
    await_all_gone(reader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warden_that_is_killed_leaves_nothing() {
    killed_from_outside(0, rustix::process::Signal::KILL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_is_killed_leaves_nothing() {
    killed_from_outside(1, rustix::process::Signal::KILL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_warden_and_a_frozen_keeper_hold_up_no_kill() {
    killed_from_outside(0, rustix::process::Signal::STOP).await;
    killed_from_outside(1, rustix::process::Signal::STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_an_endless_output_is_kept() {
    let scene = Scene::new();
    let mut spec = scene.spec(&["i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"]);
    spec.limits = Limits { output: 64 << 10, ..Limits::default() };
    assert!(scene.run(spec).await.is_well());
    let kept: u64 =
        std::fs::read_dir(scene.folder().join("log")).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert!(kept <= 64 << 10, "{kept}");
    let tail = log_tail(scene.folder(), Path::new("log/worker-0.log"), 100);
    assert!(tail.ends_with("line 19998\nline 19999\n"), "{tail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_of_one_task_run_beside_each_other() {
    let scene = Scene::new();
    fifo(scene.folder());
    // a named pipe has both its ends opened, or neither
    let spec = scene.spec(&["echo from 0 > fifo", "cat fifo"]);
    assert_eq!(spec.workers, vec![shell("echo from 0 > fifo", &scene, 0), shell("cat fifo", &scene, 1)]);
    assert!(scene.run(spec).await.is_well());
    assert_eq!(scene.log(1), "from 0\n");
}
