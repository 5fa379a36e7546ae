"""What the SDK needs of a framework, and which one an object belongs to. Frameworks are imported by the script, not here."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from .errors import UnknownModel

#: name → array of the framework, or of NumPy
Tensors = dict[str, Any]


class Framework(Protocol):
    """Named tensors of a model, and their files."""

    #: what safetensors calls it
    library: str

    def tensors(self, model: Any) -> Tensors:
        """Every tensor of the model, its own name → array in the computer's memory, without a copy where that can be."""

    def specs(self, model: Any) -> Tensors:
        """As `tensors`, of things that have `shape` and `dtype` only."""

    def assign(self, model: Any, get: Callable[[str], Any]) -> None:
        """Sets every tensor of the model to what `get` has for its name."""

    def save(self, tensors: Tensors, path: Path) -> None:
        """Writes a safetensors file."""

    def finite(self, tensor: Any) -> bool:
        """No NaN, no infinity; true of whole numbers."""

    def like(self, tensor: Any, other: Any) -> Any:
        """`tensor` in the type of `other`."""

#: names of types in safetensors' headers
CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}


def code(tensor: Any) -> str:
    """The type of an array as safetensors calls it."""
    name = str(tensor.dtype).removeprefix("torch.")
    return CODES.get(name, name)


def of_model(model: Any, what: str) -> Framework:
    """The framework of a model.

    Raises:
        UnknownModel: it is neither PyTorch's nor Keras's.
    """
    # Keras's models are PyTorch modules too on its torch backend: ask Keras first
    if is_keras(model):
        from . import _keras

        return _keras.Keras()
    if is_torch(model):
        from . import _torch

        return _torch.Torch()
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    raise UnknownModel(f"{what} takes a PyTorch module (torch.nn.Module) or a Keras 3 model (keras.Model), not {kind}")


def is_keras(model: Any) -> bool:
    keras = sys.modules.get("keras")
    layer = getattr(keras, "Layer", None)
    return layer is not None and isinstance(model, layer)


def is_torch(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)
