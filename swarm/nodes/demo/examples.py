"""The demo's data: one dataset, split by seed into a common test set and one shard a peer, each with its own classes.

Called by `play`. Guarantees: the same seed gives the same split on every machine; the test set is in no shard; every
training example is in exactly one shard.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swarm.errors import BadInput

Array = np.ndarray[Any, Any]

TEST_SHARE = 0.2
FOREIGN_SHARE = 0.01
"""The part of each class that lies with the peers it does not belong to. With 3 % a peer alone would pass 0.70."""

_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Examples:
    x: Array
    """float32, one row an example, in 0..1."""
    y: Array
    """int64, 0..classes-1."""

    def __len__(self) -> int:
        return len(self.y)

    def part(self, rows: Array) -> Examples:
        return Examples(self.x[rows], self.y[rows])

    def save(self, path: Path) -> None:
        np.savez(path, x=self.x, y=self.y)


@dataclass(frozen=True)
class Split:
    test: Examples
    shards: tuple[Examples, ...]
    owned: tuple[tuple[int, ...], ...]
    """Whose classes are whose, by peer."""
    pooled: Examples
    """All shards together."""
    classes: int


def load(dataset: str) -> Examples:
    """`digits` (from scikit-learn), or an npz file with the keys of Keras' mnist.npz."""
    if dataset == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return Examples((digits.data / 16).astype(np.float32), digits.target.astype(np.int64))
    return _load_npz(Path(dataset))


def split(examples: Examples, peers: int, seed: int) -> Split:
    """Raises BadInput when there are not enough classes or examples for so many peers."""
    classes = len(np.unique(examples.y))
    if peers > classes:
        raise BadInput(f"{peers} peers cannot share {classes} classes", hint=f"--peers {classes} or fewer")
    random = np.random.default_rng(seed)
    order = random.permutation(len(examples))
    held_out = math.ceil(TEST_SHARE * len(examples))
    train = order[held_out:]
    owned = [tuple(int(one) for one in block) for block in np.array_split(np.unique(examples.y), peers)]
    rows: list[list[Array]] = [[] for _ in owned]
    for peer, block in enumerate(owned):
        others = [other for other in range(peers) if other != peer]
        for one in block:
            of_class = train[examples.y[train] == one]
            foreign = round(FOREIGN_SHARE * len(of_class)) if others else 0
            rows[peer].append(of_class[foreign:])
            for other, piece in zip(others, np.array_split(of_class[:foreign], max(1, len(others))), strict=False):
                rows[other].append(piece)
    shards = tuple(examples.part(random.permutation(np.concatenate(pieces))) for pieces in rows)
    return Split(examples.part(order[:held_out]), shards, tuple(owned), examples.part(train), classes)


def _load_npz(path: Path) -> Examples:
    try:
        with np.load(path) as file:
            missing = [key for key in _NPZ_KEYS if key not in file.files]
            if missing:
                raise BadInput(
                    f"dataset {path} has no array {missing[0]!r}, expected {' '.join(_NPZ_KEYS)}",
                    hint="np.savez(FILE, x_train=…, y_train=…, x_test=…, y_test=…), as Keras' mnist.npz",
                )
            x = np.concatenate([file["x_train"], file["x_test"]])
            y = np.concatenate([file["y_train"], file["y_test"]])
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadInput(
            f"dataset {path} cannot be read: {getattr(error, 'strerror', None) or 'it is no npz file of numbers'}",
            hint="--dataset digits, or an npz file with x_train y_train x_test y_test",
        ) from error
    if y.ndim != 1 or len(x) != len(y) or len(y) < 10:
        raise BadInput(f"dataset {path}: x has shape {x.shape} and y {y.shape}, expected one label for each example")
    scale = float(np.abs(x).max()) or 1.0
    features = (x.reshape(len(x), -1) / scale).astype(np.float32)
    if not np.isfinite(features).all():
        raise BadInput(
            f"dataset {path}: x has values that are not finite numbers", hint="look for NaN and infinity in it first"
        )
    return Examples(features, np.unique(y, return_inverse=True)[1].astype(np.int64))
