"""The checker of groups: what is merged above is what they have merged, and what comes down is what was merged there.

Its own account, on top of that of the rounds, which recomputes every merge: so all groups' members end up with the
weighted mean of all of them. Nothing of the product's is used.
"""

from __future__ import annotations

from collections import defaultdict

from tests.sim.checkers_rounds import Book, Rounds
from tests.sim.history import Entry, Fact
from tests.sim.verdict import Check


class Groups(Check):
    """Sees each fact before ``rounds`` does: a round's stage is what it was until then."""

    sees = ("asked", "rebased", "outcome", "Committed")

    def __init__(self, rounds: Rounds) -> None:
        super().__init__()
        self._rounds = rounds
        self._brings: dict[tuple[str, str], str] = {}
        """By upper contract and leader, what the group had merged that it came with."""
        self._changes: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """The same as it may be offered: as it is, or put on a newer model."""

    def see(self, fact: Fact) -> None:
        match fact:
            case ("asked", _, _, contract, uid, _, digest):
                self._brings[contract, uid], self._changes[contract, uid] = digest, {digest}
            case ("rebased", _, _, contract, uid, digest):
                self._changes[contract, uid].add(digest)
            case ("outcome", _, _, _, hash_, True):
                entry = self._rounds.history.entries[hash_]
                if entry.kind == "Offer":
                    self._offer(entry, self._rounds.books[entry.body["contract"]])
            case ("Committed", _, _, contract, round_, _, digest, *_) if self._rounds.books[contract].down:
                self._handed(contract, self._rounds.books[contract], round_, digest)

    def _offer(self, entry: Entry, upper: Book) -> None:
        """What groups merge is the newest that one of them has merged, with no member's own weights between."""
        uid, body = entry.author, entry.body
        if not upper.groups or body.get("inactive"):
            return
        where, group = (body["contract"], uid), upper.groups.get(uid)
        if group is None:
            self.broken("P2", f"{uid} offers in {body['contract']}, where groups merge, and leads none")
        elif not self._rounds.books[group].down or self._brings.get(where) != self._rounds.books[group].base:
            self.broken("P2", f"{uid} offers in {body['contract']} what is not the newest merge of group {group}")
        elif body["digest"] not in self._changes[where]:
            self.broken("P2", f"{uid} offers in {body['contract']} another model than that of group {group}")

    def _handed(self, name: str, group: Book, round_: int, digest: str) -> None:
        """What the upper contract has committed; what the group has merged itself, where nothing came of it there."""
        if digest not in (group.base, *self._rounds.books[group.upper].committed.values()):
            self.broken("P1", f"group {name} took a model in round {round_} that {group.upper} has not committed")

    def end(self) -> None:
        finals = {name: book for name, book in self._rounds.books.items() if book.upper or book.groups}
        for name, book in finals.items():
            if not book.committed:
                self.broken("P4", f"{name} ended, and nothing was merged in it")
        if len({book.base for book in finals.values()}) > 1:
            self.broken("P1", f"groups ended with different models: {', '.join(sorted(finals))}")
