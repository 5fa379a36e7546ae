"""What a script exchanges beside weights: metrics, data sets, parameters, files, progress."""

import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Optional, Union

from ._task import Task
from .errors import BadName, BadTask, BadValue, NotFinite, NotFound

_MISSING: Any = object()


def commit_metrics(metrics: Mapping[str, Any]) -> None:
    """Hands the round's metrics over.

    `sample_num` (number of samples trained on) is the update's weight in averaging; without it the weight is 1. Usual
    names besides: `spend_time` (seconds), `loss`, `accuracy`, `precision`, `recall_rate` (0 to 1). Any other number may
    go along.

    Args:
        metrics: name → number. Scalars of NumPy, PyTorch and TensorFlow are numbers too. Called again, it adds to what
            was committed; of the same name the newest counts.

    Raises:
        BadValue: a value is no number. NotFinite: it is NaN or infinite. BadName: a name is no text.
        NotInTask: outside a task.
    """
    task = Task.current("commit_metrics")
    checked = _numbers(metrics, "commit_metrics")
    if task.commits("commit_metrics"):
        before = task.read_json("out/metrics.json") if (task.out / "metrics.json").exists() else {}
        task.write_json("metrics.json", {**before, **checked})


def get_dataset_path(name: str) -> str:
    """The local path of a data set, as the site's data set configuration says.

    Raises:
        NotFound: the job names no such data set, or the site has nothing at its path. NotInTask: outside a task.
    """
    task = Task.current("get_dataset_path")
    where = os.environ.get("DATASETS") or str(task.folder / "datasets.json")
    try:
        with open(where, encoding="utf-8") as file:
            datasets = json.load(file)
    except (OSError, ValueError) as error:
        raise BadTask(f"the data set map {where} cannot be read: {error}") from error
    if name not in datasets:
        raise NotFound(
            f"no data set {name!r}; there is {_list(datasets)}. Name it in the job's `datasets` and in the data set "
            "configuration of the client"
        )
    path = str(datasets[name])
    if not os.path.exists(path):
        raise NotFound(f"data set {name!r} is at {path}, where nothing is: correct the client's data set configuration")
    return path


def get_seed() -> int:
    """A seed of this task, for shuffling and the like: other clients and rounds have others, the task run again the same."""
    return int(Task.current("get_seed").describe().get("seed", 0))


def get_parameters() -> dict[str, Any]:
    """All values that the job's extender broadcast for this round; empty where there is none."""
    task = Task.current("get_parameters")
    return task.read_json("in/parameters.json") if (task.folder / "in/parameters.json").exists() else {}


def get_parameter(key: str, default: Any = _MISSING) -> Any:
    """A value that the job's extender broadcast for this round.

    Raises:
        NotFound: there is none of that name, and no `default` was given. NotInTask: outside a task.
    """
    parameters = get_parameters()
    if key not in parameters and default is _MISSING:
        raise NotFound(f"the job's extender broadcast no parameter {key!r}; there is {_list(parameters)}")
    return parameters.get(key, default)


def put_parameter(key: str, value: Any) -> None:
    """Adds a value for the server's extender to those put before.

    Args:
        key: its name.
        value: anything JSON can express; NumPy arrays and tensors become lists.

    Raises:
        BadValue: JSON cannot express it. BadName: the key is no text. NotInTask: outside a task.
    """
    task = Task.current("put_parameter")
    before = task.read_json("out/parameters.json") if (task.out / "parameters.json").exists() else {}
    _put(task, {**before, key: value}, "put_parameter")


def put_parameters(parameters: Mapping[str, Any]) -> None:
    """Sets the values for the server's extender: those put before are replaced. Otherwise as `put_parameter`."""
    _put(Task.current("put_parameters"), parameters, "put_parameters")


def get_file(name: str, dserialize_func: Optional[Callable[..., Any]] = None, **kwargs: Any) -> Any:
    """A file that the job's extender broadcast.

    Args:
        name: its name.
        dserialize_func: called as `dserialize_func(file_object, **kwargs)` on the file opened for reading bytes; what it
            returns is returned. Without it the file's bytes are.

    Raises:
        NotFound: there is no such file. BadName: the name is none of a file. NotInTask: outside a task.
    """
    task = Task.current("get_file")
    folder = task.folder / "in/files"
    path = folder / _file_name(name, "get_file")
    if not path.is_file():
        there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        raise NotFound(f"the job's extender broadcast no file {name!r}; there is {_list(there)}")
    with path.open("rb") as file:
        return dserialize_func(file, **kwargs) if dserialize_func else file.read()


