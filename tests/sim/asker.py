"""Who waits for an answer of a network node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarm.core.asking import Asked


@dataclass(slots=True)
class Asker:
    """Who waits for a number: a client (with its own number), or another SN that has forwarded."""

    who: Any
    life: int
    number: int
    raw: bytes
    """Empty: a read."""
    hops: int
    """How often it may still be passed on."""

    def asked(self, number: int, wall_ms: int) -> Asked:
        return Asked(number, self.raw, wall_ms, self.who.identity.anchor)
