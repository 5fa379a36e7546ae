"""Metrics, data sets, parameters, files, progress, and what an exception leaves behind: no framework needed."""

import io
import json

import neursafe_fl as nsfl
import numpy as np
import pytest


def test_both_names_are_the_same_package():
    import neursafe_fl
    import nsfl as short

    assert all(getattr(short, name) is getattr(neursafe_fl, name) for name in neursafe_fl.__all__)


CALLS = [
    lambda: nsfl.load_weights(None),
    lambda: nsfl.commit_weights(None),
    lambda: nsfl.commit_metrics({}),
    lambda: nsfl.get_dataset_path("x"),
    lambda: nsfl.get_parameter("x"),
    lambda: nsfl.get_parameters(),
    lambda: nsfl.get_seed(),
    lambda: nsfl.put_parameter("x", 1),
    lambda: nsfl.put_parameters({}),
    lambda: nsfl.get_file("x"),
    lambda: nsfl.put_file("x", b""),
    lambda: nsfl.create_optimizer(lr=1),
    lambda: nsfl.progress(0.5),
]


@pytest.mark.parametrize("call", CALLS)
def test_outside_a_task_each_function_says_how_to_try_the_script(no_task, call):
    with pytest.raises(nsfl.NotInTask, match="TASK_WORKSPACE is not set.*python -m nsfl.local"):
        call()


def test_metrics_are_flat_finite_numbers(task):
    nsfl.commit_metrics({"sample_num": np.int64(100), "loss": np.float32(0.5), "ok": True, "a": np.array([2.0])})
    assert task.read("out/metrics.json") == {"sample_num": 100, "loss": 0.5, "ok": 1, "a": 2.0}
    nsfl.commit_metrics({"loss": 0.25, "accuracy": 1})
    assert task.read("out/metrics.json") == {"sample_num": 100, "loss": 0.25, "ok": 1, "a": 2.0, "accuracy": 1}
    assert task.left() == ["metrics.json"]


@pytest.mark.parametrize(
    "metrics, error, said",
    [
        ({"loss": float("nan")}, nsfl.NotFinite, "'loss' is nan"),
        ({"loss": float("inf")}, nsfl.NotFinite, "'loss' is inf"),
        ({"loss": "0.3"}, nsfl.BadValue, "'loss' is '0.3' of type str"),
        ({"loss": [1.0, 2.0]}, nsfl.BadValue, "'loss' is"),
        ({"loss": None}, nsfl.BadValue, "'loss' is None"),
        ({3: 1.0}, nsfl.BadName, "3 is no text"),
        ([1.0], nsfl.BadValue, "not list"),
    ],
)
def test_a_metric_that_is_no_finite_number_is_named(task, metrics, error, said):
    with pytest.raises(error, match=said):
        nsfl.commit_metrics(metrics)
    assert task.left() == []


def test_a_data_set_is_found_by_name(task, tmp_path):
    (tmp_path / "data").mkdir()
    task.write("datasets.json", {"digits": str(tmp_path / "data"), "gone": str(tmp_path / "no")})
    assert nsfl.get_dataset_path("digits") == str(tmp_path / "data")
    with pytest.raises(nsfl.NotFound, match="no data set 'digit'; there is 'digits', 'gone'"):
        nsfl.get_dataset_path("digit")
    with pytest.raises(nsfl.NotFound, match="'gone' is at .*no, where nothing is"):
        nsfl.get_dataset_path("gone")


def test_parameters_of_the_extender(task):
    assert nsfl.get_parameters() == {}
    with pytest.raises(nsfl.NotFound, match="no parameter 'a'; there is none"):
        nsfl.get_parameter("a")
    task.write("in/parameters.json", {"a": [1, 2]})
    assert nsfl.get_parameter("a") == [1, 2] and nsfl.get_parameters() == {"a": [1, 2]}
    assert nsfl.get_parameter("b", 7) == 7
    with pytest.raises(KeyError, match="there is 'a'"):
        nsfl.get_parameter("b")


def test_the_tasks_seed(task):
    task.write("task.json", {"version": 1, "mode": "train", "seed": 2**53 + 1})
    assert nsfl.get_seed() == 2**53 + 1


def test_put_parameter_adds_and_put_parameters_replaces(task):
    nsfl.put_parameter("a", 1)
    nsfl.put_parameter("b", np.arange(3))
    assert task.read("out/parameters.json") == {"a": 1, "b": [0, 1, 2]}
    nsfl.put_parameters({"c": {"d": None}})
    assert task.read("out/parameters.json") == {"c": {"d": None}}
    for bad in (object(), float("nan")):
        with pytest.raises(nsfl.BadValue, match="'e' cannot be expressed in JSON"):
            nsfl.put_parameter("e", bad)
    with pytest.raises(nsfl.BadName):
        nsfl.put_parameters({1: 2})
    assert task.read("out/parameters.json") == {"c": {"d": None}}