def put_file(
    name: str,
    content: Any,
    serialize_func: Optional[Callable[..., Any]] = None,
    **kwargs: Any,
) -> None:
    """Hands a file over to the server's extender. Put again under the same name it is replaced.

    Args:
        name: of the file alone, without folders.
        content: bytes or text; anything else with a `serialize_func`.
        serialize_func: called as `serialize_func(file_object, content, **kwargs)` on a file opened for writing bytes:
            `numpy.save`, for one.

    Raises:
        BadName: the name has a folder in it or is none of a file. BadValue: the content is neither bytes nor text, and
        no `serialize_func` was given. NotInTask: outside a task.
    """
    task = Task.current("put_file")
    name = _file_name(name, "put_file")
    if serialize_func is None and not isinstance(content, (bytes, bytearray, memoryview, str)):
        raise BadValue(f"put_file({name!r}): {type(content).__name__} is neither bytes nor text: pass a serialize_func")
    if not task.commits("put_file"):
        return
    with task.replacing(f"files/{name}") as path, path.open("wb") as file:
        if serialize_func is not None:
            serialize_func(file, content, **kwargs)
        else:
            _write(file, content)


def progress(
    done: Optional[float] = None,
    message: Optional[str] = None,
    metrics: Optional[Mapping[str, Any]] = None,
    **more: Any,
) -> None:
    """Says how far the training is; `nsfl-ctl watch` shows the newest. Cheap enough for every batch of a second.

    Args:
        done: the part that is done, 0 to 1.
        message: a line of text, "epoch 3 of 5".
        metrics: name → number, as they stand. Keyword arguments count as metrics too: `progress(0.4, loss=0.31)`.
            What is not finite is left out.

    Raises:
        BadValue: `done` is outside 0 to 1, or a metric is no number. NotInTask: outside a task.
    """
    task = Task.current("progress")
    if done is not None:
        done = _number(done, "progress: done")
        if not 0 <= done <= 1:  # NaN is outside too
            raise BadValue(f"progress: done is {done}, 0 to 1 is expected")
    named = {**(metrics or {}), **more}
    numbers = {key: _number(value, f"progress: {key}") for key, value in named.items()}
    if task.index == 0:
        finite = {key: value for key, value in numbers.items() if math.isfinite(value)}
        text = None if message is None else str(message)[:1000]
        task.write_json("progress.json", {"done": done, "message": text, "metrics": finite})


def _put(task: Task, parameters: Mapping[str, Any], what: str) -> None:
    for key, value in parameters.items():
        if not isinstance(key, str):
            raise BadName(f"{what}: the name {key!r} is no text")
        try:
            json.dumps(value, default=_plain, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BadValue(f"{what}: {key!r} cannot be expressed in JSON: {error}") from error
    if task.commits(what):
        plain = json.loads(json.dumps(dict(parameters), default=_plain, allow_nan=False))
        task.write_json("parameters.json", plain)


def _plain(value: Any) -> Any:
    """NumPy arrays, tensors and their scalars as lists and numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "numpy"):
        return value.numpy().tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _numbers(metrics: Mapping[str, Any], what: str) -> dict[str, Union[int, float]]:
    if not isinstance(metrics, Mapping):
        raise BadValue(f"{what} takes a dictionary of name → number, not {type(metrics).__name__}")
    checked: dict[str, Union[int, float]] = {}
    for key, value in metrics.items():
        if not isinstance(key, str) or not key:
            raise BadName(f"{what}: the name {key!r} is no text")
        number = _number(value, f"{what}: {key!r}")
        if not math.isfinite(number):
            raise NotFinite(f"{what}: {key!r} is {number}; leave it out or look for what made it so")
        checked[key] = number
    return checked


def _number(value: Any, what: str) -> Union[int, float]:
    try:
        plain = value if isinstance(value, (bool, int, float)) else _plain(value)
        if isinstance(plain, list) and len(plain) == 1:
            plain = plain[0]
    except (TypeError, ValueError):
        plain = None
    if isinstance(plain, bool):
        return int(plain)
    if isinstance(plain, (int, float)):
        return plain
    raise BadValue(f"{what} is {value!r} of type {type(value).__name__}, a number is expected")


def _file_name(name: str, what: str) -> str:
    fits = isinstance(name, str) and 0 < len(name.encode("utf-8", "surrogatepass")) <= 200
    if not fits or name in (".", "..") or any(c in "/\\:" or ord(c) < 32 for c in name):
        raise BadName(f"{what}: {name!r} cannot be the name of a file: 1 to 200 bytes, no folders, no '/', '\\', ':'")
    return name


def _write(file: BinaryIO, content: Any) -> None:
    file.write(content.encode("utf-8") if isinstance(content, str) else content)


def _list(names: Any) -> str:
    return ", ".join(repr(name) for name in names) or "none"
