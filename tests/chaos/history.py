"""What happened in a run of chaos: a line for each fault, commit and act of its people, kept as it goes.

Written by `faults` and `desk`, read by `checks`. Times are seconds since the run began, by one clock.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from swarm.core.events import Contributor


@dataclass
class Fault:
    kind: str
    target: str
    begun_s: float
    ended_s: float = 0.0
    """When what was broken worked again, as far as that is in chaos' hands: healed, woken or started again."""


@dataclass(frozen=True)
class Commit:
    at_s: float
    round: int
    digest: str
    members: tuple[Contributor, ...]


@dataclass
class History:
    path: Path
    faults: list[Fault] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    aborts: int = 0
    acknowledged: list[str] = field(default_factory=list)
    """Tasks that the ledger said it has taken."""
    slots: dict[str, str] = field(default_factory=dict)
    """The slot and fence for which a learning node enrolled, by its uid."""
    accepted_results: Counter[str] = field(default_factory=Counter)
    """By slot: how often it became done."""
    deaths: list[str] = field(default_factory=list)
    """Nodes that ended though nobody had killed them."""
    doubles: set[str] = field(default_factory=set)
    """Slots for which two workers were seen alive with one fence."""

    def __post_init__(self) -> None:
        self._began = monotonic()
        self._file = self.path.open("a", buffering=1)

    @property
    def now_s(self) -> float:
        return monotonic() - self._began

    def begin(self, kind: str, target: str) -> Fault:
        fault = Fault(kind, target, self.now_s)
        self.faults.append(fault)
        self.say(f"{kind} begins", target=target)
        return fault

    def end(self, fault: Fault) -> None:
        fault.ended_s = self.now_s
        self.say(f"{fault.kind} ends", target=fault.target)

    def commit(self, round_: int, digest: str, members: tuple[Contributor, ...]) -> None:
        self.commits.append(Commit(self.now_s, round_, digest, members))
        self.say("commit", round=round_, digest=digest, members=[one.uid for one in members])

    def say(self, what: str, **facts: Any) -> None:
        self._file.write(json.dumps({"at_s": round(self.now_s, 3), "what": what, **facts}) + "\n")
