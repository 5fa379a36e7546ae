"""`python -m nsfl.local script.py`: a script's task without a federation.

Makes a task's folder, starts the script in it as an NSFL client would, and shows what would be sent: tensors with the
norms of their change, metrics, parameters, files. Exits with 0 where the task would succeed and 1 where it would fail.
"""

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ._feddyn import STATE as FEDDYN_STATE
from ._scaffold import CONTROL, STATE

#: what optimizers keep
_STATES = (STATE, FEDDYN_STATE)
_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "<u1",
}  # fmt: skip


def main(argv: Optional[list[str]] = None) -> int:
    """The command; returns its exit code."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    keep = arguments.workspace
    folder = Path(keep).absolute() if keep else Path(tempfile.mkdtemp(prefix="nsfl-"))
    try:
        environment = _prepare(folder, arguments)
        script = Path(arguments.script).absolute()
        began = time.monotonic()
        code = subprocess.call(
            [sys.executable, str(script), *arguments.arguments], cwd=script.parent, env={**os.environ, **environment}
        )
        print(f"\nscript       {arguments.script}: exit code {code}, {time.monotonic() - began:.1f} s")
        failure = _failure(folder, arguments.mode, code)
        _show(folder)
        if arguments.state:
            _keep_state(folder, Path(arguments.state), failure)
        print(f"task         {'would succeed' if failure is None else 'would FAIL: ' + failure}")
        if keep:
            print(f"workspace    {folder}")
        return 0 if failure is None else 1
    except _Wrong as error:
        print(f"nsfl.local: {error}", file=sys.stderr)
        return 2
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


class _Wrong(Exception):
    """An argument that cannot be used."""


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m nsfl.local",
        description="Runs a training script as one task of a federation would, and shows what would be sent.",
    )
    pair = {"action": "append", "default": [], "metavar": "NAME=PATH"}
    parser.add_argument("script", help="the training script")
    parser.add_argument("--dataset", **pair, help="a data set for get_dataset_path; may be repeated")  # type: ignore[arg-type]
    parser.add_argument("--base", metavar="FILE", help="global weights, safetensors; else the model's own are taken")
    parser.add_argument("--optimizer", metavar="JSON", help='the job\'s optimizer: \'{"name": "fedprox", "mu": 0.1}\'')
    parser.add_argument("--mode", choices=["train", "evaluate"], default="train")
    parser.add_argument("--runtime", choices=["pytorch", "tensorflow"], help="by default what the script imports")
    parser.add_argument("--parameters", metavar="JSON", help="what get_parameters gives")
    parser.add_argument("--file", **pair, help="a file for get_file; may be repeated")  # type: ignore[arg-type]
    parser.add_argument("--state", metavar="FOLDER", help="keeps what SCAFFOLD and FedDyn keep from one run to the next")
    parser.add_argument("--workspace", metavar="FOLDER", help="use and keep this folder; it must be new or empty")
    parser.add_argument("--round", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    script_arguments: list[str] = []
    if "--" in argv:
        at = argv.index("--")
        argv, script_arguments = argv[:at], argv[at + 1 :]
    parsed = parser.parse_args(argv)
    parsed.arguments = script_arguments
    return parsed


def _prepare(folder: Path, arguments: argparse.Namespace) -> dict[str, str]:
    """Lays the folder out; returns the environment of a task."""
    if not Path(arguments.script).is_file():
        raise _Wrong(f"{arguments.script} is no file")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise _Wrong(f"{folder} is not empty")
    for name in ("in/files", "out/files", "state", "log"):
        (folder / name).mkdir(parents=True)
    optimizer = _json(arguments.optimizer, "--optimizer")
    if optimizer is not None and not isinstance(optimizer.get("name"), str):
        raise _Wrong("--optimizer needs a name, such as fedprox")
    datasets = {name: str(path) for name, path in map(_pair, arguments.dataset)}
    for name, path in map(_pair, arguments.file):
        shutil.copyfile(path, folder / "in/files" / name)
    parameters = _json(arguments.parameters, "--parameters")
    if parameters is not None:
        _write(folder / "in/parameters.json", parameters)
    if arguments.base:
        _lay_base(Path(arguments.base), folder / "base.safetensors", optimizer)
    for state in _STATES:
        if arguments.state and (Path(arguments.state) / Path(state).name).exists():
            shutil.copyfile(Path(arguments.state) / Path(state).name, folder / state)
    runtime = arguments.runtime or _runtime(Path(arguments.script))
    task = {
        "version": 1, "mode": arguments.mode, "job": "default/local", "run": 1, "round": arguments.round, "attempt": 1,
        "client": "local", "runtime": runtime, "seed": arguments.seed, "worker_num": 1, "optimizer": optimizer,
    }  # fmt: skip
    _write(folder / "task.json", task)
    _write(folder / "datasets.json", datasets)
    environment = {
        "TASK_WORKSPACE": str(folder), "TASK_RUNTIME": runtime, "TASK_MODE": arguments.mode, "WORKER_INDEX": "0",
        "WORKER_NUM": "1", "DATASETS": str(folder / "datasets.json"), "PYTHONUNBUFFERED": "1", "NSFL_LOCAL": "1",
    }  # fmt: skip
    if optimizer is not None:
        named = {key: value for key, value in optimizer.items() if key != "name"}
        environment |= {"OPTIMIZER_NAME": optimizer["name"], "OPTIMIZER_PARAMS": json.dumps(named)}
    return environment


def _runtime(script: Path) -> str:
    text = script.read_text("utf-8", "replace")
    return "tensorflow" if re.search(r"^\s*(import|from)\s+(keras|tensorflow)\b", text, re.MULTILINE) else "pytorch"


def _lay_base(source: Path, target: Path, optimizer: Optional[dict[str, Any]]) -> None:
    """The global weights; for SCAFFOLD with zero control variates where they have none."""
    header = _tensors(source)
    if optimizer is None or optimizer["name"].lower() != "scaffold" or any(name.startswith(CONTROL) for name in header):
        shutil.copyfile(source, target)
        return
    entries: dict[str, Any] = {}
    with target.open("wb") as file:
        parts = [(name, kind, array) for name, (kind, array) in header.items()]
        parts += [(CONTROL + name, kind, np.zeros_like(array)) for name, kind, array in list(parts) if "F" in kind]
        at = 0
        for name, kind, array in parts:
            entries[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
            at += array.nbytes
        text = json.dumps(entries).encode()
        text += b" " * (-len(text) % 8)
        file.write(len(text).to_bytes(8, "little") + text)
        for _, _, array in parts:
            file.write(array.tobytes())


def _failure(folder: Path, mode: str, code: int) -> Optional[str]:
    """Why the task would fail; None where it would not."""
    error = folder / "out/error.json"
    if error.exists():
        said = json.loads(error.read_text("utf-8"))
        return f"{said['code']}: {said['reason']}"
    if code < 0:
        return f"script-signal: ended by signal {-code}"
    if code != 0:
        return f"script-exit: exit code {code}"
    if mode == "train" and not (folder / "out/weights.safetensors").exists():
        return "commit-missing: the script ended without commit_weights"
    if mode == "evaluate" and not (folder / "out/metrics.json").exists():
        return "commit-missing: the script ended without commit_metrics"
    return None


def _show(folder: Path) -> None:
    out = folder / "out"
    if (out / "weights.safetensors").exists():
        _show_weights(folder / "base.safetensors", out / "weights.safetensors")
    for name, label in (("metrics", "metric"), ("parameters", "parameter")):
        if (out / f"{name}.json").exists():
            for key, value in json.loads((out / f"{name}.json").read_text("utf-8")).items():
                print(f"{label:<12} {key} = {json.dumps(value)[:100]}")
    for path in sorted((out / "files").iterdir()):
        print(f"{'file':<12} {path.name} ({_size(path.stat().st_size)})")
    for state in (out / state for state in _STATES):
        if state.exists():
            print(f"{'state':<12} {state.name} ({_size(state.stat().st_size)}), kept at the client")


def _show_weights(base: Path, weights: Path) -> None:
    """A line a tensor: what it is, the norm of its change, and that beside the norm of the global weights."""
    before, after = _tensors(base), _tensors(weights)
    print(f"weights      {len(after)} tensors, {_size(weights.stat().st_size)}")
    width = max(len(name) for name in after)
    total = 0.0
    print(f"  {'tensor':<{width}}  type  {'shape':<18} {'change':>11} {'relative':>9}")
    for name, (kind, array) in sorted(after.items()):
        old = _floats(*before[name])
        change = float(np.linalg.norm((_floats(kind, array) - old).ravel()))
        norm = float(np.linalg.norm(old.ravel()))
        total += 0.0 if name.startswith(CONTROL) else change * change
        relative = f"{change / norm:9.2%}" if norm else "        –"
        print(f"  {name:<{width}}  {kind:<4}  {list(array.shape)!s:<18} {change:11.4g} {relative}")
    print(f"  norm of the whole change: {math.sqrt(total):.4g}")


def _tensors(path: Path) -> dict[str, tuple[str, Any]]:
    """Type and mapped array of each tensor; bfloat16 as its bits."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError(f"a header of {length} bytes in a smaller file")
            header = json.loads(file.read(length))
    except (OSError, ValueError) as error:
        raise _Wrong(f"{path} cannot be read as safetensors: {error}") from error
    header.pop("__metadata__", None)
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if path.stat().st_size > 8 + length else np.zeros(0, np.uint8)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], data[begin:end].view(_TYPES[entry["dtype"]]).reshape(entry["shape"]))
    return tensors


def _floats(kind: str, array: Any) -> Any:
    if kind == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)


def _keep_state(folder: Path, state: Path, failure: Optional[str]) -> None:
    """As a client does when its update was accepted."""
    for new in (folder / "out" / name for name in _STATES):
        if failure is None and new.exists():
            state.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(new, state / new.name)


def _pair(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and os.path.exists(path)):
        raise _Wrong(f"{text!r}: NAME=PATH of something that is there is expected")
    return name, Path(path).absolute()


def _json(text: Optional[str], option: str) -> Optional[dict[str, Any]]:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _Wrong(f"{option} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _Wrong(f"{option} is not a JSON object")
    return value


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), "utf-8")


def _size(count: int) -> str:
    return f"{count} B" if count < 10_000 else f"{count / 1e3:.0f} kB" if count < 10_000_000 else f"{count / 1e6:.1f} MB"


if __name__ == "__main__":
    raise SystemExit(main())
