"""What is recorded of a world: plain facts, in their order, for the checkers and for the trace.

Recorded where a fact is seen from outside (an answer that reached its author, weights that a program was given, a
worker that runs), and where a node applied an entry. Imports nothing of the product: events are taken by their names.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Values = tuple[float, ...]
Fact = tuple[Any, ...]
"""(kind, time, name of the process, *what)"""

EVENTS: dict[str, tuple[str, ...]] = {
    "SnapMade": ("contract", "round", "attempt", "members", "base"),
    "Committed": ("contract", "round", "attempt", "digest", "members", "signers", "finished"),
    "Aborted": ("contract", "round", "reason"),
    "BaseLost": ("contract", "digest", "base"),
    "Finished": ("contract", "digest"),
    "MemberGone": ("contract", "uid", "what"),
    "Misbehaved": ("contract", "uid", "round", "attempt", "shard"),
    "TaskFinal": ("task",),
    "TaskChanged": ("taskrunner", "run", "task", "state"),
    "SlotAssigned": ("slot", "task", "swop", "fence", "attempt"),
    "SlotChanged": ("slot", "swop", "fence", "state", "leased"),
}
"""The events that are recorded, and what of them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as its leader made it; ``kind`` is empty for a blank one."""

    hash: bytes
    prev_hash: bytes
    index: int
    term: int
    proposal: bytes
    author: str
    kind: str
    body: dict[str, Any]


@dataclass
class History:
    facts: list[Fact] = field(default_factory=list)
    entries: dict[bytes, Entry] = field(default_factory=dict)
    """By hash, all that any leader ever made."""
    models: dict[str, Values] = field(default_factory=dict)
    """What each digest stands for, of all weights that anybody ever had."""
    heard: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """When a leading SN learnt that a node lives, by the SN's name and the node's uid."""
    _applied: set[bytes] = field(default_factory=set)

    def entry(self, hash_: bytes, prev_hash: bytes, index: int, term: int, proposal: bytes, claim: Any) -> None:
        said = (claim.uid, claim.kind, claim.body) if claim is not None else ("", "", {})
        self.entries[hash_] = Entry(hash_, prev_hash, index, term, proposal, *said)
        if said[1] == "Configuration":
            self.facts.append(("reconfigured", 0.0, "", hash_))

    def applied(self, now_s: float, name: str, index: int, hash_: bytes, accepted: bool, events: Iterable[Any]) -> None:
        """An SN has applied this entry; what follows from it is recorded with the first that does."""
        self.facts.append(("applied", now_s, name, index, hash_, accepted))
        if hash_ in self._applied:
            return
        self._applied.add(hash_)
        self.facts.append(("outcome", now_s, name, index, hash_, accepted))
        for event in events:
            kind = type(event).__name__
            if kind in EVENTS:
                self.facts.append((kind, now_s, name, *(_plain(getattr(event, each)) for each in EVENTS[kind])))

    def forget(self) -> None:
        self.facts.clear()
        self.entries.clear()
        self.models.clear()

    def trace_hash(self) -> str:
        return hashlib.sha256(repr(self.facts).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Contributors as (uid, weight, digest), the rest as it is."""
    if isinstance(value, tuple) and value and hasattr(value[0], "weight"):
        return tuple((each.uid, each.weight, each.digest) for each in value)
    return value
