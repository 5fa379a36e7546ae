//! Jobs whose own functions run on the server, in real Python.

use super::*;

fn hyper(rounds: u32) -> Value {
    json!({"max_round_num": rounds, "client_num": 3, "threshold_client_num": 3, "evaluate_interval": 0, "save_interval": 0})
}

fn fields() -> Value {
    json!({"extender": {"script_path": "e", "entry": "mine.py"}, "parameters": {"rate": 2}})
}

fn script(text: &'static str) -> impl FnOnce(&Path) {
    move |storage| {
        std::fs::create_dir_all(storage.join("e")).unwrap();
        std::fs::write(storage.join("e/mine.py"), text).unwrap();
    }
}

async fn world(rounds: u32, text: &'static str) -> World {
    World::with(&["c0", "c1", "c2"], hyper(rounds), fields(), script(text)).await
}

/// Takes the largest of what each client has instead of the mean, says so, and checks all it is given. With numpy and
/// without.
const LARGEST: &str = r#"
from nsfl_extender import Tensor

def numbers(tensor):
    return tensor.tolist()

def broadcast(params):
    assert params["rate"] == 2, params
    print('{"ok": "a line that looks like an answer"}')
    seen = params.get("seen", 0)
    assert params["round"] == seen + 1, params
    return {"note.txt": "round %d" % params["round"]}, {"seen": seen}

def aggregate(update, previous):
    assert update["client_id"] == update.parameters["name"] and update.parameters["inputs"], update.parameters
    assert update.files["note"] == update.client_id.encode()
    assert update.metrics["sample_num"] == 1.0
    order, values = previous or ([], [])
    order.append(update.client_id)
    values.append(numbers(update.weights["w"]))
    assert [a - b for a, b in zip(values[-1], numbers(update.delta["w"]))] is not None
    return order, values

def finish(result):
    order, values = result
    assert order == sorted(order), order
    largest = [max(column) for column in zip(*values)]
    return {"weights": {"w": Tensor.of("F32", [3], largest)}, "metrics": {"largest": largest[0]},
            "parameters": {"seen": broadcast_round(values)}}

def broadcast_round(values):
    # 4, then 4 - 0.5 (the least of the negative halves), then + 4
    return {4.0: 1, 3.5: 2, 7.5: 3}[max(v[0] for v in values)]
"#;

