//! A job's extender on real processes: its functions see what the sites' scripts put and decide the model; when one of them
//! fails, the round has failed with its traceback, and other jobs do not notice.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use nsfl_integration::{Federation, Options, ctl, model_of};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Sends a number to the sites each round, and makes the model of what they answer: not of their weights.
const EXTENDER: &str = r#"
from nsfl_extender import Tensor

def broadcast(params):
    return {"note.txt": "round %d" % params["round"]}, {"base": params.get("sum", 0), "rate": params["rate"]}

def aggregate(update, previous):
    assert update.files["echo"] == b"ROUND", update.files
    return (previous or []) + [(update.client_id, update.parameters["answer"])]

def finish(result):
    clients, answers = zip(*result)
    assert clients == ("c1", "c2"), clients
    return {"weights": {"w": Tensor.of("F32", [3], [float(sum(answers))] * 3)},
            "parameters": {"sum": sum(answers)}, "metrics": {"answers": sum(answers)}}
"#;

const FAILS: &str = "
def aggregate(update, previous):
    print('so far so good')
    raise ValueError('no such update')
";

/// Reads what was broadcast, answers it by `put_parameter` and `put_file` as they write it, and commits weights.
const SCRIPT: &str = r#"
import json, os, struct
FOLDER = os.environ["TASK_WORKSPACE"]
client = json.load(open(FOLDER + "/task.json"))["client"]
given = json.load(open(FOLDER + "/in/parameters.json")) if os.path.exists(FOLDER + "/in/parameters.json") else {}
if given:
    note = open(FOLDER + "/in/files/note.txt").read()
    answer = given["base"] + given["rate"] * int(client[1:])
    json.dump({"answer": answer}, open(FOLDER + "/out/parameters.json", "w"))
    open(FOLDER + "/out/files/echo", "w").write(note.split()[0].upper())
head = json.dumps({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}).encode()
open(FOLDER + "/out/weights.safetensors", "wb").write(struct.pack("<Q", len(head)) + head + struct.pack("<3f", 9, 9, 9))
json.dump({"sample_num": 10}, open(FOLDER + "/out/metrics.json", "w"))
"#;

struct Site {
    federation: Federation,
}

impl Site {
    fn start() -> Self {
        let client = |number| (number, "runtimes = ['pytorch']\nmax_tasks = 2\nresource.memory_mb = 4000\n".to_owned());
        let options = Options {
            server_extra: "rounds.retry_attempts = 1\nlimits.max_running_jobs = 2\n".into(),
            client_extra: vec![client(1), client(2)],
            ..Options::default()
        };
        let site = Self { federation: Federation::start(&options).unwrap() };
        let file = |name: &str, bytes: &[u8]| {
            let path = site.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        file("scripts/train.py", SCRIPT.as_bytes());
        file("scripts/task.json", br#"{"script_path": ".", "train": {"command": "python3", "entry": "train.py"}}"#);
        file("model.safetensors", &model_of([0.0; 3]));
        file("good/extender.py", EXTENDER.as_bytes());
        file("bad/extender.py", FAILS.as_bytes());
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.federation.folder().join("given").join(name)
    }

    /// Creates a job of two rounds that needs both sites.
    fn create(&self, id: &str, extender: Option<&str>) {
        let document = json!({
            "id": id, "runtime": "pytorch", "output": "out", "parameters": {"rate": 3},
            "hyper_parameters": {
                "max_round_num": 2, "client_num": 2, "threshold_client_num": 2,
                "evaluate_interval": 0, "save_interval": 0, "round_timeout": 60,
            },
            "resource": {"cpu": 0.1, "memory": 200},
            // the sites' scripts see the model whole, the extender sees the updates whole
            "compression": {"top_k": 0.5, "values": "qsgd8", "model": "f16"},
        });
        let file = self.path(&format!("{id}.json"));
        fs::write(&file, document.to_string()).unwrap();
        let (model, scripts) = (self.path("model.safetensors"), self.path("scripts"));
        let extender = extender.map(|name| self.path(name));
        let mut args = vec![Path::new("-f"), &file, Path::new("-m"), &model, Path::new("-s"), &scripts];
        args.extend(extender.iter().flat_map(|path| [Path::new("-e"), path]));
        let args: Vec<&str> = args.into_iter().map(|arg| arg.to_str().unwrap()).collect();
        self.says(&[&["create", "job", "default"], args.as_slice()].concat());
    }

    fn says(&self, args: &[&str]) -> String {
        let output = ctl(&self.federation, args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn at_rest(&self, id: &str) -> Value {
        self.federation.rest.wait_until_at_rest(id).unwrap()["status"].clone()
    }
}

/// A model of one tensor `w` of three equal numbers.
#[test]
fn an_extender_talks_with_the_scripts_of_the_sites_and_decides_the_model() {
    let site = Site::start();
    site.create("extended", Some("good/extender.py"));
    let status = site.at_rest("extended");
    assert_eq!(status["state"], "FINISHED", "{status}");
    let closed: Vec<Value> = (1..=2)
        .map(|round| {
            let detail = site.federation.rest.get(&format!("/namespaces/default/jobs/extended/rounds/{round}"));
            detail.unwrap().body["attempts"][0]["metrics"].clone()
        })
        .collect();
    // 3·1 + 3·2, then 9 + 3·1 + 9 + 3·2
    assert_eq!((&closed[0]["answers"], &closed[1]["answers"]), (&json!(9.0), &json!(27.0)), "{closed:?}");
    let model = fs::read(site.federation.stored("out/fl_extended_output_V1/checkpoint_2.safetensors")).unwrap();
    assert_eq!(&model[model.len() - 12..], [27.0_f32; 3].map(f32::to_le_bytes).as_flattened());
}

#[test]
fn an_extender_that_fails_fails_its_round_with_its_traceback_and_the_server_and_other_jobs_go_on() {
    let site = Site::start();
    site.create("broken", Some("bad/extender.py"));
    site.create("plain", None);
    let followed = site.says(&["logs", "job", "default", "broken", "--follow"]);
    let status = site.at_rest("broken");
    assert_eq!(status["state"], "FAILED", "{status}");
    let end = site.federation.rest.wait_for("broken", |event| event.kind == "run-ended").unwrap();
    assert_eq!(end.fields["code"], "extender-failed", "{end:?}");
    let described = site.says(&["describe", "job", "default", "broken"]);
    for words in
        ["aggregate of client c1: ValueError: no such update", "extender.py\", line 4, in aggregate", "so far so good"]
    {
        assert!(described.contains(words), "{words}\n{described}");
        assert!(followed.contains(words), "{words}\n{followed}");
    }
    assert!(!described.contains("nsfl_extender.py"), "the traceback is the extender's: {described}");
    assert_eq!(site.at_rest("plain")["state"], "FINISHED");
    site.create("after", Some("good/extender.py"));
    assert_eq!(site.at_rest("after")["state"], "FINISHED");
}
