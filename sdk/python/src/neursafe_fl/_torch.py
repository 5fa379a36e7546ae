"""Named tensors of PyTorch modules: those of `state_dict()`, buffers included, under the names they have there.

Wrappers that only add a prefix to names (DataParallel, DistributedDataParallel, torch.compile) are looked through.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ._frameworks import Tensors
from .errors import UnknownModel


class Torch:
    library = "pt"

    def tensors(self, model: Any) -> Tensors:
        held = state(model)
        return {name: tensor.to("cpu").contiguous() for name, tensor in held.items()}

    def specs(self, model: Any) -> Tensors:
        return dict(state(model))

    def assign(self, model: Any, get: Callable[[str], Any]) -> None:
        with torch.no_grad():
            for name, tensor in state(model).items():
                tensor.copy_(get(name))

    def save(self, tensors: Tensors, path: Path) -> None:
        written: dict[str, torch.Tensor] = {}
        stored: set[int] = set()
        for name, tensor in tensors.items():
            storage = tensor.untyped_storage()
            # safetensors refuses tied weights and parts of larger arrays
            whole = storage.nbytes() == tensor.numel() * tensor.element_size() and storage.data_ptr() not in stored
            written[name] = tensor if whole else tensor.clone()
            stored.add(storage.data_ptr())
        save_file(written, path)

    def finite(self, tensor: Any) -> bool:
        return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())

    def like(self, tensor: Any, other: Any) -> Any:
        return tensor.to(other.dtype)


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The module's tensors by name, detached, in their own memory."""
    held = unwrapped(model).state_dict()
    odd = [name for name, value in held.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise UnknownModel(f"state_dict() of the model has {odd[0]!r}, which is no tensor: such state cannot be averaged")
    if not held:
        raise UnknownModel("the model has no tensors: state_dict() is empty")
    lazy = [name for name, value in held.items() if torch.nn.parameter.is_lazy(value)]
    if lazy:
        raise UnknownModel(f"{lazy[0]!r} has no shape yet: call the model on a batch first")
    return held


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, parallel):
            model = model.module
        elif isinstance(compiled := getattr(model, "_orig_mod", None), torch.nn.Module):
            model = compiled
        else:
            return model
