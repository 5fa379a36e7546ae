//! Scripts that fail, each in its own way, on real processes: at one of two clients, in round 1. The round and the job go on
//! with the other; the job document, `nsfl-ctl describe job` and `nsfl-ctl logs job` show what happened to whom; the clients
//! live on with nothing left of it.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "scripts/evaluations.rs"]
mod evaluations;
#[path = "scripts/told.rs"]
mod told;
#[path = "scripts/ways.rs"]
mod ways;

use nsfl_integration::{Fate, Federation, Options, Place, binary, children, model_of, until};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use ways::{QUOTA_MB, UNPACKED_MB, WAYS, Way};

/// Two sites and their server.
struct Sites {
    federation: Federation,
    folder: tempfile::TempDir,
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/package")
}

impl Sites {
    fn start() -> Self {
        Self::with_policy("")
    }

    /// Client c1 takes only what this policy lets it.
    fn with_policy(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("policy.toml"), policy).unwrap();
        let site = |number: usize, more: &str| {
            let lines = format!("runtimes = ['pytorch']\nmax_tasks = 4\nresource.memory_mb = 4000\n{more}");
            (number, lines)
        };
        let limits = format!(
            "scripts.quota_mb = {QUOTA_MB}\nscripts.unpacked_mb = {UNPACKED_MB}\nscripts.grace_ms = 1000\n\
             tasks.missing = {:?}\npolicy = {:?}\n",
            folder.path().join("site.json"),
            folder.path().join("policy.toml"),
        );
        let tasks: String = ["missing", "unconfigured"]
            .iter()
            .map(|name| format!("tasks.{name} = {:?}\n", package().join("task.json")))
            .collect();
        let tasks = format!("{tasks}sandbox.read_only = [{:?}]\n", package());
        let options = Options {
            clients: 0,
            server_extra: format!("limits.max_running_jobs = {}\nrounds.retry_attempts = 1\n", WAYS.len()),
            client_extra: vec![site(1, &limits), site(2, &tasks)],
            ..Options::default()
        };
        let mut sites = Self { federation: Federation::start(&options).unwrap(), folder };
        sites.write("site.json", br#"{"script_path": ".", "train": {"command": "python3", "entry": "gone.py"}}"#);
        sites.write("model.safetensors", &model_of([1.0, 2.0, 3.0]));
        for number in [1, 2] {
            let path = sites.programs(number);
            let client = sites.federation.client_with(number, &[("PATH", path)]).unwrap();
            sites.federation.clients.push(client);
        }
        sites
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The `PATH` of a client: its Python, of which client 2 has another name too.
    fn programs(&self, number: usize) -> String {
        let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        let python = String::from_utf8(asked.stdout).unwrap();
        let bin = self.folder.path().join(format!("bin-{number}"));
        fs::create_dir(&bin).unwrap();
        for name in ["python3", "python-of-c2"].iter().take(number) {
            std::os::unix::fs::symlink(python.trim(), bin.join(name)).unwrap();
        }
        format!("{}:/usr/bin:/bin", bin.display())
    }

    fn ctl(&self, args: &[&str]) -> Output {
        self.beside(binary("nsfl-ctl").unwrap()).args(args).output().unwrap()
    }

    /// A program that finds the server as `nsfl-ctl` does.
    fn beside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let server = format!("http://{}", self.federation.server.ready["rest"].as_str().unwrap());
        let mut command = Command::new(program);
        command.env("NSFL_CTL_SERVER", server).env("XDG_CONFIG_HOME", self.folder.path());
        command
    }

