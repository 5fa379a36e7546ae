"""Which tensor a parameter is: the names of models that the script has loaded, for optimizers that get parameters only."""

import weakref
from typing import Any

_models: list["weakref.ref[Any]"] = []


def loaded(model: Any) -> None:
    """Remembers a model, the newest first."""
    _models[:] = [ref for ref in _models if ref() is not None and ref() is not model]
    _models.insert(0, weakref.ref(model))


def models() -> list[Any]:
    """Those that are still there."""
    return [model for ref in _models if (model := ref()) is not None]
