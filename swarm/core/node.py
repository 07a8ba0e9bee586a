"""The node: a process that the ledger has admitted, and what became of its last proposals.

Kept by the ledger, read by others. Guarantees: an outcome stays recorded for the last `WINDOW` proposals of the current
and of the previous incarnation, with the digest of the signed bytes that it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from swarm.core.events import Outcome, Verified
from swarm.core.names import Identity
from swarm.errors import Refused

WINDOW = 64
"""How many of an author's last proposals have their outcome recorded."""


def starts(incarnation: bytes) -> int:
    """The start counter of the state directory, which an incarnation begins with."""
    return int.from_bytes(incarnation[:8], "big")


@dataclass(slots=True)
class Outcomes:
    """What became of the last proposals of one incarnation, by seq; with the digest of each one's signed bytes."""

    incarnation: bytes
    highest: int = 0
    of: dict[int, tuple[bytes, Outcome]] = field(default_factory=dict)

    def record(self, seq: int, digest: bytes, outcome: Outcome) -> None:
        self.of[seq] = (digest, outcome)
        self.highest = max(self.highest, seq)
        for old in [old for old in self.of if old <= self.highest - WINDOW]:
            del self.of[old]

    def to_state(self) -> list[Any]:
        rows = [
            [seq, digest, o.index, o.accepted, o.code, o.reason, o.result, o.hint]
            for seq, (digest, o) in sorted(self.of.items())
        ]
        return [self.incarnation, self.highest, rows]

    @classmethod
    def from_state(cls, state: list[Any]) -> Outcomes:
        incarnation, highest, rows = state
        return cls(incarnation, highest, {seq: (digest, Outcome(*rest)) for seq, digest, *rest in rows})


@dataclass(slots=True)
class Node:
    """A process that has joined: its key, the identity its certificate proved, and where it listens."""

    identity: Identity
    node_key: bytes
    addresses: tuple[str, ...]
    outcomes: Outcomes
    ended: Outcomes | None = None
    """Of the incarnation before this one."""
    state: Literal["live", "lost", "left"] = "live"

    @property
    def incarnation(self) -> bytes:
        return self.outcomes.incarnation

    @property
    def lost(self) -> bool:
        return self.state == "lost"

    def recorded(self, incarnation: bytes, seq: int) -> tuple[bytes, Outcome] | None:
        """The outcome of a proposal and the digest of its signed bytes."""
        for outcomes in (self.outcomes, self.ended):
            if outcomes is not None and outcomes.incarnation == incarnation:
                return outcomes.of.get(seq)
        return None

    def must_take(self, claim: Verified) -> None:
        """Refuse what is not this incarnation's, or no new proposal of it: these refusals leave no record."""
        if claim.incarnation != self.incarnation:
            if claim.kind == "NodeJoined":
                return
            raise Refused(
                f"this {claim.kind} is of an ended incarnation of {self.identity}", hint="start the node again"
            )
        if claim.seq in self.outcomes.of:
            raise Refused(f"{self.identity} has used the number {claim.seq} for another proposal already")
        if claim.seq <= self.outcomes.highest - WINDOW:
            raise Refused(f"the proposal {claim.seq} of {self.identity} is older than its last {WINDOW}")

    def to_state(self) -> list[Any]:
        identity = [self.identity.organisation, self.identity.anchor, self.identity.role, self.identity.name]
        windows = [outcomes.to_state() for outcomes in (self.outcomes, self.ended) if outcomes is not None]
        return [identity, self.node_key, list(self.addresses), self.state, windows]

    @classmethod
    def from_state(cls, state: list[Any]) -> Node:
        identity, key, addresses, standing, windows = state
        outcomes, *ended = map(Outcomes.from_state, windows)
        return cls(Identity(*identity), key, tuple(addresses), outcomes, ended[0] if ended else None, standing)
