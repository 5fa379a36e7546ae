"""DP-SGD and DP-Adam around PyTorch's optimizers (Abadi et al. 2016, arXiv 1607.00133).

`nsfl.backward` leaves the noisy mean of clipped gradients in `.grad`; `step()` is the wrapped optimizer's own, and refuses
gradients that came otherwise.
"""

import math
import os
from collections.abc import Callable
from typing import Any, Optional

import torch

from . import _private
from ._private import Noise, Settings
from .errors import BadValue, OptimizerError


def create(job: dict[str, Any], wrapped: Any, plain_step: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
    """See `create_optimizer`."""
    if os.environ.get("WORKER_NUM", "1") != "1":
        raise OptimizerError(f"{job['name']} takes one worker: between several, gradients are mixed before they are clipped")
    optimizer: Any = type("Private" + wrapped.__name__, (_Private, wrapped), {})(**kwargs)
    optimizer._nsfl_settings, optimizer._nsfl_noise = Settings(job), Noise(_private.key())
    optimizer._nsfl_step, optimizer._nsfl_ready = plain_step, False
    return optimizer


def backward(optimizer: Any, loss_of: Callable[..., Any], batch: tuple[Any, ...]) -> Any:
    """See `nsfl.backward`."""
    if isinstance(optimizer, _Private):
        return optimizer._nsfl_backward(loss_of, batch)
    loss = loss_of(*batch)
    loss.backward()
    return loss.detach()


class _Private:
    """Clips and adds noise in backward; mixed in before the wrapped class."""

    param_groups: list[dict[str, Any]]
    _nsfl_settings: Settings
    _nsfl_noise: Noise
    _nsfl_step: Callable[..., Any]
    _nsfl_ready: bool

    def step(self, closure: Optional[Callable[[], Any]] = None) -> Any:
        if closure is not None or not self._nsfl_ready:
            raise OptimizerError(
                "differential privacy needs the gradient of each sample: call nsfl.backward(optimizer, loss_of, *batch) before "
                "each step(), in the place of loss.backward() and without a closure"
            )
        self._nsfl_step(self)
        self._nsfl_ready = False

    def _nsfl_backward(self, loss_of: Callable[..., Any], batch: tuple[Any, ...]) -> Any:
        rows = {len(part) for part in batch}
        if len(rows) != 1:
            raise BadValue(f"backward: the parts of the batch have {sorted(rows)} rows, the same number is expected")
        count = rows.pop()
        parameters = [p for group in self.param_groups for p in group["params"] if p.requires_grad]
        sums = [torch.zeros_like(p) for p in parameters]
        loss = 0.0
        for i in range(count):
            for parameter in parameters:
                parameter.grad = None
            of_one = loss_of(*(part[i : i + 1] for part in batch))
            of_one.backward()
            loss = loss + of_one.detach() / count
            with torch.no_grad():
                self._nsfl_add(parameters, sums)
        with torch.no_grad():
            self._nsfl_mean(parameters, sums, count)
        self._nsfl_ready = True
        return torch.as_tensor(loss)

    def _nsfl_add(self, parameters: list[Any], sums: list[Any]) -> None:
        """Adds the gradient of a sample, clipped; one that is not finite adds nothing."""
        grads = [None if p.grad is None else p.grad.to_dense() if p.grad.is_sparse else p.grad for p in parameters]
        norms = [float(torch.linalg.vector_norm(g, dtype=torch.float64)) for g in grads if g is not None]
        norm, clip = math.hypot(*norms), self._nsfl_settings.clip
        if not math.isfinite(norm):
            return
        for grad, total in zip(grads, sums):
            if grad is not None:
                total.add_(grad, alpha=min(1.0, clip / norm) if norm > 0 else 1.0)

    def _nsfl_mean(self, parameters: list[Any], sums: list[Any], count: int) -> None:
        deviation, batch_size = self._nsfl_settings.deviation, self._nsfl_settings.batch_size or max(count, 1)
        drawn = self._nsfl_noise.normal(sum(p.numel() for p in parameters)) * deviation if deviation else None
        at = 0
        for parameter, total in zip(parameters, sums):
            if drawn is not None:
                noise = torch.from_numpy(drawn[at : at + parameter.numel()]).reshape(parameter.shape)
                total.add_(noise.to(total.dtype).to(total.device))
                at += parameter.numel()
            parameter.grad = total.div_(batch_size)