    fn says(&self, args: &[&str]) -> String {
        let output = self.ctl(args);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sends a job with the initial model, and with these scripts unless the clients have them.
    fn create(&self, job: &Value, scripts: Option<&Path>) {
        let id = job["id"].as_str().unwrap();
        let document = self.write(&format!("{id}.json"), job.to_string().as_bytes());
        let model = self.folder.path().join("model.safetensors");
        let mut args =
            vec!["create", "job", "default", "-f", document.to_str().unwrap(), "-m", model.to_str().unwrap()];
        args.extend(scripts.iter().flat_map(|folder| ["-s", folder.to_str().unwrap()]));
        let output = self.ctl(&args);
        assert!(output.status.success(), "{id}: {output:?}");
    }

    /// The scripts with so much beside them that client c1 takes no such package.
    fn large_package(&self) -> PathBuf {
        for name in ["task.json", "src/train.py", "src/ways.py", "lib/handover.py"] {
            self.write(&format!("large/{name}"), &fs::read(package().join(name)).unwrap());
        }
        let numbers: String = (0..300_000).map(|number| format!("{number} ")).collect();
        self.write("large/numbers", numbers.as_bytes());
        self.folder.path().join("large")
    }

    fn get(&self, job: &str, below: &str) -> Value {
        self.federation.rest.get(&format!("/namespaces/default/jobs/{job}{below}")).unwrap().body
    }

    fn clients_live_and_have_no_children(&self) {
        for client in &self.federation.clients {
            assert_eq!(client.fate().unwrap(), Fate::Runs);
            until("a client without children", || children(client.pid()).is_empty().then_some(()));
        }
    }
}

fn of_client<'a>(members: &'a Value, client: &str) -> &'a Value {
    let mut all = members.as_array().unwrap().iter();
    all.find(|member| member["client"] == client).unwrap_or_else(|| panic!("{members} should name {client}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What REST and command line tell of c1 in round 1.
fn is_told(sites: &Sites, way: &Way) {
    let (round, document) = (sites.get(way.name, "/rounds/1"), sites.get(way.name, ""));
    let failed = of_client(&round["members"], "c1");
    assert_eq!((text(&failed["state"]), text(&failed["code"])), ("failed", way.code), "{}: {failed}", way.name);
    let (reason, cause) = (text(&failed["reason"]), &failed["cause"]);
    assert!(reason.contains(way.reason), "{}: {reason}", way.name);
    assert_eq!((text(&cause["exit"]), text(&cause["limit"])), (way.exit, way.limit), "{}: {failed}", way.name);
    let (traceback, log) = (text(&cause["traceback"]), text(&cause["log"]));
    assert!(traceback.trim_end().ends_with(way.traceback), "{}: {traceback}", way.name);
    assert_eq!(traceback.is_empty(), way.traceback.is_empty(), "{}: {traceback}", way.name);
    assert_eq!(log.contains("round 1 at c1"), way.ran, "{}: {log}", way.name);

    let failures = document["failures"].as_array().unwrap();
    let short = failures.iter().find(|failure| failure["round"] == 1).unwrap();
    assert_eq!((text(&short["client"]), text(&short["code"]), text(&short["reason"])), ("c1", way.code, reason));
    assert_eq!((text(&short["exit"]), text(&short["limit"])), (way.exit, way.limit), "{}: {short}", way.name);

    let told = [
        (way.exit, format!("ended with {}", way.exit)),
        (way.limit, format!("met its limit: {}", way.limit)),
        (way.traceback, way.traceback.to_owned()),
        (if way.ran { "log" } else { "" }, "round 1 at c1".to_owned()),
    ];
    let described = sites.says(&["describe", "job", "default", way.name, "--round", "1"]);
    let logged = sites.says(&["logs", "job", "default", way.name, "--round", "1"]);
    assert!(
        logged.starts_with(&format!("==> round 1 train, attempt 1, client c1: {reason} ({})\n", way.code)),
        "{logged}"
    );
    let row = described.lines().find(|line| line.trim_start().starts_with("c1 ")).unwrap();
    assert!(row.contains(way.code) && row.contains(reason), "{described}");
    for (_, words) in told.iter().filter(|(what, _)| !what.is_empty()) {
        assert!(described.contains(words) && logged.contains(words), "{}: {words}\n{described}{logged}", way.name);
    }
}

#[test]
fn a_script_that_fails_at_one_client_is_told_with_its_cause_and_round_job_and_clients_go_on() {
    let sites = Sites::start();
    let (package, large) = (package(), sites.large_package());
    for way in &WAYS {
        let scripts = if way.name == "bomb" { &large } else { &package };
        sites.create(&way.job(), Some(scripts.as_path()).filter(|_| !way.is_at_the_site()));
    }
    for way in &WAYS {
        let job = sites.federation.rest.wait_until_at_rest(way.name).unwrap();
        assert_eq!(job["status"]["state"], "FINISHED", "{}: {job}", way.name);
        let accepted = |round: u32| {
            let detail = sites.get(way.name, &format!("/rounds/{round}"));
            assert_eq!(detail["attempts"].as_array().unwrap().len(), 1, "{}: {detail}", way.name);
            assert_eq!(text(&of_client(&detail["members"], "c2")["state"]), "accepted", "{}: {detail}", way.name);
            detail["attempts"][0]["accepted"].as_u64().unwrap()
        };
        let expected = match way.name {
            "good" => [2, 2],
            _ if way.fails_always() => [1, 1],
            _ => [1, 2],
        };
        assert_eq!([accepted(1), accepted(2)], expected, "{}", way.name);
        if way.name != "good" {
            is_told(&sites, way);
        }
    }
    sites.clients_live_and_have_no_children();
    let mut again = WAYS.last().unwrap().job();
    again["id"] = json!("again");
    again["hyper_parameters"]["threshold_client_num"] = json!(2);
    sites.create(&again, Some(&package));
    assert_eq!(sites.federation.rest.wait_until_at_rest("again").unwrap()["status"]["state"], "FINISHED");
    sites.clients_live_and_have_no_children();
}

#[test]
fn a_package_that_leaves_its_folder_or_is_a_bomb_fails_its_job_before_a_client_is_asked_and_the_next_job_runs() {
    let sites = Sites::start();
    let good = nsfl_package::pack_folder(&package(), &nsfl_package::Limits::default()).unwrap();
    let renamed = |from: &[u8], to: &[u8]| {
        let mut zip = good.clone();
        // in the entry and in the directory
        while let Some(at) = zip.windows(from.len()).position(|window| window == from) {
            zip[at..at + from.len()].copy_from_slice(to);
        }
        zip
    };
    let zeros = vec![0; 30_000_000];
    let bomb = nsfl_package::pack_entries([("task.json", &b"{}"[..]), ("zeros", &zeros)]).unwrap();
    let packages = [
        ("leaves", renamed(b"lib/handover.py", b"../x/handover.p"), "'../x/handover.p' leaves the folder"),
        ("absolute", renamed(b"lib/handover.py", b"/ib/handover.py"), "absolute path"),
        ("zeros", bomb, "more than 200 times its size"),
        ("none", b"no zip".to_vec(), "no readable zip"),
    ];
    let job = |name: &str, config: &str| {
        let mut job = WAYS.last().unwrap().job();
        job["id"] = json!(name);
        job["scripts"] = json!({"path": format!("scripts/{name}.zip"), "config_file": config});
        job["model_path"] = json!("models/model.safetensors");
        job
    };
    let rest = &sites.federation.rest;
    let put = |path: &str, bytes: &[u8]| {
        let answer = rest.put_bytes(&format!("/namespaces/default/files/{path}"), bytes).unwrap();
        assert!(answer.status < 300, "{answer:?}");
    };
    put("models/model.safetensors", &model_of([1.0, 2.0, 3.0]));
    for (name, zip, reason) in &packages {
        put(&format!("scripts/{name}.zip"), zip);
        sites.federation.submit(&job(name, "task.json")).unwrap();
        let status = &rest.wait_until_at_rest(name).unwrap()["status"];
        assert_eq!(status["state"], "FAILED", "{name}: {status}");
        assert!(text(&status["reason"]).contains(reason), "{name}: {status}");
        let end = rest.wait_for(name, |event| event.kind == "run-ended").unwrap();
        let code = if *name == "zeros" { "package-too-large" } else { "bad-package" };
        assert_eq!(end.fields["code"], code, "{name}: {end:?}");
        assert!(sites.says(&["describe", "job", "default", name]).contains(reason));
    }
    // a configuration in a good package that leads out of it: the clients see that
    put("scripts/outside.zip", &good);
    sites.federation.submit(&job("outside", "outside.json")).unwrap();
    assert_eq!(rest.wait_until_at_rest("outside").unwrap()["status"]["state"], "FAILED");
    let members = sites.get("outside", "/rounds/1")["members"].clone();
    for client in ["c1", "c2"] {
        let failed = of_client(&members, client);
        assert_eq!(text(&failed["code"]), "bad-package", "{failed}");
        assert_eq!(text(&failed["reason"]), "script_path: leaves the package");
    }
    put("scripts/fine.zip", &good);
    sites.federation.submit(&job("fine", "task.json")).unwrap();
    assert_eq!(rest.wait_until_at_rest("fine").unwrap()["status"]["state"], "FINISHED");
    for place in [Place::Client(1), Place::Client(2)] {
        let unpacked = fs::read_dir(sites.federation.data(place).join("scripts")).unwrap().count();
        assert_eq!(unpacked, 1, "only the good one was unpacked");
    }
    sites.clients_live_and_have_no_children();
}
