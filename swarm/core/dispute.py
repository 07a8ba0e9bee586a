"""A dispute: two members ended an attempt with different bytes, so somebody merged or sent something wrong.

Kept by `core/contract` from the ABORT to the next COMMIT. Every shard came with its owner's signature, so whoever has
one shows it (`Evidence`); two different ones for one shard of one snap convict the owner, without anybody's word. What
it says in its own Ready is one. Both name the snap by its entry: after a forced recovery a round may honestly be run
again, with another one, and whoever heard what was said of the one that was given up can repeat it. Who was outvoted
because an owner had sent it another shard than the others is not doubted any more, once that is proved (`core/doubts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from swarm.core.events import Aborted, SnapMade
from swarm.core.membership import Member
from swarm.core.merge import METHODS
from swarm.errors import Refused

SHARDS_TOLD_MAX = 64
"""A Ready that names each shard's digest costs the ledger 32 bytes a shard; with more it names the whole only."""
MORE_TOLD_MAX = 256
"""Where that let two results differ lately, and nobody could tell in which shard, as many are named for a while
(`core/doubts`). All Readys of a round take 2 MiB at most then, of the ledger, and of its state until the round ends."""
SINCE = 5
"""The version of the rules from which it has to: else two that differ would not tell in which shard. And from which an
owner has shown what it says of its own shard in its Ready, so that a Ready has to name its snap, too."""


@dataclass(slots=True)
class Dispute:
    """``owners`` of the shards that differ, by the shard's number; ``signed``: the first digest that was shown, or that
    the owner has said itself. ``outvoted``: who was, in it."""

    round: int
    attempt: int
    snap: bytes
    owners: dict[int, str]
    signed: dict[int, bytes] = field(default_factory=dict)
    outvoted: tuple[str, ...] = ()

    @classmethod
    def of(cls, aborted: Aborted, snap: SnapMade) -> Dispute:
        owners = {index: snap.owner_of(index) for index in aborted.disputed}
        return cls(aborted.round, snap.attempt, snap.entry, owners, dict(aborted.said), aborted.outvoted)

    def is_about(self, body: Mapping[str, Any]) -> bool:
        """Whether the Evidence is of a shard that is disputed here."""
        here = (body["round"], body["attempt"], body["snap"]) == (self.round, self.attempt, self.snap)
        return here and self.owners.get(body["shard"]) == body["uid"]

    def show(self, body: Mapping[str, Any]) -> bytes:
        """One signed digest is shown; the first that was, which may be the same."""
        if not self.is_about(body):
            shard, attempt, round_, owner = (body[each] for each in ("shard", "attempt", "round", "uid"))
            raise Refused(f"nobody disputes shard {shard} of attempt {attempt} of round {round_} as that of {owner}")
        return self.signed.setdefault(body["shard"], body["first"]["digest"])

    def to_state(self) -> list[Any]:
        owners = [[shard, owner] for shard, owner in sorted(self.owners.items())]
        signed = [[shard, digest] for shard, digest in sorted(self.signed.items())]
        return [self.round, self.attempt, self.snap, owners, signed, *([list(self.outvoted)] if self.outvoted else [])]

    @classmethod
    def from_state(cls, state: list[Any]) -> Dispute:
        round_, attempt, snap, owners, signed, *outvoted = state
        return cls(round_, attempt, snap, dict(owners), dict(signed), *map(tuple, outvoted))


def must_tell(body: Mapping[str, Any], snap: SnapMade | None, method: str, most: int = SHARDS_TOLD_MAX) -> None:
    """Refuse a Ready of this attempt that is of another snap of this number, or does not say what its author holds of
    each shard, and of what owners said of distances where the method asks for them; one of one's own may or may not.
    Nobody has to tell more than ``most`` digests."""
    if snap is None or (body["round"], body["attempt"]) != (snap.round, snap.attempt):
        return
    if (named := body.get("snap", b"")) != snap.entry:
        raise Refused(
            f"this Ready for attempt {snap.attempt} of round {snap.round} of contract {snap.contract} names "
            f"{named.hex()[:16] or 'no entry'} as that of its snap, which is {snap.entry.hex()[:16]}"
        )
    shards, told = len(snap.shards), len(body.get("shards", ()))
    known, several = METHODS.get(method), sum(member.weight > 0 for member in snap.members) > 1
    fitting = [shards, 2 * shards] if known is None else [2 * shards if known.distances and several else shards]
    if told not in fitting and (told or max(fitting) <= most):
        expected = " or ".join(map(str, fitting))
        raise Refused(
            f"this Ready for attempt {snap.attempt} of round {snap.round} of contract {snap.contract} names {told} "
            f"digests of shards, not {expected}"
        )


def convicts(dispute: Dispute | None, body: Mapping[str, Any], accused: Member, contract: str) -> bool:
    """Whether the owner signed another digest, too, for the shard of this Evidence; raises Refused."""
    digest: bytes = body["first"]["digest"]
    if "second" in body:
        if digest == body["second"]["digest"]:
            raise Refused(f"this Evidence shows the same shard of {accused} twice, which proves nothing")
        return True
    if dispute is None:
        raise Refused(f"nobody disputes a shard of contract {contract}")
    return dispute.show(body) != digest
