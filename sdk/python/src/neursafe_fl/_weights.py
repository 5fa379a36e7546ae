"""Weights in and out: `load_weights`, `commit_weights`, and `export_model` for a job's initial model.

The script hands over all its weights; the client makes the difference to the global ones. Tensors under `scaffold.c/`
are SCAFFOLD's control variates and travel beside the model's own.
"""

import os
import traceback
from pathlib import Path
from typing import Any, Optional, Union

from safetensors import SafetensorError, safe_open

from ._feddyn import ALPHA
from ._feddyn import STATE as FEDDYN_STATE
from ._frameworks import Framework, Tensors, code, is_keras, of_model
from ._scaffold import CONTROL, STATE, Control, unwrapped
from ._task import Task, say
from . import _lora, _names
from .errors import BadTask, CommittedTwice, NotFinite, OptimizerError, WrongNames, WrongShape


def load_weights(model: Any) -> None:
    """Loads the round's global weights into a model, in place.

    Names, shapes and types must be those of the job's initial model (`export_model`); floating point types may differ and
    are converted. Adapters of low rank (`lora_A`, `lora_B`) may have a lower rank than the job's model where that is unused
    as yet. The file is mapped, not read: beside the model one tensor at a time is in memory.

    Args:
        model: a `torch.nn.Module` (names of `state_dict()`, buffers included) or a built Keras 3 model (names: see
            `export_model`).

    Raises:
        WrongShape: the model is not the job's; the sentence names the tensor. UnknownModel: it is no model, or not
        built. NotInTask: outside a task.
    """
    task = Task.current("load_weights")
    framework = of_model(model, "load_weights")
    if task.local and not task.base.exists():
        export_model(model, task.base)
        if (task.optimizer() or {}).get("name") == "scaffold":
            _add_controls(framework, task.base)
        say("no --base was given: the model's own weights are taken for the global ones")
    with opened(task.base, framework) as base:
        specs = framework.specs(model)
        _check(specs, base, "load_weights")
        framework.assign(model, lambda name: _lora.part(name, base.get_tensor(name), specs[name].shape))
    _names.loaded(model)


def commit_weights(model: Any, optimizer: Optional[Any] = None) -> None:
    """Hands the trained weights over; once in a task. The client sends the difference to the global weights.

    Args:
        model: as for `load_weights`.
        optimizer: what `create_optimizer` gave; with SCAFFOLD, whose control variates go along, and FedDyn it is needed. A
            Keras model that was compiled with it need not pass it.

    Worker 0 commits, others do nothing; nor does an evaluation.

    Raises:
        NotFinite: a tensor holds NaN or infinity. WrongShape: the model is not the one that was loaded. Both name the
        tensor. CommittedTwice: weights were committed before. OptimizerError: the job's optimizer is SCAFFOLD or FedDyn and
        `optimizer` is missing or another one. NotInTask: outside a task.
    """
    task = Task.current("commit_weights")
    framework = of_model(model, "commit_weights")
    if not task.commits("commit_weights"):
        return
    if task.mode == "evaluate":
        say("commit_weights: nothing to do, this task evaluates")
        return
    _once(task)
    control = _control(task, model, optimizer)
    tensors = framework.tensors(model)
    with opened(task.base, framework) as base:
        _check(tensors, base, "commit_weights")
        for name, tensor in tensors.items():
            if not framework.finite(tensor):
                raise NotFinite(f"commit_weights: {name!r} holds NaN or infinity: lower the learning rate, look for broken rows")
            header = base.get_slice(name)
            if _lora.narrower(name, tensor.shape, header.get_shape()):
                tensor = tensors[name] = _lora.whole(name, tensor, base.get_tensor(name))
            if code(tensor) != header.get_dtype():
                tensors[name] = framework.like(tensor, base.get_tensor(name))
        if control:
            feddyn = (task.optimizer() or {}).get("name") == "feddyn"
            (_commit_drift if feddyn else _commit_control)(task, framework, control, tensors, base)
        with task.replacing("weights.safetensors") as path:
            framework.save(tensors, path)


