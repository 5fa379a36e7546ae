"""Differential privacy for each sample, the same for every framework (Abadi et al. 2016, arXiv 1607.00133): the settings, and
Gaussian noise from ChaCha20 (RFC 8439) under a key of the operating system's.

Frameworks' own generators are predictable from what they gave, and the seed of a task is known to the server, so the noise
is drawn from neither. Numbers are made as in `lib/optimizer`: two 64-bit words of the key stream give two normals (Box and
Muller 1958).
"""

import os
from typing import Any

import numpy as np

#: the job's optimizers of this kind, and the framework's optimizer that each stands for
WRAPPED = {"dp_sgd": "SGD", "dp_adam": "Adam"}
#: blocks of the key stream made at once
_BLOCKS = 1 << 14
_CONSTANTS = np.frombuffer(b"expand 32-byte k", "<u4")


def key() -> bytes:
    """A key that nobody else knows."""
    return os.urandom(32)


class Settings:
    """What the job's optimizer says."""

    def __init__(self, job: dict[str, Any]) -> None:
        #: C, the bound on the norm of each sample's gradient
        self.clip = float(job.get("clip", 1.0))
        #: of the sum of clipped gradients: σC
        self.deviation = float(job.get("noise_multiplier", 1.0)) * self.clip
        #: L, samples expected in a batch; None: those that are in it
        self.batch_size = float(job["batch_size"]) if job.get("batch_size") is not None else None


class Noise:
    """Normal numbers from a key."""

    def __init__(self, secret: bytes) -> None:
        self._key = np.frombuffer(secret, "<u4")
        #: pairs of numbers drawn so far, four to a block
        self._pairs = 0

    def normal(self, count: int) -> Any:
        """The next `count` numbers of mean 0 and deviation 1, float64; pairs are not split between calls."""
        pairs = -(-count // 2)
        parts = [self._drawn(min(4 * _BLOCKS, pairs - start)) for start in range(0, pairs, 4 * _BLOCKS)]
        return np.concatenate(parts)[:count] if parts else np.zeros(0)

    def _drawn(self, pairs: int) -> Any:
        first, last = self._pairs // 4, -(-(self._pairs + pairs) // 4)
        words = blocks(self._key, first, last - first).reshape(-1, 4)[self._pairs - 4 * first :][:pairs].astype(np.uint64)
        self._pairs += pairs
        low, high = words[:, 0::2], words[:, 1::2]
        uniform = ((low | high << np.uint64(32)) >> np.uint64(11)).astype(np.float64) / 2.0**53
        # above 0, so that the logarithm is finite
        radius = np.sqrt(-2.0 * np.log(uniform[:, 0] + 2.0**-53))
        angle = 2.0 * np.pi * uniform[:, 1]
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


def blocks(key: Any, first: int, count: int) -> Any:
    """Blocks of ChaCha20's key stream with zero nonce, a row of 16 words each."""
    counter = np.arange(first, first + count, dtype=np.uint64)
    start = np.empty((16, count), np.uint32)
    start[:4], start[4:12], start[14:] = _CONSTANTS[:, None], key[:, None], 0
    start[12], start[13] = counter & np.uint64(0xFFFFFFFF), counter >> np.uint64(32)
    a, b, c, d = start[:4].copy(), start[4:8].copy(), start[8:12].copy(), start[12:].copy()
    for _ in range(10):
        a, b, c, d = _quarter(a, b, c, d)
        a, b, c, d = _quarter(a, np.roll(b, -1, 0), np.roll(c, -2, 0), np.roll(d, -3, 0))
        b, c, d = np.roll(b, 1, 0), np.roll(c, 2, 0), np.roll(d, 3, 0)
    return (np.concatenate([a, b, c, d]) + start).T


def _quarter(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    """Four quarter rounds at once."""
    a = a + b
    d = _rotated(d ^ a, 16)
    c = c + d
    b = _rotated(b ^ c, 12)
    a = a + b
    d = _rotated(d ^ a, 8)
    c = c + d
    b = _rotated(b ^ c, 7)
    return a, b, c, d


def _rotated(words: Any, bits: int) -> Any:
    return (words << np.uint32(bits)) | (words >> np.uint32(32 - bits))
