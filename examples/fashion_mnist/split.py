#!/usr/bin/env python3
"""Splits Fashion-MNIST over clients: `split.py IDX_FOLDER OUT [--clients 4] [--alpha 0.5] [--seed 1]`.

Makes OUT/client-1 … OUT/client-N, each with train.safetensors and test.safetensors: `x`, bytes [samples, 28, 28], and `y`,
classes 0 to 9. Every image goes to exactly one client. Classes are spread by a Dirichlet distribution: the smaller
alpha, the more each client has classes of its own; 0 spreads them evenly. The same arguments give the same files.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def idx(path):
    """An IDX file of bytes: big-endian magic 0x0000_08_dimensions, sizes, data."""
    data = gzip.decompress(path.read_bytes())
    dimensions = data[3]
    if data[:3] != b"\x00\x00\x08":
        raise SystemExit(f"{path}: no IDX file of bytes")
    shape = np.frombuffer(data, ">i4", dimensions, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def split(labels, shares, rng):
    """Rows for each client: of each class, in a random order, the share it gets."""
    rows = [[] for _ in range(shares.shape[1])]
    for label, share in enumerate(shares):
        mine = rng.permutation(np.flatnonzero(labels == label))
        ends = np.round(np.cumsum(share) * len(mine)).astype(int)[:-1]
        for client, part in enumerate(np.split(mine, ends)):
            rows[client].append(part)
    return [np.sort(np.concatenate(parts)) for parts in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with the four .gz files")
    parser.add_argument("out", type=Path)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    even = np.full((10, arguments.clients), 1 / arguments.clients)
    shares = rng.dirichlet([arguments.alpha] * arguments.clients, 10) if arguments.alpha > 0 else even
    for name, kind in (("train", "train"), ("test", "t10k")):
        images = idx(arguments.source / f"{kind}-images-idx3-ubyte.gz")
        labels = idx(arguments.source / f"{kind}-labels-idx1-ubyte.gz")
        for client, rows in enumerate(split(labels, shares, rng), 1):
            folder = arguments.out / f"client-{client}"
            folder.mkdir(parents=True, exist_ok=True)
            arrays = {"x": images[rows], "y": labels[rows].astype(np.int64)}
            save_file(arrays, folder / f"{name}.safetensors")
            print(f"client-{client} {name:<5} {len(rows):6} images, of each class {np.bincount(labels[rows], minlength=10)}")


if __name__ == "__main__":
    main()
