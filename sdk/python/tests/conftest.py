"""A task's folder and environment, as a client makes them."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


class Folder:
    """A task: its folder, and what the code under test has handed over."""

    def __init__(self, path, monkeypatch):
        self.path, self._monkeypatch = path, monkeypatch
        for name in ("in/files", "out/files", "state"):
            (path / name).mkdir(parents=True)
        self.env(TASK_WORKSPACE=path, TASK_MODE="train", WORKER_INDEX=0, WORKER_NUM=1, DATASETS=path / "datasets.json")
        self.write("task.json", {"version": 1, "mode": "train"})
        self.write("datasets.json", {})

    def env(self, **values):
        for name, value in values.items():
            if value is None:
                self._monkeypatch.delenv(name, raising=False)
            else:
                self._monkeypatch.setenv(name, str(value))

    def optimizer(self, name, **params):
        self.env(OPTIMIZER_NAME=name, OPTIMIZER_PARAMS=json.dumps(params))

    def write(self, name, value):
        (self.path / name).write_text(json.dumps(value))

    def read(self, name):
        return json.loads((self.path / name).read_text())

    @property
    def base(self):
        return self.path / "base.safetensors"

    @property
    def weights(self):
        return self.path / "out/weights.safetensors"

    def left(self):
        """Every file below out/."""
        return sorted(str(p.relative_to(self.path / "out")) for p in (self.path / "out").rglob("*") if p.is_file())


@pytest.fixture
def task(tmp_path, monkeypatch):
    for name in ("NSFL_LOCAL", "OPTIMIZER_NAME", "OPTIMIZER_PARAMS", "TASK_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "task"
    path.mkdir()
    return Folder(path, monkeypatch)


@pytest.fixture
def no_task(monkeypatch):
    monkeypatch.delenv("TASK_WORKSPACE", raising=False)


@pytest.fixture
def script(tmp_path):
    """Runs a script in a process of its own; returns the finished process."""

    def run(text, *command, **environment):
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(text))
        words = [sys.executable, *(str(word) for word in command), str(path)]
        return subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300)

    return run


ROOT = Path(__file__).parent.parent