#[tokio::test]
async fn the_three_functions_see_the_round_and_decide_its_model() {
    let mut world = world(3, LARGEST).await;
    let end = world.run_to_its_end().await;
    assert!(matches!(end, RunEvent::Finished), "{end:?}");
    assert_eq!(world.output("checkpoint_3.safetensors"), weights(7.5));
    let rounds = world.store.rounds(&key(), 1).await.unwrap();
    assert_eq!(rounds.iter().map(|r| r.metrics.get("largest").unwrap()).collect::<Vec<_>>(), [4.0, 3.5, 7.5]);
    let mut inputs = Vec::new();
    while let Ok(command) = world.commands.try_recv() {
        if let TaskCommand::Run(order) = command {
            inputs.push((order.key.round, order.inputs.unwrap()));
        }
    }
    let sent = |round: u32| {
        let parameters = format!(r#"{{"seen":{}}}"#, round - 1);
        let note = format!("round {round}");
        let zip = pack_entries([("parameters.json", parameters.as_bytes()), ("files/note.txt", note.as_bytes())]);
        nsfl_types::BlobRef::of(&zip.unwrap())
    };
    assert!(inputs.iter().all(|(round, blob)| *blob == sent(*round)), "{inputs:?}");
    assert_eq!(inputs.len(), 9);
}

#[tokio::test]
async fn a_job_killed_in_every_round_ends_with_the_same_model() {
    let mut stormy = world(3, LARGEST).await;
    let (end, last) = stormy.run_killed_in_every_round().await;
    assert!(matches!(end, RunEvent::Finished), "{end:?}");
    assert!(last >= 2, "the job was disturbed");
    assert_eq!(stormy.output("checkpoint_3.safetensors"), weights(7.5));
}

async fn failed(text: &'static str, time: Duration) -> (World, String) {
    let bounds = Bounds { extender_time: time, ..Bounds::default() };
    let mut world = World::within(bounds, &["c0", "c1", "c2"], hyper(1), fields(), script(text)).await;
    let RunEvent::Failed { code, reason } = world.run_to_its_end().await else { panic!("should fail") };
    assert_eq!(code, Code::ExtenderFailed, "{reason}");
    assert!(reason.contains("failed 2 times"), "the round was tried again: {reason}");
    (world, reason)
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_exception_fails_the_round_with_its_traceback_and_what_it_printed() {
    let text = "def aggregate(update, previous):\n    print('so far so good')\n    raise ValueError('too few')\n";
    let (world, reason) = failed(text, MINUTE).await;
    assert!(reason.contains("aggregate of client c0: ValueError: too few"), "{reason}");
    let rounds = world.store.rounds(&key(), 1).await.unwrap();
    assert_eq!((rounds.len(), rounds[0].state), (2, RoundState::Failed));
    let cause = rounds[0].cause.as_ref().unwrap();
    let traceback = cause.traceback.as_ref().unwrap();
    assert!(
        traceback.contains("mine.py\", line 3, in aggregate") && !traceback.contains("nsfl_extender.py"),
        "{traceback}"
    );
    assert_eq!(cause.log, "so far so good");
    let events = world.store.events(Some(&key()), 0, 100).await.unwrap();
    let closed = events.iter().find(|event| event.kind == "round-closed").unwrap();
    assert_eq!(closed.fields["last"], "ValueError: too few");
}

#[tokio::test]
async fn one_that_hangs_or_ends_or_gives_back_nonsense_fails_the_round() {
    let hangs = "import time\ndef broadcast(params):\n    time.sleep(1000)\n";
    let (world, reason) = failed(hangs, Duration::from_secs(2)).await;
    assert!(reason.contains("broadcast: it did not answer within 2 s"), "{reason}");
    let round = &world.store.rounds(&key(), 1).await.unwrap()[0];
    assert_eq!(round.cause.as_ref().unwrap().limit.as_deref(), Some("time 2 s"));
    for (text, says) in [
        ("import os\ndef finish(result):\n    os._exit(3)\n", "finish: it ended without an answer: exit code 3"),
        ("def finish(result):\n    raise SystemExit(0)\n", "finish: SystemExit: 0"),
        ("def finish(result):\n    return {'weight': 1}\n", "finish returned 'weight'"),
        ("def finish(result):\n    return {'weights': {'v': [1]}}\n", "the model has no tensor 'v'"),
        ("def finish(result):\n    return {'weights': {'w': [1, 2, float('nan')]}}\n", "not finite at index 2"),
        ("def finish(result):\n    return {'metrics': {'a': 'b'}}\n", "metric 'a' is no number"),
        ("def broadcast(params):\n    return {'../x': b''}, {}\n", "'../x' is no name of a file"),
        ("def broadcast(params):\n    return 7\n", "two dicts; it returned int"),
        ("x = 1\n", "none of the functions"),
        ("x = \n", "its script could not be loaded: SyntaxError"),
    ] {
        let (_, reason) = failed(text, MINUTE).await;
        assert!(reason.contains(says), "{reason} should say {says}");
    }
}

#[tokio::test]
async fn functions_are_called_by_the_names_given_and_a_job_without_weights_keeps_the_rules_model() {
    let mut fields = fields();
    fields["extender"]["finish"] = json!("at_the_end");
    let text =
        "def broadcast(params):\n    raise ValueError\ndef at_the_end(result):\n    return {'metrics': {'x': 1}}\n";
    let mut world = World::with(&["c0", "c1", "c2"], hyper(1), fields, script(text)).await;
    let end = world.run_to_its_end().await;
    assert!(matches!(end, RunEvent::Finished), "{end:?}");
    #[allow(clippy::cast_possible_truncation)]
    let mean = (7.0_f64 / 3.0) as f32;
    assert_eq!(world.output("checkpoint_1.safetensors"), weights(mean));
    assert_eq!(world.store.rounds(&key(), 1).await.unwrap()[0].metrics.get("x"), Some(1.0));
}