def export_model(model: Any, path: Union[str, "os.PathLike[str]"]) -> None:
    """Writes a model's weights as the initial model of a job (`model_path`), a safetensors file. Needs no task.

    Names are those of `state_dict()` for PyTorch. For Keras they are the weights' paths, `conv2d/kernel`, in which the
    numbers Keras gives to layers without a name of their own are counted within the model: the second `Dense` is
    `dense_1` whatever the process built before. So the same model has the same names on every site.

    Raises:
        UnknownModel: it is no model, or not built. NotFinite: a tensor holds NaN or infinity.
    """
    framework = of_model(model, "export_model")
    tensors = framework.tensors(model)
    for name, tensor in tensors.items():
        if not framework.finite(tensor):
            raise NotFinite(f"export_model: {name!r} holds NaN or infinity")
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        framework.save(tensors, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def opened(path: Path, framework: Framework) -> Any:
    """A safetensors file, mapped."""
    try:
        return safe_open(path, framework=framework.library)
    except (OSError, SafetensorError) as error:
        raise BadTask(f"{path} cannot be read as safetensors: {error}") from error


def _once(task: Task) -> None:
    if not (task.out / "weights.safetensors").exists():
        return
    error = CommittedTwice(
        "commit_weights was called a second time in this task: call it once, after the last epoch of the round"
    )
    stack = "".join(traceback.format_stack(limit=20)[:-2])
    task.fail(error.code, str(error), f"Traceback (most recent call last):\n{stack}CommittedTwice: {error}\n")
    raise error


def _check(tensors: Tensors, base: Any, what: str) -> None:
    """The model's tensors are those of the global weights."""
    names = [name for name in base.keys() if not name.startswith(CONTROL)]
    missing = [name for name in names if name not in tensors]
    extra = sorted(tensors.keys() - set(names))
    how = "build the model that the job's initial model was exported from (nsfl.export_model)"
    if missing or extra:
        only = [f"only in the global weights: {_some(missing)}"] if missing else []
        only += [f"only in the model: {_some(extra)}"] if extra else []
        raise WrongNames(f"{what}: the model's tensors are not those of the global weights; {'; '.join(only)}: {how}")
    for name in names:
        header = base.get_slice(name)
        expected, found = list(header.get_shape()), list(tensors[name].shape)
        if expected != found and not _lora.narrower(name, found, expected):
            raise WrongShape(f"{what}: {name!r} has shape {found}, the global weights have {expected}: {how}")
        wanted, given = header.get_dtype(), code(tensors[name])
        if wanted != given and not ("F" in wanted and "F" in given):
            raise WrongShape(f"{what}: {name!r} is of type {given}, the global weights of {wanted}: {how}")


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _control(task: Task, model: Any, optimizer: Any) -> Optional[Control]:
    """What SCAFFOLD or FedDyn has counted; None where the job's optimizer is another."""
    called = {"scaffold": "SCAFFOLD", "feddyn": "FedDyn"}.get((task.optimizer() or {}).get("name", ""))
    if called is None:
        return None
    given = optimizer if optimizer is not None else getattr(model, "optimizer", None) if is_keras(model) else None
    control = getattr(unwrapped(given), "nsfl_control", None)
    if not isinstance(control, Control):
        what = "no optimizer" if given is None else f"a {type(given).__name__}"
        raise OptimizerError(
            f"commit_weights was given {what}, but the job's optimizer is {called}: train with "
            "optimizer = nsfl.create_optimizer(...) and call nsfl.commit_weights(model, optimizer)"
        )
    return control


def _commit_control(task: Task, framework: Framework, control: Control, tensors: Tensors, base: Any) -> None:
    """Writes the client's new control variates to out/state/, and adds `scaffold.c/…` to the tensors to send."""
    controlled = set(base.keys())
    names = [name for name in tensors if CONTROL + name in controlled]
    if not names:
        raise BadTask(f"the global weights have no control variates ({CONTROL}…), which SCAFFOLD needs: see the server's log")
    steps = control.steps()
    kept = opened(task.folder / STATE, framework) if (task.folder / STATE).exists() else None
    own: Tensors = {}
    for name in names:
        x, c = base.get_tensor(name), base.get_tensor(CONTROL + name)
        before = _kept(kept, name, x)
        length = steps.get(name, 0.0)
        # c_i⁺ = c_i − c + (x − y)/(K·η), K·η being the sum of step lengths; what was not trained keeps its own
        after = before - c + (x - tensors[name]) / length if length > 0 else before
        own[name] = framework.like(after, x)
        if not framework.finite(own[name]):
            raise NotFinite(f"commit_weights: SCAFFOLD's control variate of {name!r} is not finite: lower the learning rate")
        tensors[CONTROL + name] = framework.like(c + (own[name] - before), c)
    with task.replacing(STATE) as path:
        framework.save(own, path)


def _commit_drift(task: Task, framework: Framework, control: Control, tensors: Tensors, base: Any) -> None:
    """Writes FedDyn's new h_i of what was trained to out/state/; of the rest it stays."""
    steps, alpha = control.steps(), float((task.optimizer() or {}).get("alpha", ALPHA))
    kept = opened(task.folder / FEDDYN_STATE, framework) if (task.folder / FEDDYN_STATE).exists() else None
    own: Tensors = {}
    for name in tensors:
        x = base.get_tensor(name)
        if name in steps:
            # h_i⁺ = h_i − α(y − x)
            own[name] = framework.like(_kept(kept, name, x) - alpha * (tensors[name] - x), x)
        elif kept is not None and name in kept.keys():
            own[name] = _kept(kept, name, x)
    if own:
        with task.replacing(FEDDYN_STATE) as path:
            framework.save(own, path)


def _kept(kept: Any, name: str, x: Any) -> Any:
    """What the client kept of a tensor in the round before; zeros where there is none."""
    if kept is None or name not in kept.keys():
        return x * 0
    found, expected = list(kept.get_slice(name).get_shape()), list(x.shape)
    if found != expected:
        raise BadTask(f"what was kept of {name!r} has shape {found}, the model {expected}: it is another job's")
    return kept.get_tensor(name)


def _add_controls(framework: Framework, path: Path) -> None:
    """Zero control variates in a base that has none, as the server makes them for a job's initial model."""
    with opened(path, framework) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    floats = [name for name in tensors if "F" in code(tensors[name])]
    tensors.update({CONTROL + name: framework.like(tensors[name] * 0, tensors[name]) for name in floats})
    framework.save(tensors, path)
