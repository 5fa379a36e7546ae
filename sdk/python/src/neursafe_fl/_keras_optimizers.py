"""FedProx, perturbed gradient descent, SCAFFOLD and FedDyn around Keras's optimizers, on any backend.

Each is a subclass, made for the class that is wrapped, that corrects the gradient in update_step(): after clipping and
before momentum. Global weights, c − c_i and h_i are variables of the optimizer, so that compiled training steps see them.
"""

from typing import Any, Optional

import keras

from . import _names
from ._feddyn import ALPHA
from ._feddyn import STATE as FEDDYN_STATE
from ._frameworks import is_keras
from ._keras import Keras, value, variables
from ._private import WRAPPED
from ._scaffold import CONTROL, STATE, Control
from ._task import Task
from ._weights import opened
from .errors import OptimizerError


def create(task: Task, job: Optional[dict[str, Any]], kwargs: dict[str, Any]) -> Any:
    """See `create_optimizer`."""
    model = kwargs.pop("model", None)
    if model is not None and not is_keras(model):
        raise OptimizerError(f"create_optimizer: model is a {type(model).__name__}, a keras.Model is expected")
    if job is not None and job["name"] in WRAPPED:
        raise OptimizerError(f"{job['name']} clips each sample's gradient, which a Keras optimizer is not given: use PyTorch")
    wrapped = _wrapped(kwargs.pop("optimizer_class", "SGD"))
    if "lr" in kwargs:
        kwargs.setdefault("learning_rate", kwargs.pop("lr"))
    if job is None:
        return wrapped(**kwargs)
    correct = _CORRECTIONS[job["name"]]
    if correct is _Scaffold and not issubclass(wrapped, keras.optimizers.SGD):
        raise OptimizerError(f"SCAFFOLD counts the lengths of steps and takes SGD, with or without momentum, not {wrapped.__name__}")
    kwargs.setdefault("name", job["name"])
    made = type(correct.__name__.strip("_") + wrapped.__name__, (correct, wrapped), {})
    optimizer: Any = made(**kwargs)
    optimizer._nsfl_task, optimizer._nsfl_model = task, model
    optimizer._nsfl_job = job
    if correct in (_Scaffold, _FedDyn):
        optimizer.nsfl_control = Control(optimizer.nsfl_steps)
    return optimizer


def _wrapped(given: Any) -> Any:
    found = getattr(keras.optimizers, given, None) if isinstance(given, str) else given
    if found is None and isinstance(given, str):
        found = next((kind for name, kind in vars(keras.optimizers).items() if name.lower() == given.lower()), None)
    if not (isinstance(found, type) and issubclass(found, keras.optimizers.Optimizer)):
        raise OptimizerError(f"create_optimizer: optimizer_class is {given!r}, a class or a name of keras.optimizers is expected")
    return found


def _names_of(trained: list[Any], model: Any) -> list[str]:
    """The name of each variable in the model it is of."""
    models = [model] if model is not None else [m for m in _names.models() if is_keras(m)]
    known = {id(variable): name for m in reversed(models) for name, variable in variables(m).items()}
    for variable in trained:
        if id(variable) not in known:
            raise OptimizerError(
                f"the optimizer has a variable {variable.path!r} that is in no loaded model: call nsfl.load_weights(model) "
                "before the first step, or nsfl.create_optimizer(model=model, ...)"
            )
    return [known[id(variable)] for variable in trained]


def _initial(array: Any) -> Any:
    """An initializer with these values. An assignment would be lost: TensorFlow builds optimizers while it traces."""
    return lambda shape, dtype=None: keras.ops.convert_to_tensor(array, dtype=dtype)


class _Corrected:
    """update_step() with the corrected gradient; mixed in before the wrapped class."""

    _nsfl_task: Task
    _nsfl_model: Any
    _nsfl_job: dict[str, Any]
    _nsfl_names: list[str]

    def build(self: Any, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)  # type: ignore[misc]
        variables = list(variables)
        self._nsfl_names = _names_of(variables, self._nsfl_model)
        self._nsfl_build(variables)

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = keras.ops.cast(keras.ops.convert_to_tensor(gradient), variable.dtype)
        index = self._get_variable_index(variable)
        super().update_step(self._nsfl_corrected(gradient, variable, index), variable, learning_rate)  # type: ignore[misc]
        self._nsfl_stepped(variable, index, learning_rate)


class _Global(_Corrected):
    """With the global weights as variables."""

    def _nsfl_build(self: Any, variables: list[Any]) -> None:
        with opened(self._nsfl_task.base, Keras()) as base:
            there = set(base.keys())
            self._nsfl_x = []
            for name, variable in zip(self._nsfl_names, variables):
                if name not in there:
                    raise OptimizerError(f"{name!r} is not in the global weights")
                initial = _initial(base.get_tensor(name))
                self._nsfl_x.append(self.add_variable_from_reference(variable, name="global", initializer=initial))

    def _nsfl_away(self: Any, variable: Any, index: int, factor: Any) -> Any:
        """factor · (w − x)"""
        ops = keras.ops
        away = ops.subtract(ops.convert_to_tensor(variable), ops.convert_to_tensor(self._nsfl_x[index]))
        return ops.multiply(away, ops.cast(factor, away.dtype))

    def _nsfl_stepped(self, variable: Any, index: int, learning_rate: Any) -> None:
        pass


