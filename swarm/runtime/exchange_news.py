"""News of an exchange: what it tells who began it.

Made by `runtime/exchange` in any of its threads, heard by ``nodes/learning``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from swarm.errors import SwarmError


@dataclass(frozen=True, slots=True)
class Scattered:
    """All contributions to the own shards are here."""


@dataclass(frozen=True, slots=True)
class Owing:
    """Who still owes how many bytes; told every second."""

    owed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Stalling:
    """A member's bytes do not come, or cannot be used. ``alive``: as of `core/exchanging_steps.Blame`."""

    uid: str
    reason: str
    alive: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """This member holds the result. ``shards``: the digests of the snap's shards, then of what is said about each."""

    digest: str
    shards: tuple[bytes, ...]
    phases_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class Stuck:
    """This member itself cannot go on."""

    error: SwarmError


News = Scattered | Owing | Stalling | Done | Stuck