def test_files_both_ways_with_and_without_functions(task):
    (task.path / "in/files/a").write_bytes(b"12")
    assert nsfl.get_file("a") == b"12"
    assert nsfl.get_file("a", lambda file, base: int(file.read(), base), base=16) == 0x12
    with pytest.raises(nsfl.NotFound, match="no file 'b'; there is 'a'"):
        nsfl.get_file("b")

    nsfl.put_file("raw", b"\x00\x01")
    nsfl.put_file("text", "häh")
    nsfl.put_file("array.npy", np.arange(4), np.save)
    nsfl.put_file("keys", {"x": 1}, lambda file, content, mark: file.write(mark + json.dumps(content).encode()), mark=b">")
    out = task.path / "out/files"
    assert (out / "raw").read_bytes() == b"\x00\x01"
    assert (out / "text").read_text("utf-8") == "häh"
    assert np.load(io.BytesIO((out / "array.npy").read_bytes())).tolist() == [0, 1, 2, 3]
    assert (out / "keys").read_bytes() == b'>{"x": 1}'
    with pytest.raises(nsfl.BadValue, match="dict is neither bytes nor text"):
        nsfl.put_file("c", {"x": 1})


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/x", "..", ".", "", "a\\b", "c:x", "a\0b", "x" * 201, None])
def test_a_name_that_leads_elsewhere_is_refused(task, name):
    with pytest.raises(nsfl.BadName):
        nsfl.put_file(name, b"")
    with pytest.raises(nsfl.BadName):
        nsfl.get_file(name)
    assert task.left() == []


def test_a_file_is_handed_over_whole_or_not_at_all(task):
    nsfl.put_file("a", b"old")

    def torn(file, content):
        file.write(b"ne")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        nsfl.put_file("a", None, torn)
    assert (task.path / "out/files/a").read_bytes() == b"old"
    assert task.left() == ["files/a"]


def test_progress_shows_the_newest(task):
    nsfl.progress(0.25)
    assert task.read("out/progress.json") == {"done": 0.25, "message": None, "metrics": {}}
    nsfl.progress(np.float32(0.5), "epoch 1", {"loss": np.float64(2)}, accuracy=0.5, odd=float("nan"))
    expected = {"done": 0.5, "message": "epoch 1", "metrics": {"loss": 2.0, "accuracy": 0.5}}
    assert task.read("out/progress.json") == expected
    for bad in (-0.1, 1.1, float("nan"), "x"):
        with pytest.raises(nsfl.BadValue, match="done"):
            nsfl.progress(bad)


def test_only_worker_0_hands_over(task, capfd):
    task.env(WORKER_INDEX=1)
    nsfl.commit_metrics({"loss": 1})
    nsfl.put_parameter("a", 1)
    nsfl.put_file("a", b"")
    nsfl.progress(0.5)
    assert task.left() == []
    assert "commit_metrics: nothing to do for worker 1, worker 0 commits" in capfd.readouterr().err


def test_task_json_of_another_version_is_refused(task):
    from neursafe_fl._task import Task

    task.env(TASK_MODE=None)
    task.write("task.json", {"version": 2, "mode": "train"})
    with pytest.raises(nsfl.BadTask, match="of version 2, this SDK reads version 1"):
        _ = Task.current("x").mode


def test_an_exception_is_written_with_its_traceback(task, script):
    done = script("import nsfl\ndef fall(): raise ValueError('no\\nrows')\nfall()\n")
    assert done.returncode == 1 and "ValueError: no" in done.stderr
    error = task.read("out/error.json")
    assert error["code"] == "script-exception" and error["reason"] == "ValueError: no"
    assert "in fall" in error["traceback"] and error["traceback"].endswith("ValueError: no\nrows\n")


def test_what_is_no_python_has_a_code_of_its_own(task, script):
    (task.path / "broken.py").write_text("def (:\n")
    done = script(f"import sys, nsfl\nsys.path.insert(0, {str(task.path)!r})\nimport broken\n")
    assert done.returncode == 1
    error = task.read("out/error.json")
    assert error["code"] == "script-syntax" and error["reason"].startswith("SyntaxError")


def test_an_exception_of_the_sdk_has_its_own_code(task, script):
    done = script("import nsfl\nnsfl.commit_metrics({'loss': float('nan')})\n")
    assert done.returncode == 1
    error = task.read("out/error.json")
    assert error["code"] == "not-finite" and error["reason"].startswith("commit_metrics: 'loss' is nan")


def test_the_first_error_stays_and_other_ends_are_none(task, script):
    assert script("import nsfl, sys\nsys.exit(3)\n").returncode == 3
    assert task.left() == []
    script("import nsfl\nraise ValueError('first')\n")
    script("import nsfl\nraise ValueError('second')\n")
    assert task.read("out/error.json")["reason"] == "ValueError: first"
    assert task.left() == ["error.json"]
