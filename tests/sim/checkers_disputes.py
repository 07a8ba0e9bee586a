"""The checker of disputes: an owner that has signed two things for one shard is convicted by them, and nobody else is.

Its own account of what was shown, from the entries; nothing of the product's is used.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.sim.history import Entry, Fact, History
from tests.sim.verdict import Check


class Disputes(Check):
    sees = ("lied", "outcome", "Misbehaved", "SnapMade")

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._liars: set[str] = set()
        """Owners that have told somebody something else than they merged."""
        self._shown: defaultdict[tuple[Any, ...], set[bytes]] = defaultdict(set)
        """What an owner is shown to have signed, by contract, owner, round, attempt, snap and shard."""
        self._out: set[tuple[str, str]] = set()
        """Who is convicted, by contract and uid."""

    def see(self, fact: Fact) -> None:
        match fact:
            case ("lied", _, _, uid, "shard", _):
                self._liars.add(uid)
            case ("outcome", _, _, _, hash_, True):
                self._enter(self._history.entries[hash_])
            case ("Misbehaved", at_s, _, contract, uid, round_, _, _):
                self._out.add((contract, uid))
                if uid not in self._liars:
                    self.broken("P2", f"{uid} was convicted at {at_s:.3f} s in round {round_}, and never lied")
            case ("SnapMade", _, _, contract, round_, _, members, _) if self._out:
                for uid, _, _ in members:
                    if (contract, uid) in self._out:
                        self.broken("P2", f"{uid} is in round {round_}, and was convicted before")

    def _enter(self, entry: Entry) -> None:
        body = entry.body
        if entry.kind == "Evidence":
            where = (body["contract"], body["uid"], *(body[name] for name in ("round", "attempt", "snap", "shard")))
            self._shown[where].update(body[name]["digest"] for name in ("first", "second") if name in body)
        elif entry.kind == "Offer" and (body["contract"], entry.author) in self._out:
            self.broken("P2", f"an offer of {entry.author} was taken, who was convicted before")

    def end(self) -> None:
        for (contract, uid, round_, *_), digests in self._shown.items():
            if len(digests) > 1 and (contract, uid) not in self._out:
                self.broken("P2", f"{uid} has signed two results of round {round_}, which were shown, and goes on")
