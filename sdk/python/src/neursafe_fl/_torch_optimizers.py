"""FedProx, perturbed gradient descent, SCAFFOLD and FedDyn around PyTorch's optimizers; those with differential privacy are in
`_torch_private`.

Each is a subclass, made for the class that is wrapped, whose step() sees gradient + correction and whose caller finds
the gradients as they were. Global weights and control variates are mapped from their files while they are on the CPU,
and copied once to the device of a parameter that is elsewhere.
"""

from collections.abc import Callable
from typing import Any, Optional

import torch

from . import _names, _torch_private
from ._feddyn import ALPHA
from ._feddyn import STATE as FEDDYN_STATE
from ._frameworks import is_keras, is_torch
from ._private import WRAPPED
from ._scaffold import CONTROL, STATE, Control
from ._task import Task
from ._torch import Torch, unwrapped
from ._weights import opened
from .errors import OptimizerError


def create(task: Task, job: Optional[dict[str, Any]], kwargs: dict[str, Any]) -> torch.optim.Optimizer:
    """See `create_optimizer`."""
    model = kwargs.pop("model", None)
    if model is not None and (is_keras(model) or not is_torch(model)):
        raise OptimizerError(f"create_optimizer: model is a {type(model).__name__}, a torch.nn.Module is expected")
    if "params" not in kwargs:
        if model is None:
            raise OptimizerError("create_optimizer: pass params=model.parameters() or model=model, as for torch.optim.SGD")
        kwargs["params"] = model.parameters()
    wrapped = _wrapped(kwargs.pop("optimizer_class", WRAPPED.get((job or {}).get("name", ""), "SGD")))
    if "learning_rate" in kwargs:
        kwargs.setdefault("lr", kwargs.pop("learning_rate"))
    if job is None:
        return wrapped(**kwargs)
    if job["name"] in WRAPPED:
        return _torch_private.create(job, wrapped, _plain_step(wrapped), kwargs)
    correct = _CORRECTIONS[job["name"]]
    if correct is _Scaffold and not issubclass(wrapped, torch.optim.SGD):
        raise OptimizerError(f"SCAFFOLD counts the lengths of steps and takes SGD, with or without momentum, not {wrapped.__name__}")
    made = type(correct.__name__.strip("_") + wrapped.__name__, (_Corrected, wrapped), {})
    optimizer: Any = made(**kwargs)
    optimizer._nsfl_correct = correct(task, job, model)
    optimizer._nsfl_step = _plain_step(wrapped)
    if isinstance(optimizer._nsfl_correct, (_Scaffold, _FedDyn)):
        optimizer.nsfl_control = Control(optimizer._nsfl_correct.steps)
    return optimizer


def _wrapped(given: Any) -> Any:
    found = getattr(torch.optim, given, None) if isinstance(given, str) else given
    if found is None and isinstance(given, str):
        found = next((kind for name, kind in vars(torch.optim).items() if name.lower() == given.lower()), None)
    if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)):
        raise OptimizerError(f"create_optimizer: optimizer_class is {given!r}, a class or a name of torch.optim is expected")
    if issubclass(found, torch.optim.LBFGS):
        raise OptimizerError("create_optimizer: LBFGS takes many gradients a step and cannot be wrapped: use SGD or Adam")
    return found


def _plain_step(wrapped: Any) -> Callable[..., Any]:
    """The class's step without PyTorch's hook around it, which is around the subclass's step already."""
    step: Any = wrapped.step
    inner: Callable[..., Any] = step.__wrapped__ if getattr(step, "hooked", False) else step
    return inner


