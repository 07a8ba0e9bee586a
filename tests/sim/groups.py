"""Groups: in which worlds learning nodes merge among themselves and, through their leaders, with each other.

Drawn from a random stream of its own: worlds without groups are what they were before there were any.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

SHARE = 0.0625
"""A world with groups costs as much as four others."""
UNGROUPED, UPPER = "digits", "all"
"""The contract of learning nodes in no group; that in which groups merge."""
NAMES = ("eu", "us", "asia")
THREE = 6
"""With so many learning nodes there may be three groups."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a learning node takes part. ``upper``: the contract in which it merges for its group, if it leads that."""

    contract: str = UNGROUPED
    upper: str = ""


ALONE = Place()


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    size: int
    min_peers: int
    every: int

    def options(self, common: dict[str, Any], groups: int) -> dict[str, Any]:
        """``common``: what the world's contracts say."""
        same = {name: common[name] for name in ("topology", "tooFewPeersSeconds")}
        above = {"upper": UPPER, "upperEvery": self.every, "upperPeers": groups}
        return {"minPeers": self.min_peers, "onTooFewPeers": "wait", **same, **above}

    def places(self) -> list[Place]:
        """The first one leads."""
        return [Place(self.name, "" if n else UPPER) for n in range(self.size)]


def drawn(seed: int, learners: int, *, always: bool) -> list[Group]:
    """Those of a world; most have none. Together they have all learning nodes."""
    random = Random(f"groups of {seed}")
    if not always and random.random() >= SHARE:
        return []
    count = random.choice((2, 3)) if learners >= THREE else 2
    cuts = [0, *sorted(random.sample(range(1, learners), count - 1)), learners]
    sizes = [stop - start for start, stop in pairwise(cuts)]
    every = random.choice((1, 1, 2, 3))
    return [
        Group(name, size, random.randint((size + 1) // 2, size), every)
        for name, size in zip(NAMES, sizes, strict=False)
    ]
