"""The node: a process that the ledger has admitted, and what became of its last proposals.

Kept by the ledger, read by others. Guarantees: an outcome stays recorded for the last `WINDOW` proposals of the current
and of the previous incarnation, with the digest of the signed bytes that it belongs to, until the node is gone and has
proposed nothing for `KEPT` entries; none of its numbers is good for a second proposal, then neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from swarm.core.claims import Verified
from swarm.core.events import Outcome
from swarm.core.fields import FIRST_RULES
from swarm.core.names import Identity
from swarm.errors import IdentityError, Refused

WINDOW = 64
"""How many of an author's last proposals have their outcome recorded."""
KEPT = 4096
"""So many entries after its last proposal, nobody waits for the outcome of what a node that is gone has proposed."""
FORGETTING = 3
"""The version of the rules since which outcomes of nodes that are gone are forgotten."""


def starts(incarnation: bytes) -> int:
    """The start counter of the state directory, which an incarnation begins with."""
    return int.from_bytes(incarnation[:8], "big")


@dataclass(slots=True)
class Outcomes:
    """What became of the last proposals of one incarnation, by seq; with the digest of each one's signed bytes."""

    incarnation: bytes
    highest: int = 0
    of: dict[int, tuple[bytes, Outcome]] = field(default_factory=dict)
    over: int = 0
    """Up to this number, no outcome is recorded any more."""

    def record(self, seq: int, digest: bytes, outcome: Outcome) -> None:
        self.of[seq] = (digest, outcome)
        self.highest = max(self.highest, seq)
        if self.highest > WINDOW:
            for old in [old for old in self.of if old <= self.highest - WINDOW]:
                del self.of[old]

    @property
    def newest(self) -> int:
        """The entry of the proposal with the highest number, if its outcome is recorded; else 0."""
        return self.of[self.highest][1].index if self.of else 0

    def forget(self) -> None:
        self.of, self.over = {}, self.highest

    def to_state(self) -> list[Any]:
        rows = [
            [seq, digest, o.index, o.accepted, o.code, o.reason, o.result, o.hint]
            for seq, (digest, o) in sorted(self.of.items())
        ]
        return [self.incarnation, self.highest, rows, *([self.over] if self.over else [])]

    @classmethod
    def from_state(cls, state: list[Any]) -> Outcomes:
        incarnation, highest, rows, *over = state
        return cls(incarnation, highest, {seq: (digest, Outcome(*rest)) for seq, digest, *rest in rows}, *over)


@dataclass(slots=True)
class Node:
    """A process that has joined: its key, the identity its certificate proved, and where it listens."""

    identity: Identity
    node_key: bytes
    addresses: tuple[str, ...]
    outcomes: Outcomes
    ended: Outcomes | None = None
    """Of the incarnation before this one."""
    state: Literal["live", "lost", "left", "removed"] = "live"
    joined: int = 0
    """The entry by which it came, and has been here since."""
    rules: int = FIRST_RULES
    """The newest version of the ledger's rules that it knows, as it has said itself."""

    @property
    def incarnation(self) -> bytes:
        return self.outcomes.incarnation

    @property
    def lost(self) -> bool:
        return self.state == "lost"

    @property
    def gone(self) -> bool:
        return self.state in ("left", "removed")

    def recorded(self, incarnation: bytes, seq: int) -> tuple[bytes, Outcome] | None:
        """The outcome of a proposal and the digest of its signed bytes."""
        for outcomes in (self.outcomes, self.ended):
            if outcomes is not None and outcomes.incarnation == incarnation:
                return outcomes.of.get(seq)
        return None

    def must_take(self, claim: Verified) -> None:
        """Refuse what is not this incarnation's, or no new proposal of it: these refusals leave no record."""
        if claim.incarnation != self.incarnation:
            if claim.kind in ("NodeJoined", "ForcedRecovery"):
                return  # the one begins a new incarnation, the other needs none
            raise Refused(
                f"this {claim.kind} is of an ended incarnation of {self.identity}", hint="start the node again"
            )
        if claim.seq in self.outcomes.of:
            raise Refused(f"{self.identity} has used the number {claim.seq} for another proposal already")
        if claim.seq <= self.outcomes.over:
            raise Refused(f"the proposal {claim.seq} of {self.identity} is from before it was gone for {KEPT} entries")
        if claim.seq <= self.outcomes.highest - WINDOW:
            raise Refused(f"the proposal {claim.seq} of {self.identity} is older than its last {WINDOW}")

    def let_go(self, index: int, *, exactly: bool) -> None:
        """At this entry, forget the outcomes of a node that has long been gone: with them the state grew by each.
        ``exactly``: nor has it proposed anything since under a lower number."""
        if self.state == "live" or not self.outcomes.newest or self.outcomes.newest + KEPT > index:
            return
        if exactly and max(outcome.index for _, outcome in self.outcomes.of.values()) + KEPT > index:
            return
        self.outcomes.forget()
        self.ended = None

    def must_be_here(self, claim: Verified) -> None:
        if self.state == "removed":
            raise Refused(
                f"{self.identity} proposes {claim.kind} and was removed from this network",
                hint="its node key is not taken back: start it with a new state directory (--state)",
            )
        if self.state == "left" and claim.kind != "NodeJoined":
            raise Refused(f"{self.identity} proposes {claim.kind} and has left this network")

    def must_join_again(self, claim: Verified) -> None:
        """Refuse another identity with this node key, and a directory that is not this one gone on."""
        assert claim.identity is not None, "an introduction brings an identity"
        if self.node_key != claim.node_key or not self.identity.same_as(claim.identity):
            raise IdentityError(
                f"the node key of {claim.identity} is known as that of {self.identity}",
                hint="a node keeps its certificate's name, or starts with a state directory of its own (--state)",
            )
        if claim.incarnation != self.incarnation and starts(claim.incarnation) <= starts(self.incarnation):
            raise IdentityError(
                f"{claim.identity} joins with start number {starts(claim.incarnation)} of its state directory, "
                f"the network knows {starts(self.incarnation)}: the directory was copied or restored",
                hint="start it with a new state directory (--state)",
            )

    def to_state(self) -> list[Any]:
        identity = [self.identity.organisation, self.identity.anchor, self.identity.role, self.identity.name]
        windows = [outcomes.to_state() for outcomes in (self.outcomes, self.ended) if outcomes is not None]
        return [identity, self.node_key, list(self.addresses), self.state, self.joined, self.rules, windows]

    @classmethod
    def from_state(cls, state: list[Any]) -> Node:
        identity, key, addresses, standing, joined, rules, windows = state
        outcomes, *rest = map(Outcomes.from_state, windows)
        ended = rest[0] if rest else None
        return cls(Identity(*identity), key, tuple(addresses), outcomes, ended, standing, joined, rules)
