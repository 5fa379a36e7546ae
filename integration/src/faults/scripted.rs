//! A job of scripts with an extender, for rows that fail what only such jobs have. Scripts and extender each keep a number
//! from round to round that goes into the model: one lost or counted twice changes its digest. Plain Python.

use crate::{Federation, Options, model_of};
use serde_json::{Value, json};
use std::path::Path;

/// Two clients, three rounds.
pub(super) fn job() -> Value {
    json!({
        "id": "scripted", "runtime": "pytorch", "output": "out", "model_path": "model.safetensors",
        "scripts": {"path": "scripts", "config_file": "task.json"},
        "extender": {"script_path": "extender", "entry": "extender.py"},
        "resource": {"memory": 200},
        "hyper_parameters": {
            "max_round_num": 3, "client_num": 2, "threshold_client_num": 2, "evaluate_interval": 0, "save_interval": 1,
            "round_timeout": 60,
        },
    })
}

/// Starts a federation that can do `job`, whichever it is.
pub(super) fn start(mut options: Options, job: &Value) -> anyhow::Result<Federation> {
    let with_scripts = job.get("scripts").is_some();
    if with_scripts {
        let lines = "runtimes = ['pytorch']\nresource.memory_mb = 1000\nsandbox.mode = 'off'\n";
        options.client_extra = (1..=options.clients).map(|number| (number, lines.to_owned())).collect();
    }
    let federation = Federation::start(&options)?;
    if with_scripts {
        put(&federation.stored(""))?;
    }
    Ok(federation)
}

/// Puts scripts, extender and model into the namespace's storage.
fn put(storage: &Path) -> anyhow::Result<()> {
    for (name, content) in [
        ("scripts/task.json", TASK.as_bytes()),
        ("scripts/train.py", TRAIN.as_bytes()),
        ("extender/extender.py", EXTENDER.as_bytes()),
        ("model.safetensors", &model_of([1.0, 2.0, 3.0])),
    ] {
        let file = storage.join(name);
        std::fs::create_dir_all(file.parent().unwrap_or(storage))?;
        std::fs::write(file, content)?;
    }
    Ok(())
}

const TASK: &str = r#"{"script_path": ".", "train": {"command": "python3", "entry": "train.py"}}"#;

/// Adds to each weight what it has kept (1, then 10, then 100) and what the extender sends along.
const TRAIN: &str = r#"
import json, os, struct
F = os.environ["TASK_WORKSPACE"]
kept = 1
if os.path.exists(F + "/state/kept"):
    kept = 10 * int(open(F + "/state/kept").read())
os.makedirs(F + "/out/state", exist_ok=True)
open(F + "/out/state/kept", "w").write(str(kept))
sent = json.load(open(F + "/in/parameters.json"))["sent"]
data = open(F + "/base.safetensors", "rb").read()
begin = 8 + struct.unpack("<Q", data[:8])[0]
values = [v + kept + sent for v in struct.unpack("<3f", data[begin:])]
open(F + "/out/part", "wb").write(data[:begin] + struct.pack("<3f", *values))
os.rename(F + "/out/part", F + "/out/weights.safetensors")
json.dump({"sample_num": 10}, open(F + "/out/metrics.json", "w"))
"#;

/// Sends what its last `finish` gave back, and doubles the mean.
const EXTENDER: &str = r#"
from nsfl_extender import Tensor

def broadcast(params):
    return {}, {"sent": params.get("next", 0) + 1000 * params["round"]}

def aggregate(update, previous):
    return (previous or []) + [list(map(float, update.weights["w"].tolist()))]

def finish(result):
    mean = [sum(column) / len(column) for column in zip(*result)]
    return {"weights": {"w": tensor([2 * value for value in mean])}, "parameters": {"next": int(mean[0]) % 97}}

def tensor(values):
    try:
        import numpy
        return numpy.array(values, "float32")
    except ImportError:
        return Tensor.of("F32", [3], values)
"#;
