"""Divergence: network nodes that have applied the same entries and come to different states.

Kept by ``runtime/snapshots``, which asks the voters for their signatures under every snapshot. All nodes run the same
machine on the same entries, so this is broken memory or a mistake of ours, and nobody can be told whose from two words.
Guarantees: who differs from what a majority of the voters has signed is outvoted, and learns it; what differs is named
until the two agree again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swarm.core.election import majority
from swarm.core.snapshot import Point


@dataclass(frozen=True, slots=True)
class Different:
    """What another node says of the state after an entry that both have; ``signed``: it can be held to it."""

    index: int
    own: str
    other: str
    signed: bool


def same_entry(one: Point, other: Point) -> bool:
    return one[:3] == other[:3]


class Divergence:
    def __init__(self) -> None:
        self._of: dict[str, Different] = {}

    def differs(self, uid: str, own: Point, other: Point, *, signed: bool) -> bool:
        """Note it, if these are two states after one entry. Whether that is news."""
        if not same_entry(own, other) or own == other:
            return False
        known = self._of.get(uid)
        if known is not None and (known.index > own[0] or (known.index == own[0] and known.signed >= signed)):
            return False
        self._of[uid] = Different(own[0], own[3], other[3], signed)
        return True

    def agrees(self, uid: str, index: int) -> None:
        """It has come to the same state after this entry: what was before is over."""
        if uid in self._of and self._of[uid].index <= index:
            del self._of[uid]

    def outvoted(self, own: Point, voters: tuple[str, ...]) -> str:
        """The digest that a majority of the voters has signed in place of this node's; empty: there is none."""
        said = [
            each.other
            for uid, each in self._of.items()
            if uid in voters and each.signed and (each.index, each.own) == (own[0], own[3])
        ]
        return next((digest for digest in said if said.count(digest) >= majority(voters)), "")

    def notes(self, name: Callable[[str], str]) -> list[str]:
        return [self.note(uid, name) for uid in sorted(self._of)]

    def note(self, uid: str, name: Callable[[str], str]) -> str:
        each = self._of[uid]
        return (
            f"the state of the ledger after entry {each.index} differs: it is {each.own} here and {each.other} at "
            f"{name(uid)}: one of the two nodes has broken memory, or there is a mistake in swarm"
        )
