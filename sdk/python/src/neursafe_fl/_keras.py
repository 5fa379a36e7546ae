"""Named tensors of Keras 3 models, on any backend: those of `model.weights`, so neither metrics nor random seeds.

A weight's name is its path in the model, `conv2d/kernel`. Keras numbers the names it makes up (`conv2d_7`) by what the
process made before, so those numbers are counted anew within the model: the same model has the same names in every
process. Names that the script gave are kept.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors.numpy import save_file

from ._frameworks import CODES, Tensors
from .errors import UnknownModel


class Keras:
    library = "numpy"

    def tensors(self, model: Any) -> Tensors:
        return {name: value(variable) for name, variable in variables(model).items()}

    def specs(self, model: Any) -> Tensors:
        return variables(model)

    def assign(self, model: Any, get: Callable[[str], Any]) -> None:
        for name, variable in variables(model).items():
            variable.assign(get(name))

    def save(self, tensors: Tensors, path: Path) -> None:
        save_file({name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in tensors.items()}, path)

    def finite(self, tensor: Any) -> bool:
        return "float" not in str(tensor.dtype) or bool(np.isfinite(tensor).all())

    def like(self, tensor: Any, other: Any) -> Any:
        return np.asarray(tensor).astype(np.asarray(other).dtype)


def value(variable: Any) -> Any:
    """A variable's value as a NumPy array of the variable's own type."""
    array = np.asarray(keras.ops.convert_to_numpy(variable))
    kind = keras.backend.standardize_dtype(variable.dtype)
    if str(array.dtype) != kind and kind in CODES:  # PyTorch's backend widens bfloat16
        import ml_dtypes  # comes with Keras

        array = array.astype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
    return array


def variables(model: Any) -> dict[str, Any]:
    """The model's weights by stable, unique names, in Keras's order."""
    weights = model.weights
    if not weights:
        raise UnknownModel(
            f"the model {model.name!r} has no weights yet: give it an Input, call model.build(shape), or call it on a batch"
        )
    made_up = _made_up(model)
    taken: dict[str, dict[str, str]] = {}
    named: dict[str, Any] = {}
    for weight in weights:
        parts = weight.path.split("/")
        if len(parts) > 1 and parts[0] == model.name:
            del parts[0]
        name = ""
        for part in parts:
            name = f"{name}/{_counted(part, made_up, taken.setdefault(name, {}))}".lstrip("/")
        unique, number = name, 1
        while unique in named:
            unique, number = f"{name}_{number}", number + 1
        named[unique] = weight
    return named


def _counted(part: str, made_up: dict[str, str], siblings: dict[str, str]) -> str:
    """The name to use for a part of a path: a made-up one is numbered by the order among its siblings."""
    if part in siblings:
        return siblings[part]
    wanted = base = made_up.get(part, part)
    number = 1
    while wanted in siblings.values():
        wanted, number = f"{base}_{number}", number + 1
    siblings[part] = wanted
    return wanted


def _made_up(model: Any) -> dict[str, str]:
    """Layers' names that Keras made up → what they are without the number."""
    names: dict[str, str] = {}
    for layer in model._flatten_layers():
        base = _snake(type(layer).__name__)
        if re.fullmatch(rf"{re.escape(base)}(_\d+)?", layer.name):
            names[layer.name] = base
    return names


def _snake(name: str) -> str:
    """As Keras makes names of classes: Conv2D → conv2d, BatchNormalization → batch_normalization."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
