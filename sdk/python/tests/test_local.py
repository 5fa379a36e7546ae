"""`python -m nsfl.local`: a whole script as a task, in processes of its own."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from conftest import ROOT
from safetensors.numpy import load_file, save_file

TORCH = """
    import sys, torch
    import neursafe_fl as nsfl

    def main():
        data = open(nsfl.get_dataset_path("rows")).read()
        model = torch.nn.Linear(2, 1)
        nsfl.load_weights(model)
        optimizer = nsfl.create_optimizer(params=model.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.ones(4, 2)).sum().backward()
            optimizer.step()
            nsfl.progress(0.5)
        nsfl.put_parameter("said", data)
        nsfl.put_file("note", sys.argv[1])
        nsfl.commit_weights(model, optimizer)
        nsfl.commit_metrics({"sample_num": 4, "loss": 0.5})

    main()
"""


@pytest.fixture
def local(tmp_path, monkeypatch):
    for name in ("TASK_WORKSPACE", "OPTIMIZER_NAME", "OPTIMIZER_PARAMS"):
        monkeypatch.delenv(name, raising=False)

    def run(text, *options, arguments=()):
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(text))
        words = [sys.executable, "-m", "nsfl.local", path, *options, *(["--", *arguments] if arguments else [])]
        return subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=300)

    return run


def test_a_script_of_the_original_sdk_shows_what_it_would_send(local, tmp_path):
    (tmp_path / "rows.txt").write_text("one row")
    base = {"weight": np.zeros((1, 2), np.float32), "bias": np.zeros(1, np.float32)}
    save_file(base, tmp_path / "model.safetensors")
    options = ["--dataset", f"rows={tmp_path / 'rows.txt'}", "--base", tmp_path / "model.safetensors"]
    done = local(TORCH, *options, arguments=["hello"])
    assert done.returncode == 0, done.stderr + done.stdout
    said = done.stdout
    # five steps of 0.1 along a gradient of 4 in each of three weights
    assert "weights      2 tensors" in said and "norm of the whole change: 3.464" in said
    assert "bias    F32   [1]                          2" in said
    assert "sample_num = 4" in said and 'parameter    said = "one row"' in said and "note (5 B)" in said
    assert said.rstrip().endswith("task         would succeed")


def test_scaffolds_state_goes_from_one_run_to_the_next(local, tmp_path):
    (tmp_path / "rows.txt").write_text("")
    save_file({"weight": np.zeros((1, 2), np.float32), "bias": np.zeros(1, np.float32)}, tmp_path / "model.safetensors")
    job = json.dumps({"name": "scaffold", "learning_rate": 0.1})
    options = ["--dataset", f"rows={tmp_path / 'rows.txt'}", "--base", tmp_path / "model.safetensors", "--optimizer", job]
    kept = tmp_path / "kept"
    for number in (1, 2):
        workspace = tmp_path / f"w{number}"
        done = local(TORCH, *options, "--state", kept, "--workspace", workspace, arguments=["x"])
        assert done.returncode == 0, done.stderr + done.stdout
        sent = load_file(workspace / "out/weights.safetensors")
        assert sorted(sent) == ["bias", "scaffold.c/bias", "scaffold.c/weight", "weight"]
        # the gradient is 4 for ever: known after the first run, and not to be learned again in the second
        assert load_file(kept / "scaffold.safetensors")["bias"] == pytest.approx(4.0, abs=1e-5)
        assert sent["scaffold.c/bias"] == pytest.approx(4.0 if number == 1 else 0.0, abs=1e-5)


def test_without_a_base_the_models_own_weights_are_the_global_ones(local, tmp_path):
    (tmp_path / "rows.txt").write_text("")
    job = json.dumps({"name": "scaffold"})
    done = local(TORCH, "--dataset", f"rows={tmp_path / 'rows.txt'}", "--optimizer", job, arguments=["x"])
    assert done.returncode == 0, done.stderr + done.stdout
    assert "no --base was given" in done.stderr and "norm of the whole change: 3.464" in done.stdout
    assert "scaffold.c/weight" in done.stdout


@pytest.mark.parametrize(
    "text, mode, said",
    [
        ("import nsfl\nraise KeyError('x')\n", "train", "script-exception: KeyError: 'x'"),
        ("import sys\nsys.exit(3)\n", "train", "script-exit: exit code 3"),
        ("import os\nos.kill(os.getpid(), 9)\n", "train", "script-signal: ended by signal 9"),
        ("import nsfl\n", "train", "commit-missing: the script ended without commit_weights"),
        ("import nsfl\n", "evaluate", "commit-missing: the script ended without commit_metrics"),
        ("import nsfl\nnsfl.get_dataset_path('x')\n", "train", "script-exception: no data set 'x'; there is none"),
    ],
)
def test_a_task_that_would_fail_says_why(local, text, mode, said):
    done = local(text, "--mode", mode)
    assert done.returncode == 1 and f"would FAIL: {said}" in done.stdout


def test_an_evaluation_needs_metrics_only(local):
    text = "import nsfl\nnsfl.commit_metrics({'accuracy': nsfl.get_parameter('a')})\n"
    done = local(text, "--mode", "evaluate", "--parameters", '{"a": 0.5}')
    assert done.returncode == 0 and "metric       accuracy = 0.5" in done.stdout


@pytest.mark.parametrize(
    "options, said",
    [
        (["--dataset", "x=/no/such"], "NAME=PATH of something that is there"),
        (["--optimizer", "{"], "--optimizer is not JSON"),
        (["--optimizer", "{}"], "--optimizer needs a name"),
        (["--base", str(ROOT / "README.md")], "cannot be read as safetensors"),
        (["--workspace", str(ROOT)], "is not empty"),
    ],
)
def test_a_wrong_option_is_said(local, options, said):
    job = [] if "--optimizer" in options else ["--optimizer", '{"name": "scaffold"}']
    done = local("", *options, *job)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
