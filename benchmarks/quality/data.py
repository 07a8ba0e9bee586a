"""Who has which examples: a test set for all, and a shard a peer, in which classes are as unequal as is asked for.

Used by `training`. Guarantees: the same seed gives the same shards on every machine; an example is in the test set or
in exactly one shard; no shard is smaller than FEWEST.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swarm.core.merge.method import Array
from swarm.errors import BadInput
from swarm.nodes.demo import examples
from swarm.nodes.demo.examples import TEST_SHARE, Examples

FEWEST = 10
DRAWS = 10_000
"""So often shares are drawn until no peer has too few examples."""


@dataclass(frozen=True)
class Shards:
    """Rows of the examples: of the test set, and of each peer."""

    test: Array
    peers: tuple[Array, ...]

    @property
    def train(self) -> Array:
        return np.concatenate(self.peers)


def load(dataset: str) -> Examples:
    """`digits`, or `mnist`: the 10,000 images in the folder DATA_DIR, and the digits where there are none."""
    return examples.load(str(mnist()) if dataset == "mnist" and mnist() else "digits")


def mnist() -> Path | None:
    found = sorted(Path(os.environ.get("DATA_DIR", "/nowhere")).glob("mnist*.npz"))
    return found[0] if found else None


def shards(labels: Array, peers: int, alpha: float | None, seed: int) -> Shards:
    """Each class goes to the peers by shares from Dirichlet(α); None: all peers' shards are alike.

    As Hsu, Qi, Brown (2019), "Measuring the Effects of Non-Identical Data Distribution", with shares drawn class by
    class.
    """
    random = np.random.default_rng([seed, 1])
    order = random.permutation(len(labels))
    held_out = round(TEST_SHARE * len(labels))
    test, train = order[:held_out], order[held_out:]
    if alpha is None:
        return Shards(test, tuple(np.array_split(train, peers)))
    for _ in range(DRAWS):
        parts = _drawn(labels, train, peers, alpha, random)
        if min(len(part) for part in parts) >= FEWEST:
            return Shards(test, parts)
    raise BadInput(f"{len(train)} examples cannot be shared by {peers} peers with skew {alpha}: some get next to none")


def _drawn(labels: Array, train: Array, peers: int, alpha: float, random: np.random.Generator) -> tuple[Array, ...]:
    pieces: list[list[Array]] = [[] for _ in range(peers)]
    for one in np.unique(labels):
        rows = train[labels[train] == one]
        ends = np.rint(np.cumsum(random.dirichlet(np.full(peers, alpha))) * len(rows)).astype(int)[:-1]
        for peer, piece in zip(pieces, np.split(rows, ends), strict=True):
            peer.append(piece)
    return tuple(np.concatenate(peer) for peer in pieces)
