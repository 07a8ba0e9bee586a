"""A dispute: two members ended an attempt with different bytes, so somebody merged or sent something wrong.

Kept by `core/contract` from the ABORT to the next COMMIT. Every shard came with its owner's signature, so whoever has
one shows it (`Evidence`); two different ones for one shard of one attempt convict the owner, without anybody's word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from swarm.core.events import Aborted, SnapMade
from swarm.errors import Refused


@dataclass(slots=True)
class Dispute:
    """``owners`` of the shards that differ, by the shard's number; ``signed``: the first digest that was shown."""

    round: int
    attempt: int
    owners: dict[int, str]
    signed: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, aborted: Aborted, snap: SnapMade) -> Dispute:
        return cls(aborted.round, snap.attempt, {index: snap.owner_of(index) for index in aborted.disputed})

    def show(self, round_: int, attempt: int, shard: int, owner: str, digest: bytes) -> bytes:
        """One signed digest is shown; the first that was, which may be the same."""
        if (round_, attempt) != (self.round, self.attempt) or self.owners.get(shard) != owner:
            raise Refused(f"nobody disputes shard {shard} of attempt {attempt} of round {round_} as that of {owner}")
        return self.signed.setdefault(shard, digest)

    def to_state(self) -> list[Any]:
        owners = [[shard, owner] for shard, owner in sorted(self.owners.items())]
        return [self.round, self.attempt, owners, [[shard, digest] for shard, digest in sorted(self.signed.items())]]

    @classmethod
    def from_state(cls, state: list[Any]) -> Dispute:
        round_, attempt, owners, signed = state
        return cls(round_, attempt, dict(owners), dict(signed))
