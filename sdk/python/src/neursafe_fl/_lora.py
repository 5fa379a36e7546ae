"""Adapters of a lower rank than the job's model: what is taken of the global weights, and what is handed over.

A is rank × columns, B rows × rank, under PEFT's names. A model of rank r takes the first r rows of A and columns of B. What it does
not take is handed over as it came; it must bring nothing, so B has to be 0 there.
"""

from collections.abc import Sequence
from typing import Any, Optional

from .errors import WrongShape


def narrower(name: str, own: Sequence[int], whole: Sequence[int]) -> bool:
    """Whether the shapes differ in the rank alone, and the model's own is the lower."""
    along = _along(name)
    if along is None or len(own) != 2 or len(whole) != 2:
        return False
    return own[along] < whole[along] and own[1 - along] == whole[1 - along]


def part(name: str, whole: Any, own: Sequence[int]) -> Any:
    """What a model of this shape takes of a tensor."""
    if list(whole.shape) == list(own):
        return whole
    if _along(name) == 0:
        return whole[: own[0]]
    if bool((whole[:, own[1] :] != 0).any()):
        raise WrongShape(
            f"load_weights: {name!r} is in use beyond rank {own[1]}, which is this model's: only lora's variant flora leaves B at 0 "
            f"for lower ranks; take rank {whole.shape[1]}"
        )
    return whole[:, : own[1]]


def whole(name: str, tensor: Any, base: Any) -> Any:
    """What a narrower model hands over: the base, with its own tensor in its place."""
    filled = base * 1
    if _along(name) == 0:
        filled[: tensor.shape[0]] = tensor
    else:
        filled[:, : tensor.shape[1]] = tensor
    return filled


def _along(name: str) -> Optional[int]:
    """The axis that is the rank."""
    return 0 if ".lora_A." in name else 1 if ".lora_B." in name else None
