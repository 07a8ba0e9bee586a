"""The committed models that a contract's members keep: who has which, and when the newest is lost.

Kept by `core/contract`. Guarantees: the base is the newest kept one; a model counts as lost only when everybody who
signed for it has said to lack it or has left, and nobody at hand had it when last heard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from swarm.core.events import Committed
from swarm.core.membership import Member
from swarm.errors import Refused

MODELS_KEPT = 2
"""Committed models that members keep: the base and the one before it."""


@dataclass(slots=True)
class Commit:
    """``members``: whose weights are in it. ``signers`` said Ready with it; ``holders`` had it when last heard;
    ``missing``: who finds nobody to serve it.
    """

    round: int
    digest: str
    members: list[str]
    signers: list[str]
    holders: list[str]
    missing: list[str] = field(default_factory=list)

    def held_by(self, uid: str) -> None:
        self.holders = sorted({*self.holders, uid})
        self.missing = [other for other in self.missing if other != uid]

    def missed_by(self, uid: str) -> None:
        self.signers = [signer for signer in self.signers if signer != uid]
        self.holders = [holder for holder in self.holders if holder != uid]
        self.missing = sorted({*self.missing, uid})


class Kept:
    """The last `MODELS_KEPT` commits, oldest first."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        self._members = members
        self._commits: list[Commit] = []

    def __iter__(self) -> Iterator[Commit]:
        return iter(self._commits)

    @property
    def newest(self) -> Commit | None:
        return self._commits[-1] if self._commits else None

    def of(self, digest: str) -> Commit | None:
        return next((commit for commit in reversed(self._commits) if commit.digest == digest), None)

    def add(self, made: Committed) -> None:
        signers = list(made.signers)
        commit = Commit(made.round, made.digest, list(made.members), signers, list(signers))
        self._commits = [*self._commits, commit][-MODELS_KEPT:]

    def at_hand(self, commit: Commit) -> list[str]:
        """Members that had it when last heard and are there."""
        return [uid for uid in sorted(commit.holders) if self._members[uid].state in ("live", "dropped")]

    def servable(self, commit: Commit) -> bool:
        """Some signer has neither left nor missed it, or another live member had it when last heard."""
        return bool(self.at_hand(commit)) or any(self._members[uid].state != "left" for uid in commit.signers)

    def holders(self, digest: str) -> list[str]:
        """Members that had the committed model when last heard, by uid."""
        commit = self.of(digest)
        return sorted(commit.holders) if commit else []

    def lacking(self) -> list[str]:
        """Who is there and finds nobody to get the newest from."""
        missing = self.newest.missing if self.newest else []
        return [uid for uid in missing if self._members[uid].state in ("live", "dropped")]

    def must_be_out_of_reach(self, digest: str, base: str, contract: str) -> None:
        """Refuse to give up what is no base, or what somebody who is there can serve."""
        if self.newest is None or digest != base:
            raise Refused(f"contract {contract} is on {base}, not on {digest}: there is nothing to give up")
        if holders := self.at_hand(self.newest):
            names = ", ".join(str(self._members[uid]) for uid in holders)
            raise Refused(f"the base {digest} of contract {contract} is not lost: {names} can serve it")

    def unsaid(self, uid: str, digest: str) -> bool:
        """Whether it would change anything to hear that this member lacks the model."""
        commit = self.of(digest)
        return commit is not None and not (uid in commit.missing and self.servable(commit))

    def lose(self) -> str | None:
        """Give up the newest; the newest earlier one that a live member holds."""
        self._commits.pop()
        while self._commits and not self.at_hand(self._commits[-1]):
            self._commits.pop()
        return self._commits[-1].digest if self._commits else None

    def to_state(self) -> list[Any]:
        return [[c.round, c.digest, c.members, sorted(c.signers), sorted(c.holders), c.missing] for c in self._commits]

    def restore(self, state: list[Any]) -> None:
        self._commits = [Commit(*commit) for commit in state]

    def check(self, round_: int, base: str, initial_base: str) -> None:
        assert base == (self.newest.digest if self.newest else initial_base), "I3, I8: all share the newest base"
        rounds = [*(commit.round for commit in self), round_]
        assert rounds == sorted(set(rounds)), "I1: one decision a round"
