//! What a task sees from within its sandbox, with the real bubblewrap. Without one the tests say so and pass.
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::print_stderr, reason = "says why it could not be shown")]

mod scene;

use nsfl_trainer::launch::{Bubblewrap, Ending, How, LaunchSpec, Limit, Limits, Sandbox};
use scene::{Scene, await_all_gone, await_ready, fifo};
use std::net::TcpListener;
use std::path::PathBuf;

fn sandbox(scene: &Scene) -> Option<Sandbox> {
    let program = Bubblewrap::probe().inspect_err(|reason| eprintln!("skipped: {reason}")).ok()?;
    let (writable, tmp) = (vec![scene.folder().to_owned()], scene.folder().join("tmp"));
    Some(Sandbox { program, writable, tmp, read_only: vec![], hidden: vec![], network: false, gpu: false })
}

async fn run(scene: &Scene, sandbox: Sandbox, scripts: &[&str]) -> (Ending, String) {
    let spec = LaunchSpec { sandbox: Some(sandbox), ..scene.spec(scripts) };
    let ending = scene.run(spec).await;
    (ending, scene.log(0))
}

fn file(scene: &Scene, name: &str, text: &str) -> PathBuf {
    let path = scene.outside().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemons_keys_and_other_folders_are_not_there() {
    let scene = Scene::new();
    let Some(plain) = sandbox(&scene) else { return };
    let key = file(&scene, "keys/client.key", "secret");
    let data = file(&scene, "data/digits.csv", "1,2,3");
    let inner = file(&scene, "data/state/tasks.db", "records");
    let script = format!("cat {}; cat {}; cat {}; ls /root /home; env", data.display(), key.display(), inner.display());
    let seen = Sandbox { read_only: vec![scene.outside().to_owned()], hidden: vec![], ..plain.clone() };
    let (_, log) = run(&scene, seen, &[&script]).await;
    assert!(log.contains("1,2,3") && log.contains("secret") && log.contains("records"), "{log}");

    let hidden = vec![key.clone(), inner.parent().unwrap().to_owned()];
    let masked = Sandbox { read_only: vec![scene.outside().join("data")], hidden, ..plain };
    let (_, log) = run(&scene, masked, &[&script]).await;
    assert!(log.contains("1,2,3") && !log.contains("secret"), "{log}");
    assert!(log.contains("TMPDIR=/tmp") && log.contains("HOME=/tmp"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hidden_stays_hidden_below_what_is_shown() {
    let scene = Scene::new();
    let Some(plain) = sandbox(&scene) else { return };
    let key = file(&scene, "site/client.key", "secret");
    file(&scene, "site/data.csv", "1,2,3");
    file(&scene, "site/state/record", "record");
    let site = scene.outside().join("site");
    let hidden = vec![key, site.join("state")];
    let script = format!("cd {}; cat data.csv client.key state/record; ls -a state", site.display());
    let mut env = scene.spec(&[&script]);
    env.workers[0].env.insert("PYTHONPATH".into(), site.display().to_string());
    env.sandbox = Some(Sandbox { hidden, ..plain });
    scene.run(env).await;
    let log = scene.log(0);
    assert!(log.contains("1,2,3") && !log.contains("secret") && !log.contains("record\n"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_its_own_folder_and_tmp_can_be_written() {
    let scene = Scene::new();
    let Some(sandbox) = sandbox(&scene) else { return };
    let data = file(&scene, "data/digits.csv", "1,2,3").parent().unwrap().to_owned();
    let script = format!(
        "echo own > file && echo tmp > /tmp/file && echo good; for p in {}/x /usr/x /etc/x /x /run/x; do echo bad > $p; done",
        data.display()
    );
    let (_, log) = run(&scene, Sandbox { read_only: vec![data.clone()], ..sandbox }, &[&script]).await;
    assert!(log.contains("good") && log.matches("Read-only file system").count() == 5, "{log}");
    assert_eq!(std::fs::read_to_string(scene.folder().join("tmp/file")).unwrap(), "tmp\n");
    assert!(!data.join("x").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_is_its_own_and_workers_share_it() {
    let scene = Scene::new();
    let Some(sandbox) = sandbox(&scene) else { return };
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let dial = format!("exec python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 5)'");
    let (ending, log) = run(&scene, sandbox.clone(), &[&dial]).await;
    assert!(ending.how() == &How::Exit(1) && log.contains("Connection refused"), "{log}");
    let (ending, log) = run(&scene, Sandbox { network: true, ..sandbox.clone() }, &[&dial]).await;
    assert!(ending.is_well(), "{log}");

    let serve = "exec python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 29500))
open(\"up\", \"w\").close(); print(s.accept()[0].recv(9))'";
    let call = "while [ ! -e up ]; do sleep 0.01; done
exec python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 29500)).send(b\"gradients\")'";
    let (ending, log) = run(&scene, sandbox, &[serve, call]).await;
    assert!(ending.is_well() && log.contains("gradients"), "{ending:?} {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_in_a_sandbox_are_bounded_and_die_like_others() {
    let scene = Scene::new();
    let Some(sandbox) = sandbox(&scene) else { return };
    let eats = "exec python3 -c 'x = []\nwhile len(x) < 250: x.append(bytearray(4 << 20))'";
    let limits = Limits { memory: Some(80_000_000), ..Limits::default() };
    let spec = LaunchSpec { sandbox: Some(sandbox.clone()), limits, ..scene.spec(&[eats]) };
    assert_eq!(scene.run(spec).await.limit, Some(Limit::Memory(80_000_000)));

    let fifo = fifo(scene.folder());
    let endless = "exec > fifo; setsid -f sleep 100000; echo ready; sleep 100000";
    let spec = LaunchSpec { sandbox: Some(sandbox), ..scene.spec(&[endless]) };
    let mut task = scene.launcher().launch(spec).unwrap();
    let reader = await_ready(&fifo);
    rustix::process::kill_process(scene.warden(), rustix::process::Signal::KILL).unwrap();
    assert_eq!(task.wait().await.unwrap().how(), &How::Lost);
    await_all_gone(reader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_that_cannot_be_set_up_is_told() {
    let scene = Scene::new();
    let Some(sandbox) = sandbox(&scene) else { return };
    let broken = Sandbox { read_only: vec!["/does/not/exist".into()], ..sandbox };
    let spec = LaunchSpec { sandbox: Some(broken), ..scene.spec(&["true"]) };
    let error = scene.launcher().launch(spec).unwrap().wait().await.unwrap_err();
    assert!(error.to_string().contains("/does/not/exist"), "{error}");
}