class _Corrected:
    """step() with corrected gradients; mixed in before the wrapped class."""

    param_groups: list[dict[str, Any]]
    _nsfl_correct: Any
    _nsfl_step: Callable[..., Any]

    def step(self, closure: Optional[Callable[[], Any]] = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        held = [
            (parameter, parameter.grad, group)
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        try:
            with torch.no_grad():
                for parameter, grad, group in held:
                    added = grad.to_dense() if grad.is_sparse else grad
                    parameter.grad = self._nsfl_correct.corrected(parameter, added, group)
            self._nsfl_step(self)
            for parameter, _, group in held:
                self._nsfl_correct.stepped(parameter, group)
        finally:
            for parameter, grad, _ in held:
                parameter.grad = grad
        return loss


class _Sources:
    """Tensors of the task's files, by parameter."""

    def __init__(self, task: Task, model: Optional[torch.nn.Module]) -> None:
        self.task = task
        self.model = model
        self.names: dict[int, str] = {}
        self.files: dict[str, Any] = {}
        self.held: dict[tuple[str, str], Optional[torch.Tensor]] = {}

    def name(self, parameter: torch.Tensor) -> str:
        if id(parameter) not in self.names:
            models = [self.model] if self.model is not None else [m for m in _names.models() if is_torch(m)]
            self.names = {id(p): name for m in reversed(models) for name, p in _named(m)}
            if id(parameter) not in self.names:
                raise OptimizerError(
                    f"the optimizer has a parameter of shape {list(parameter.shape)} that is in no loaded model: call "
                    "nsfl.load_weights(model) before the first step, or nsfl.create_optimizer(model=model, ...)"
                )
        return self.names[id(parameter)]

    def base(self, parameter: torch.Tensor) -> torch.Tensor:
        """A parameter's global weights."""
        x = self.get("base.safetensors", self.name(parameter), parameter)
        if x is None:
            raise OptimizerError(f"{self.name(parameter)!r} is not in the global weights")
        return x

    def get(self, file: str, name: str, like: torch.Tensor) -> Optional[torch.Tensor]:
        """A tensor of a file, on the parameter's device and of its type; None where file or tensor is not there."""
        key = (file, name)
        held = self.held.get(key)
        if key not in self.held or (held is not None and (held.device != like.device or held.dtype != like.dtype)):
            path = self.task.folder / file
            if file not in self.files:
                self.files[file] = opened(path, Torch()) if path.exists() else None
            opened_file = self.files[file]
            there = opened_file is not None and name in opened_file.keys()
            held = opened_file.get_tensor(name).to(device=like.device, dtype=like.dtype) if there else None
            self.held[key] = held
        return held


def _sign(group: dict[str, Any]) -> int:
    """A maximized loss has its sign turned inside step."""
    return -1 if group.get("maximize") else 1


def _named(model: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [(name, parameter) for name, parameter in unwrapped(model).named_parameters()]


class _FedProx:
    """g + μ(w − x) (Li et al. 2020, arXiv 1812.06127)."""

    def __init__(self, task: Task, job: dict[str, Any], model: Optional[torch.nn.Module]) -> None:
        self.mu = float(job.get("mu", 0.6))
        self.sources = _Sources(task, model)

    def corrected(self, parameter: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        x, mu = self.sources.base(parameter), _sign(group) * self.mu
        return grad.add(parameter, alpha=mu).sub_(x, alpha=mu)

    def stepped(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        pass


class _Perturbed:
    """w − ημ(w − x) before each step: the pull is not in the momentum (the optimizer in FedProx's own code)."""

    def __init__(self, task: Task, job: dict[str, Any], model: Optional[torch.nn.Module]) -> None:
        self.mu = float(job.get("mu", 0.01))
        self.sources = _Sources(task, model)

    def corrected(self, parameter: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        x = self.sources.base(parameter)
        parameter.sub_(parameter - x, alpha=float(group["lr"]) * self.mu)
        return grad

    def stepped(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        pass


class _FedDyn:
    """g + α(w − x) − h_i; see `_feddyn`."""

    def __init__(self, task: Task, job: dict[str, Any], model: Optional[torch.nn.Module]) -> None:
        self.alpha = float(job.get("alpha", ALPHA))
        self.sources = _Sources(task, model)
        self.trained: set[str] = set()

    def corrected(self, parameter: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        x, sign = self.sources.base(parameter), _sign(group)
        grad = grad.add(parameter, alpha=sign * self.alpha).sub_(x, alpha=sign * self.alpha)
        own = self.sources.get(FEDDYN_STATE, self.sources.name(parameter), parameter)
        return grad if own is None else grad.sub_(own, alpha=sign)

    def stepped(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        self.trained.add(self.sources.name(parameter))

    def steps(self) -> dict[str, float]:
        return dict.fromkeys(self.trained, 1.0)


class _Scaffold:
    """g + c − c_i, and the lengths of the steps taken; see `_scaffold`."""

    def __init__(self, task: Task, job: dict[str, Any], model: Optional[torch.nn.Module]) -> None:
        self.sources = _Sources(task, model)
        #: by tensor name: what a gradient of 1 at every step so far has built up in the momentum, and moved
        self.momentum: dict[str, float] = {}
        self.length: dict[str, float] = {}

    def corrected(self, parameter: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        name, sign = self.sources.name(parameter), _sign(group)
        c = self.sources.get("base.safetensors", CONTROL + name, parameter)
        if c is None:
            raise OptimizerError(
                f"the global weights have no control variate {CONTROL + name!r}: the job's initial model was made without"
            )
        own = self.sources.get(STATE, name, parameter)
        grad = grad.add(c, alpha=sign)
        return grad if own is None else grad.sub_(own, alpha=sign)

    def stepped(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        name = self.sources.name(parameter)
        lr, beta = float(group["lr"]), float(group.get("momentum", 0.0))
        first = name not in self.momentum
        # SGD takes the first gradient whole, whatever the dampening
        built = 1.0 if first else beta * self.momentum[name] + 1.0 - float(group.get("dampening", 0.0))
        self.momentum[name] = built
        length = lr * (1.0 + beta * built if group.get("nesterov") else built) if beta else lr
        self.length[name] = self.length.get(name, 0.0) + length

    def steps(self) -> dict[str, float]:
        return self.length


_CORRECTIONS: dict[str, Any] = {"fedprox": _FedProx, "pgd": _Perturbed, "scaffold": _Scaffold, "feddyn": _FedDyn}
