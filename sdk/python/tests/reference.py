"""FedProx and SCAFFOLD in NumPy, on a linear model with mean squared error: what the frameworks must do, step by step."""

import numpy as np

RNG = np.random.default_rng(7)
X = RNG.normal(size=(6, 4, 3))  # six batches of four rows
Y = RNG.normal(size=(6, 4, 2))
W0 = RNG.normal(size=(3, 2))
B0 = RNG.normal(size=(2,))
C = {"kernel": RNG.normal(size=(3, 2)), "bias": RNG.normal(size=(2,))}
CI = {"kernel": RNG.normal(size=(3, 2)), "bias": RNG.normal(size=(2,))}


def gradients(w, x, y):
    error = 2 * (x @ w["kernel"] + w["bias"] - y) / y.size
    return {"kernel": x.T @ error, "bias": error.sum(0)}


def train(job, lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0, decoupled=False, mu=0.6):
    """Weights after each step; for scaffold the client's new control variate too."""
    base = {"kernel": W0, "bias": B0}
    w = {name: value.copy() for name, value in base.items()}
    v = {name: np.zeros_like(value) for name, value in base.items()}
    path, weight, total = [], 0.0, 0.0
    for x, y in zip(X, Y):
        g = gradients(w, x, y)
        weight = momentum * weight + 1
        total += lr * (1 + momentum * weight if nesterov else weight)
        for name in w:
            if decoupled:
                w[name] = w[name] * (1 - lr * weight_decay)
            added = mu * (w[name] - base[name]) if job == "fedprox" else C[name] - CI[name]
            d = g[name] + added + (0 if decoupled else weight_decay * w[name])
            v[name] = momentum * v[name] + d
            w[name] = w[name] - lr * (d + momentum * v[name] if nesterov else v[name])
        path.append({name: value.copy() for name, value in w.items()})
    own = {name: CI[name] - C[name] + (base[name] - w[name]) / total for name in w}
    return path, own
