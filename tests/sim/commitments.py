"""Contracts with ``commitments: full``: which worlds have them, who lies there, and how leaves are committed to.

Every offer carries a Merkle root and every piece of it comes with its proof, so a contribution that is not what was
offered is found out by whoever pulls it; an owner that signs one shard for one and another for another is convicted by
what it has signed. Some of these worlds take an outer step with momentum, which a base's digest covers (I12).

Drawn from a random stream of its own: worlds without are what they were before there were any.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from random import Random
from typing import Any

from swarm.wire import merkle
from tests.sim.history import Values

SHARE = 0.03
HASH = "sha256"


@dataclass(frozen=True, slots=True)
class Full:
    """``liars``: what somebody lies about, how often, and who that is (a share of the list of learning nodes)."""

    sharded: bool
    steps: bool
    liars: dict[str, tuple[float, float]] = field(default_factory=dict)

    def options(self, common: dict[str, Any], learners: int) -> dict[str, Any]:
        """``common``: what the world's contracts say. Who is convicted is gone for good, and the others go on."""
        least = min(common["minPeers"], learners - ("shard" in self.liars))
        topology = "sharded" if self.sharded else common["topology"]
        steps = {"outer": "nesterov"} if self.steps else {}
        return {**common, "minPeers": least, "topology": topology, "commitments": "full", **steps}

    def corrupt(self, nodes: list[Any]) -> None:
        """Nobody else lies about what it sends."""
        for node in nodes:
            node.lies = {what: chance for what, chance in node.lies.items() if what == "base"}
        for what, (chance, who) in self.liars.items():
            nodes[int(who * len(nodes))].lies[what] = chance


def drawn(seed: int, *, always: bool) -> Full | None:
    """Of a world; most have none."""
    random = Random(f"commitments of {seed}")
    if not always and random.random() >= SHARE:
        return None
    about = random.choice(((), ("shard",), ("shard",), ("shard",), ("contribution",), ("shard", "contribution")))
    liars = {what: (random.choice((0.05, 0.2, 0.6)), random.random()) for what in about}
    return Full(random.random() < 0.8, random.random() < 0.5, liars)


# ---- leaves


def leaf_hashes(values: Values) -> bytes:
    return b"".join(hashlib.sha256(struct.pack("f", value)).digest() for value in values)


def root(values: Values) -> bytes:
    return merkle.root(leaf_hashes(values), HASH)


def proof(values: Values, first: int, stop: int) -> bytes:
    return merkle.proof(leaf_hashes(values), first, stop, HASH) if first < stop else b""


def belong(root_: bytes, leaves: int, first: int, values: Values, shown: bytes) -> bool:
    """Whether these values are leaves of what was offered with this root, from ``first`` on."""
    return not values or merkle.verify(root_, leaves, first, leaf_hashes(values), shown, HASH)