class _FedProx(_Global):
    """g + μ(w − x) (Li et al. 2020, arXiv 1812.06127)."""

    def _nsfl_corrected(self: Any, gradient: Any, variable: Any, index: int) -> Any:
        return keras.ops.add(gradient, self._nsfl_away(variable, index, float(self._nsfl_job.get("mu", 0.6))))


class _Perturbed(_Global):
    """w − ημ(w − x) before each step: the pull is not in the momentum (the optimizer in FedProx's own code)."""

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        ops = keras.ops
        factor = ops.multiply(ops.cast(learning_rate, variable.dtype), ops.cast(self._nsfl_job.get("mu", 0.01), variable.dtype))
        self.assign_sub(variable, self._nsfl_away(variable, self._get_variable_index(variable), factor))
        super().update_step(gradient, variable, learning_rate)

    def _nsfl_corrected(self, gradient: Any, variable: Any, index: int) -> Any:
        return gradient


class _FedDyn(_Global):
    """g + α(w − x) − h_i; see `_feddyn`."""

    def _nsfl_build(self: Any, variables: list[Any]) -> None:
        super()._nsfl_build(variables)
        kept = self._nsfl_task.folder / FEDDYN_STATE
        own = opened(kept, Keras()) if kept.exists() else None
        self._nsfl_h = []
        for name, variable in zip(self._nsfl_names, variables):
            initial = _initial(own.get_tensor(name)) if own is not None and name in own.keys() else "zeros"
            self._nsfl_h.append(self.add_variable_from_reference(variable, name="own", initializer=initial))

    def _nsfl_corrected(self: Any, gradient: Any, variable: Any, index: int) -> Any:
        away = self._nsfl_away(variable, index, float(self._nsfl_job.get("alpha", ALPHA)))
        return keras.ops.subtract(keras.ops.add(gradient, away), keras.ops.convert_to_tensor(self._nsfl_h[index]))

    def nsfl_steps(self: Any) -> dict[str, float]:
        return dict.fromkeys(self._nsfl_names, 1.0) if self.built and int(value(self.iterations)) else {}


class _Scaffold(_Corrected):
    """g + c − c_i, and the lengths of the steps taken; see `_scaffold`."""

    def _nsfl_build(self: Any, variables: list[Any]) -> None:
        kept = self._nsfl_task.folder / STATE
        own = opened(kept, Keras()) if kept.exists() else None
        self._nsfl_c, self._nsfl_built, self._nsfl_length = [], [], []
        with opened(self._nsfl_task.base, Keras()) as base:
            there = set(base.keys())
            for name, variable in zip(self._nsfl_names, variables):
                if CONTROL + name not in there:
                    raise OptimizerError(
                        f"the global weights have no control variate {CONTROL + name!r}: the job's initial model was made "
                        "without"
                    )
                c = base.get_tensor(CONTROL + name)
                if own is not None and name in own.keys():
                    c = c - own.get_tensor(name)
                initial = _initial(c)
                self._nsfl_c.append(self.add_variable_from_reference(variable, name="control", initializer=initial))
                # by a gradient of 1 at every step so far: the last step's length, and the sum of lengths
                self._nsfl_built.append(self.add_variable((), dtype="float32", name="built"))
                self._nsfl_length.append(self.add_variable((), dtype="float32", name="length"))

    def _nsfl_corrected(self: Any, gradient: Any, variable: Any, index: int) -> Any:
        return keras.ops.add(gradient, keras.ops.cast(self._nsfl_c[index], gradient.dtype))

    def _nsfl_stepped(self: Any, variable: Any, index: int, learning_rate: Any) -> None:
        ops = keras.ops
        rate = ops.cast(learning_rate, "float32")
        built, length = self._nsfl_built[index], self._nsfl_length[index]
        # Keras's SGD has the learning rate inside the momentum
        step = ops.add(ops.multiply(built, self.momentum), rate)
        self.assign(built, step)
        self.assign_add(length, ops.add(ops.multiply(step, self.momentum), rate) if self.nesterov else step)

    def nsfl_steps(self: Any) -> dict[str, float]:
        if not self.built:
            return {}
        return {name: float(value(length)) for name, length in zip(self._nsfl_names, self._nsfl_length)}


_CORRECTIONS: dict[str, Any] = {"fedprox": _FedProx, "pgd": _Perturbed, "scaffold": _Scaffold, "feddyn": _FedDyn}
