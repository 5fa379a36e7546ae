"""`create_optimizer`: the job's federated optimizer for the script's framework."""

import os
import sys
from collections.abc import Callable
from typing import Any

from ._frameworks import is_keras, is_torch
from ._task import Task
from .errors import OptimizerError

_PRIVATE = {"clip", "noise_multiplier", "batch_size", "learning_rate"}
#: the job's optimizers and what they may say; scaffold's batch_size and sample_num are accepted and not needed, since
#: steps are counted
_FIELDS = {
    "fedprox": {"mu", "learning_rate"},
    "pgd": {"mu", "learning_rate"},
    "scaffold": {"learning_rate", "batch_size", "sample_num"},
    "feddyn": {"alpha", "learning_rate"},
    "dp_sgd": _PRIVATE,
    "dp_adam": _PRIVATE,
}
#: those of which 0 makes no sense
_POSITIVE = {"alpha", "clip", "batch_size", "sample_num", "learning_rate"}


def create_optimizer(**kwargs: Any) -> Any:
    """The job's federated optimizer, wrapped around an optimizer of the script's framework.

    A job's `optimizer` is one of

    - `fedprox`: adds μ(w − x) to the gradient, x the global weights; μ 0.6 by default;
    - `pgd`, perturbed gradient descent: moves the weights by −ημ(w − x) before each step; μ 0.01;
    - `scaffold`: adds c − c_i;
    - `feddyn`: adds α(w − x) − h_i; α 0.01, that of the server's rule;
    - `dp_sgd` and `dp_adam`, PyTorch only: differential privacy for each sample. Norms of samples' gradients are cut at
      `clip` (1), noise of `noise_multiplier` (1) times that is added to their sum, the sum is divided by `batch_size`. They need
      `nsfl.backward`. `dp_adam` wraps Adam.

    What is added enters the gradient before momentum. Where the job has no optimizer, the framework's own is returned, so
    that the script need not ask. Weight decay is the framework's own: with PyTorch part of the gradient, with Keras taken
    off the weights.

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


def backward(optimizer: Any, loss_of: Callable[..., Any], *batch: Any) -> Any:
    """`loss_of(*batch).backward()` for any optimizer that `create_optimizer` gives; PyTorch only.

    With `dp_sgd` and `dp_adam` the loss is taken of each row of the batch by itself, so that its gradient can be clipped; noise
    is added once, and what the next `step()` sees is private. A batch may be empty: it is a step of noise alone. The
    guarantee that an accountant computes holds where each sample is in each batch by a chance of its own (Poisson sampling), the
    job's `batch_size` is the expected number of rows, and the loss of a row depends on that row alone::

        optimizer.zero_grad()
        loss = nsfl.backward(optimizer, lambda x, y: criterion(model(x), y), inputs, labels)
        optimizer.step()

    Args:
        optimizer: what `create_optimizer` gave.
        loss_of: the mean loss of the rows it is given.
        *batch: tensors whose first dimension counts the rows.

    Returns:
        The mean loss, a tensor. It was computed from the data without noise: it does not belong in what is handed over.

    Raises:
        BadValue: the parts of the batch have different numbers of rows.
    """
    from . import _torch_private

    return _torch_private.backward(optimizer, loss_of, batch)


def _known(job: dict[str, Any]) -> None:
    name = job["name"] = job["name"].replace("-", "_")
    if name not in _FIELDS:
        raise OptimizerError(f"the job's optimizer {name!r} is unknown to this SDK; it knows {', '.join(_FIELDS)}")
    odd = sorted(job.keys() - _FIELDS[name] - {"name"})
    if odd:
        raise OptimizerError(f"{name} has no parameter {odd[0]!r}; it has {', '.join(sorted(_FIELDS[name]))}")
    for field, value in job.items():
        if field == "name" or value is None:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")
        if not number or (value == 0 and field in _POSITIVE):
            least = "above 0" if field in _POSITIVE else "of at least 0"
            raise OptimizerError(f"{name}: {field} is {value!r}, a number {least} is expected")


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
