"""A member's part in one attempt: with whom it merges, what it has, and what it says about the others.

Kept by `core/member` from the snap to the decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from swarm.core import blame, layout
from swarm.core.events import Aborted, Contributor, SnapMade
from swarm.core.member_steps import Effect, Merged, Propose, Show, Source


@dataclass
class Part:
    """Of node ``uid``, whose program's weights are ``own``; ``holds``: the digest of the model that it has.

    ``result``: the digest of the whole result, once it is here. ``owed``: bytes that others are still to send.
    """

    snap: SnapMade
    uid: str
    own: str
    holds: str
    result: str = ""
    owed: Mapping[str, int] = field(default_factory=dict)
    stalled: bool = False
    """Somebody's bytes do not come, so this attempt cannot end here."""

    def is_of(self, round_: int, attempt: int) -> bool:
        return (self.snap.round, self.snap.attempt) == (round_, attempt)

    @property
    def source(self) -> Source:
        """What the node offered for that snap; the contract may be further by now."""
        offered = self._mine.digest
        return "own" if offered == self.own else "base" if offered == self.holds else "rebased"

    @property
    def weight(self) -> int:
        """What the node's contribution counts."""
        return self._mine.weight

    @property
    def _mine(self) -> Contributor:
        return next(member for member in self.snap.members if member.uid == self.uid)

    def told(self, owed: Mapping[str, int]) -> list[Effect]:
        self.owed = owed
        return []

    def ready(self, merged: Merged, told_max: int) -> Effect:
        """``told_max``: as many digests of shards at most as a Ready is to name now."""
        told = {"shards": list(merged.shards)} if 0 < len(merged.shards) <= told_max else {}
        return self._propose("Ready", digest=merged.digest, snap=self.snap.entry, **told)

    def suspect(self, uid: str, reason: str, *, alive: bool = False) -> Effect:
        return self._propose("Suspect", uid=uid, reason=reason, **({"alive": True} if alive else {}))

    def retried(self, again: Part, nbytes: int) -> list[Effect]:
        """The deadline blamed nobody, and the same members try again: name who held this attempt up."""
        if again.snap.round != self.snap.round or again.snap.members != self.snap.members:
            return []
        slow = blame.furthest_behind(self.owed, layout.due(self.snap, self.uid, nbytes))
        return [again.suspect(slow, "owed by far the most at the last deadline")] if slow else []

    def shown(self, aborted: Aborted) -> list[Effect]:
        """Where two members merged differently, what the owner signed for whom tells who cheated."""
        mine = aborted.disputed and self.is_of(aborted.round, aborted.attempt)
        return [Show(aborted.round, aborted.attempt, aborted.disputed)] if mine else []

    def _propose(self, kind: str, **fields: object) -> Effect:
        where = {"contract": self.snap.contract, "round": self.snap.round, "attempt": self.snap.attempt}
        return Propose(kind, {**where, **fields})
