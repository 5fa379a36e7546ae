"""SCAFFOLD's bookkeeping, the same for every framework (Karimireddy et al. 2020, arXiv 1910.06378, option II).

A local step adds c − c_i to the gradient. After the round c_i⁺ = c_i − c + (x − y)/(K·η). Under momentum and changing
learning rates K·η is the sum of the lengths of the steps really taken, by how much in all a gradient of 1 at every step
would have moved a weight: then c_i⁺ is the weighted mean of the client's gradients along its path, as in the paper.
"""

from collections.abc import Callable
from typing import Any

#: prefix of the global control variate's tensors in base and weights
CONTROL = "scaffold.c/"
#: the client's own control variate, kept for the next round; below out/ the new one
STATE = "state/scaffold.safetensors"


class Control:
    """What the optimizer has counted: by tensor name, the sum of step lengths; for FedDyn any number of what was trained."""

    def __init__(self, steps: Callable[[], dict[str, float]]) -> None:
        self.steps = steps


def unwrapped(optimizer: Any) -> Any:
    """Keras's loss scaling wraps the optimizer."""
    return getattr(optimizer, "inner_optimizer", optimizer)
