"""The task's folder and environment: where everything the script gets and hands over lies.

Nothing here knows a framework. Files are handed over whole or not at all: written under a temporary name in the same
folder, then renamed.
"""

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

from .errors import BadTask, NotInTask, NsflError

_VERSION = 1
_MAX_TRACEBACK = 8192


class Task:
    """This process's task. `Task.current(what)` raises `NotInTask` where there is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.index = _number("WORKER_INDEX", 0)

    @classmethod
    def current(cls, what: str) -> "Task":
        folder = os.environ.get("TASK_WORKSPACE")
        if not folder:
            raise NotInTask(
                f"{what} was called outside a task: TASK_WORKSPACE is not set. An NSFL client starts the script with it; "
                f"to try it without a federation: python -m nsfl.local {_script()}"
            )
        if not Path(folder).is_dir():
            raise BadTask(f"{what}: TASK_WORKSPACE is {folder}, which is not a folder")
        return cls(Path(folder))

    @property
    def base(self) -> Path:
        """The round's global weights."""
        return self.folder / "base.safetensors"

    @property
    def local(self) -> bool:
        """Started by `nsfl.local`, not by a client."""
        return os.environ.get("NSFL_LOCAL") == "1"

    @property
    def mode(self) -> str:
        """`train` or `evaluate`."""
        return os.environ.get("TASK_MODE") or str(self.describe().get("mode", "train"))

    def describe(self) -> dict[str, Any]:
        """task.json; its version is checked."""
        described = self.read_json("task.json") if (self.folder / "task.json").exists() else {"version": _VERSION}
        if described.get("version") != _VERSION:
            found = described.get("version")
            raise BadTask(
                f"task.json is of version {found}, this SDK reads version {_VERSION}: install the SDK of the client's version"
            )
        return described

    def optimizer(self) -> Optional[dict[str, Any]]:
        """The job's optimizer, an object with `name`; None where the job has none."""
        name = os.environ.get("OPTIMIZER_NAME")
        if not name:
            return None
        try:
            params = json.loads(os.environ.get("OPTIMIZER_PARAMS") or "{}")
        except ValueError as error:
            raise BadTask(f"OPTIMIZER_PARAMS is not JSON: {error}") from error
        if not isinstance(params, dict):
            raise BadTask("OPTIMIZER_PARAMS is not a JSON object")
        return {**params, "name": name.lower()}

    def commits(self, what: str) -> bool:
        """Whether this worker hands over: worker 0 does, the others say that they do not."""
        if self.index == 0:
            return True
        say(f"{what}: nothing to do for worker {self.index}, worker 0 commits")
        return False

    def read_json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            value = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise BadTask(f"{path} cannot be read: {error}") from error
        if not isinstance(value, dict):
            raise BadTask(f"{path} is not a JSON object")
        return value

    def write_json(self, name: str, value: Any) -> None:
        """Replaces `out/<name>`."""
        with self.replacing(name) as path:
            path.write_text(json.dumps(value, allow_nan=False, ensure_ascii=False), "utf-8")

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """A temporary path in `out/`; it becomes `out/<name>` when the block ends well, and is gone when not."""
        final = self.out / name
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.out / f".{final.name[:100]}.{os.getpid()}.tmp"
        try:
            yield temporary
            os.replace(temporary, final)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()

    def fail(self, code: str, reason: str, trace: Optional[str]) -> None:
        """Writes out/error.json, with which the task fails. The first one stays: later ones follow from it."""
        final = self.out / "error.json"
        self.out.mkdir(exist_ok=True)
        temporary = self.out / f".error.{os.getpid()}.tmp"
        error = {"code": code, "reason": _one_line(reason), "traceback": trace and trace[-_MAX_TRACEBACK:]}
        temporary.write_text(json.dumps(error), "utf-8")
        with contextlib.suppress(FileExistsError):
            os.link(temporary, final)
        temporary.unlink()


def say(line: str) -> None:
    """A line for the task's log."""
    print(f"nsfl: {line}", file=sys.stderr, flush=True)


def install_excepthook() -> None:
    """In a task, an exception that ends the script is written to out/error.json before it is printed as ever."""
    if not os.environ.get("TASK_WORKSPACE"):
        return
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
        if issubclass(kind, Exception):
            with contextlib.suppress(Exception):  # the script's own exception is what must be seen
                report(error)
        before(kind, error, trace)

    sys.excepthook = hook


def report(error: BaseException) -> None:
    """Writes an exception to out/error.json."""
    code = error.code if isinstance(error, NsflError) else NsflError.code
    if isinstance(error, SyntaxError):  # of a module that the script imports; formatted, it begins with the file
        Task.current("report").fail("script-syntax", f"{type(error).__name__}: {error}", _formatted(error))
        return
    reason = str(error) if isinstance(error, NsflError) else "".join(traceback.format_exception_only(error)).strip()
    Task.current("report").fail(code, reason, _formatted(error))


def _formatted(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _number(name: str, default: int) -> int:
    text = os.environ.get(name)
    try:
        return int(text) if text else default
    except ValueError as error:
        raise BadTask(f"{name} is {text!r}, a whole number is expected") from error


def _one_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1 if text.startswith("Traceback") else 0][:1000] if lines else "no message"


def _script() -> str:
    script = sys.argv[0] if sys.argv else ""
    return os.path.basename(script) if script.endswith(".py") else "script.py"
