"""The federated optimizers in NumPy, on a linear model with mean squared error: what the frameworks and the native
trainers must do, step by step.

`python reference.py` writes the golden file that the tests of `lib/optimizer` read."""

import json
import math
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parents[3] / "lib/optimizer/tests/golden/steps.json"

RNG = np.random.default_rng(7)
X = RNG.normal(size=(20, 4, 3))  # twenty batches of four rows
Y = RNG.normal(size=(20, 4, 2))
W0 = RNG.normal(size=(3, 2))
B0 = RNG.normal(size=(2,))
C = {"kernel": RNG.normal(size=(3, 2)), "bias": RNG.normal(size=(2,))}
# SCAFFOLD's c_i, FedDyn's h_i
CI = {"kernel": RNG.normal(size=(3, 2)), "bias": RNG.normal(size=(2,))}
KEY = bytes(range(32))

#: the parameters that differ from the defaults, by optimizer
PARAMETERS = {
    "fedprox": {"mu": 0.3},
    "pgd": {"mu": 0.3},
    "scaffold": {},
    "feddyn": {"alpha": 0.2},
    "dp_sgd": {"clip": 0.8, "noise_multiplier": 0.5, "batch_size": 4},
    "dp_adam": {"clip": 0.8, "noise_multiplier": 0.5, "batch_size": 4},
}
SETTINGS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.5, "weight_decay": 0.1},
]
ADAM_SETTINGS = [{}, {"weight_decay": 0.1}]


def gradients(w, x, y):
    error = 2 * (x @ w["kernel"] + w["bias"] - y) / y.size
    return {"kernel": x.T @ error, "bias": error.sum(0)}


def train(job, lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0, decoupled=False):
    """Weights after each step, and what the client keeps: SCAFFOLD's new c_i, FedDyn's h_i."""
    given = PARAMETERS.get(job, {})
    base = {"kernel": W0, "bias": B0}
    w = {name: value.copy() for name, value in base.items()}
    v = {name: np.zeros_like(value) for name, value in base.items()}
    second = {name: np.zeros_like(value) for name, value in base.items()}
    normal = normals(KEY)
    path, weight, total = [], 0.0, 0.0
    for step, (x, y) in enumerate(zip(X, Y), 1):
        g = private(w, x, y, given, normal) if job in ("dp_sgd", "dp_adam") else gradients(w, x, y)
        weight = momentum * weight + 1
        total += lr * (1 + momentum * weight if nesterov else weight)
        for name in w:
            if decoupled:
                w[name] = w[name] * (1 - lr * weight_decay)
            if job == "pgd":
                w[name] = w[name] - lr * given["mu"] * (w[name] - base[name])
            away = w[name] - base[name]
            added = {
                "fedprox": lambda: given["mu"] * away,
                "scaffold": lambda: C[name] - CI[name],
                "feddyn": lambda: given["alpha"] * away - CI[name],
            }.get(job, lambda: 0.0)()
            d = g[name] + added + (0 if decoupled else weight_decay * w[name])
            if job == "dp_adam":
                v[name] = 0.9 * v[name] + 0.1 * d
                second[name] = 0.999 * second[name] + 0.001 * d * d
                root = np.sqrt(second[name] / (1 - 0.999**step))
                w[name] = w[name] - lr * v[name] / (1 - 0.9**step) / (root + 1e-8)
                continue
            v[name] = momentum * v[name] + d
            w[name] = w[name] - lr * (d + momentum * v[name] if nesterov else v[name])
        path.append({name: value.copy() for name, value in w.items()})
    if job == "scaffold":
        return path, {name: CI[name] - C[name] + (base[name] - w[name]) / total for name in w}
    if job == "feddyn":
        return path, {name: CI[name] - given["alpha"] * (w[name] - base[name]) for name in w}
    return path, None


def private(w, x, y, given, normal):
    """The clipped gradients of the rows, summed up, with noise, divided by the batch's size (Abadi et al. 2016)."""
    total = {name: np.zeros_like(value) for name, value in w.items()}
    for i in range(len(x)):
        g = gradients(w, x[i : i + 1], y[i : i + 1])
        norm = math.sqrt(sum((value**2).sum() for value in g.values()))
        for name in total:
            total[name] += g[name] * min(1, given["clip"] / norm)
    deviation = given["clip"] * given["noise_multiplier"]
    # by name, and within a tensor as PyTorch has it: `weight` is the kernel's transpose
    drawn = [deviation * next(normal) for _ in range(8)]
    total["bias"] += np.array(drawn[:2])
    total["kernel"] += np.array(drawn[2:]).reshape(2, 3).T
    return {name: value / given["batch_size"] for name, value in total.items()}


def normals(key):
    """Box and Muller of 53-bit numbers from the key stream."""
    stream = words(key)
    uniform = lambda: ((next(stream) | next(stream) << 32) >> 11) / 2**53
    while True:
        radius = math.sqrt(-2 * math.log(uniform() + 2**-53))
        angle = 2 * math.pi * uniform()
        yield radius * math.cos(angle)
        yield radius * math.sin(angle)


def words(key):
    """ChaCha20's key stream (RFC 8439) with zero nonce, as 32-bit words."""
    start = [int.from_bytes(b"expand 32-byte k"[i : i + 4], "little") for i in range(0, 16, 4)]
    start += [int.from_bytes(key[i : i + 4], "little") for i in range(0, 32, 4)] + [0] * 4
    rotated = lambda value, n: (value << n | value >> (32 - n)) & 0xFFFFFFFF
    rounds = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
    rounds += [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    while True:
        s = list(start)
        for _ in range(10):
            for a, b, c, d in rounds:
                for i, j, k, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                    s[i] = (s[i] + s[j]) & 0xFFFFFFFF
                    s[k] = rotated(s[k] ^ s[i], n)
        yield from ((value + first) & 0xFFFFFFFF for value, first in zip(s, start))
        start[12] += 1


def golden():
    """All of it in the order of the native trainers: `bias`, then `weight`, the kernel's transpose."""
    flat = lambda values: [*values["bias"].tolist(), *values["kernel"].T.ravel().tolist()]
    cases = []
    for job in [None, *PARAMETERS]:
        for settings in ADAM_SETTINGS if job == "dp_adam" else SETTINGS:
            path, kept = train(job, **settings)
            case = {"optimizer": job, "parameters": PARAMETERS.get(job, {}), "settings": {"learning_rate": 0.1, **settings}}
            case["weights"] = [flat(step) for step in path]
            cases.append(case | ({} if kept is None else {"kept": flat(kept)}))
    return {
        "made_by": "sdk/python/tests/reference.py",
        "inputs": X.tolist(),
        "targets": Y.tolist(),
        "start": flat({"kernel": W0, "bias": B0}),
        "control": flat(C),
        "own": flat(CI),
        "key": list(KEY),
        "cases": cases,
    }


if __name__ == "__main__":
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    held = golden()
    # a case and a step a line
    lines = [",\n  ".join(json.dumps(step) for step in case.pop("weights")) for case in held["cases"]]
    cases = [json.dumps(case)[:-1] + f', "weights": [\n  {steps}]}}' for case, steps in zip(held.pop("cases"), lines)]
    rest = ",\n ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in held.items())
    GOLDEN.write_text("{" + rest + ',\n "cases": [\n ' + ",\n ".join(cases) + "]}\n")
