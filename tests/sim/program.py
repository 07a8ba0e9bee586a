"""The training program, as far as its learning node sees it, and what all programs of a world agree on.

Weights are a few numbers, one for each leaf of the contract's schema; the digest of a model is a hash of them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from swarm.core.tensors import LEAF_BYTES, Schema, TensorSpec
from tests.sim.history import Values


def schema_of(leaves: int) -> Schema:
    return Schema((TensorSpec("weights", "float32", (leaves * LEAF_BYTES // 4,)),))


def digest_of(values: Values) -> str:
    return "sha256:" + hashlib.sha256(repr(values).encode()).hexdigest()


def rounded(values: Iterable[float]) -> Values:
    """As float32 holds them."""
    exact = tuple(values)
    return struct.unpack(f"{len(exact)}f", struct.pack(f"{len(exact)}f", *exact))


def packed(values: Values, nbytes: int) -> bytes:
    return struct.pack(f"{len(values)}f", *values).ljust(nbytes, b"\0")


@dataclass(frozen=True, slots=True)
class Terms:
    """What all programs of a world agree on."""

    leaves: int
    schema: list[Any]
    options: dict[str, Any]
    rounds: int
    train_s: tuple[float, float]

    @property
    def newer(self) -> bool:
        """Whether the options are such as the first version of the ledger's rules did not have."""
        return bool({"pickPeers", "asyncGoal", "upper"} & self.options.keys())

    @property
    def full(self) -> bool:
        """Whether every leaf of an offer is committed to."""
        return self.options.get("commitments") == "full"

    @property
    def initial_base(self) -> str:
        return digest_of((float(self.leaves),))

    @property
    def small(self) -> Schema:
        """The schema of the numbers that stand for the leaves."""
        return Schema((TensorSpec("weights", "float32", (self.leaves,)),))


class Program:
    """The training program. ``values`` are its weights."""

    def __init__(self, values: Values, rounds: int) -> None:
        self.values = values
        self.batches = 0
        self.asks = 0
        self.rounds = rounds
        self.over = False
