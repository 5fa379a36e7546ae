"""`create_optimizer`: the job's federated optimizer for the script's framework."""

import os
import sys
from typing import Any

from ._frameworks import is_keras, is_torch
from ._task import Task
from .errors import OptimizerError

#: the job's optimizers and what they may say; scaffold's batch_size and sample_num are accepted and not needed, since
#: steps are counted
_FIELDS = {"fedprox": {"mu", "learning_rate"}, "scaffold": {"learning_rate", "batch_size", "sample_num"}}


def create_optimizer(**kwargs: Any) -> Any:
    """The job's federated optimizer, wrapped around an optimizer of the script's framework.

    A job's `optimizer` is `fedprox` (adds μ(w − x) to the gradient, x the global weights; μ 0.6 by default) or
    `scaffold` (adds c − c_i). What is added enters the gradient before momentum. Where the job has no optimizer, the
    framework's own is returned, so that the script need not ask. Weight decay is the framework's own: with PyTorch part
    of the gradient, with Keras taken off the weights.

    For PyTorch::

        optimizer = nsfl.create_optimizer(params=model.parameters(), lr=0.01, momentum=0.9)

    For Keras::

        model.compile(optimizer=nsfl.create_optimizer(learning_rate=0.01), loss=...)

    Args:
        params: PyTorch: parameters, groups or named parameters, as `torch.optim` takes them. Not needed with `model`.
        model: the model that was, or will be, given to `load_weights`; needed only where that call does not come before
            the first step.
        optimizer_class: the framework's optimizer to wrap, a class or a name ("Adam"); SGD by default. SCAFFOLD counts
            the lengths of its steps and takes SGD only.
        lr, learning_rate: either name for either framework. What the script passes goes before the job's
            `learning_rate`; without both the framework's default counts.
        **kwargs: everything else goes to the framework's optimizer (`momentum`, `weight_decay`, `nesterov`, …).

    Returns:
        An instance of a subclass of the framework's optimizer; schedulers, `model.compile` and the like take it.

    Raises:
        OptimizerError: the job's optimizer is unknown, or cannot work with what was passed. NotInTask: outside a task.
    """
    task = Task.current("create_optimizer")
    job = task.optimizer()
    if job is not None:
        _known(job)
        if "lr" not in kwargs and "learning_rate" not in kwargs and job.get("learning_rate") is not None:
            kwargs["learning_rate"] = float(job["learning_rate"])
    if _framework(kwargs) == "torch":
        from . import _torch_optimizers

        return _torch_optimizers.create(task, job, kwargs)
    from . import _keras_optimizers

    return _keras_optimizers.create(task, job, kwargs)


def _known(job: dict[str, Any]) -> None:
    name = job["name"]
    if name not in _FIELDS:
        raise OptimizerError(f"the job's optimizer {name!r} is unknown to this SDK; it knows {', '.join(_FIELDS)}")
    odd = sorted(job.keys() - _FIELDS[name] - {"name"})
    if odd:
        raise OptimizerError(f"{name} has no parameter {odd[0]!r}; it has {', '.join(sorted(_FIELDS[name]))}")
    mu = job.get("mu", 0.6)
    if isinstance(mu, bool) or not isinstance(mu, (int, float)) or not 0 <= mu < float("inf"):
        raise OptimizerError(f"fedprox: mu is {mu!r}, a number of at least 0 is expected")


def _framework(kwargs: dict[str, Any]) -> str:
    """By what was passed; else by the job's runtime; else by what the script has imported."""
    model = kwargs.get("model")
    if is_keras(model):
        return "keras"
    if "params" in kwargs or is_torch(model):
        return "torch"
    runtime = os.environ.get("TASK_RUNTIME", "")
    by_runtime = {"pytorch": "torch", "tensorflow": "keras", "keras": "keras"}.get(runtime)
    return by_runtime or ("keras" if "keras" in sys.modules else "torch")
