"""A plain NumPy loop over updates in safetensors files, as other frameworks average: x + Σ nᵢΔᵢ / Σ nᵢ.

`mean.py REPEATS base.safetensors update.safetensors…` prints the shortest time of a round in seconds; reading the files is not in it.
"""

import sys
import time

import numpy as np


def weights(path):
    raw = np.fromfile(path, dtype=np.uint8)
    return raw[8 + int.from_bytes(raw[:8].tobytes(), "little") :].view(np.float32)


def mean(base, updates):
    total = sum(100.0 + i for i in range(len(updates)))
    summed = np.zeros_like(base)
    for i, update in enumerate(updates):
        summed += np.float32((100.0 + i) / total) * update
    return base + summed


def timed(base, updates):
    began = time.perf_counter()
    mean(base, updates)
    return time.perf_counter() - began


base, *updates = [weights(path) for path in sys.argv[2:]]
print(min(timed(base, updates) for _ in range(int(sys.argv[1]))))
