"""The task: a named piece of work. A draft until it is finalized, immutable from then on, run any number of times.

Kept by the board, read by everybody. Guarantees: a final task never changes and is never deleted; what it says is named
by its digest. A task's state beyond `final` is that of its newest run (`core/run`).

    draft ─finalized─► final ─queued─► queued ─begun─► running ─completed─► done
                         └──────────begun──────────►     │ ▲
                                                impossible ▼ │ retried
                                                         failed        queued, running ─reset─► stopped
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgpack

from swarm.core.events import TaskState
from swarm.errors import Refused

TASK: dict[tuple[TaskState, str], TaskState] = {
    ("draft", "finalized"): "final",
    ("final", "queued"): "queued",
    ("final", "begun"): "running",
    ("queued", "begun"): "running",
    ("running", "completed"): "done",
    ("running", "impossible"): "failed",
    ("failed", "retried"): "running",
    ("queued", "reset"): "stopped",
    ("running", "reset"): "stopped",
}
"""A task's states and what moves them. Every run begins at final, or at draft (`core/drafts`); a
taskrunner's run is left as it is by a pair that is not here.

queued = waits for operators with enough peers · running · done = as many peers completed as were asked for · failed =
so many can no longer complete · stopped = its taskrunner was reset before.
"""

UNBEGUN: tuple[TaskState, ...] = ("draft", "final", "queued")
"""The states in which nothing of a task is under way."""

WORDS: dict[str, str] = {
    "draft": "IDLE", "final": "IDLE",
    "queued": "RUNNING", "testing": "RUNNING", "running": "RUNNING", "scaling": "RUNNING",
    "done": "COMPLETE",
    "partial": "ERROR", "failed": "ERROR", "stopped": "ERROR",
}  # fmt: skip
"""The states in the words of HPE's taskrunners. Programs for HPE take IDLE for the end, so what waits is not idle."""

ROOT_NAME = "ROOTTASK"
RUN_SWARM = "RUN_SWARM"
RUN_JOBS = "RUN_JOBS"
KEPT_BYTES = 256
"""Of each task, whatever it says: who made it and when, and how it stands."""


@dataclass(slots=True)
class Task:
    """``author`` is the text of its file; who answers for it is ``creator`` (a uid) of the organisation ``anchor``."""

    name: str
    type: str
    author: str
    prereq: str
    outcome: str
    body: dict[str, Any]
    creator: str
    anchor: bytes
    created_ms: int
    lines: dict[int, str] = field(default_factory=dict)
    state: TaskState = "draft"
    reason: str = ""
    finalizer: str = ""
    run: int = 0
    """The number of its newest run; 0 = none so far."""
    _bytes: int = field(default=0, init=False, repr=False, compare=False)
    """Of what it says, once somebody has asked; 0: to be counted anew."""
    beside_bytes: int = field(default=0, init=False, repr=False, compare=False)
    """Of what its run of jobs or roles says besides (`core/bodies`)."""

    @property
    def final(self) -> bool:
        return self.state != "draft"

    @property
    def peer_type(self) -> Literal["SL", "SWOP"]:
        """What ``WITH n PEERS`` counts: pairs of SL and ML, or operators."""
        return "SL" if self.type == RUN_SWARM else "SWOP"

    @property
    def digest(self) -> str:
        """Names what the task says, whoever made it."""
        said = [self.name, self.type, self.author, self.prereq, self.outcome, self.body, sorted(self.lines.items())]
        return "sha256:" + hashlib.sha256(msgpack.packb(_ordered(said), use_bin_type=True)).hexdigest()

    @property
    def bytes(self) -> int:
        """Of what it says, in the state, and of what is kept of each."""
        if not self._bytes:
            texts = len("".join((self.name, self.author, self.prereq, self.outcome)).encode())
            self._bytes = KEPT_BYTES + texts + bytes_of(self.body) + bytes_of(self.lines)
        return self._bytes

    def must_be_draft(self, what: str) -> None:
        if self.final:
            raise Refused(f"task {self.name} is final: it cannot be {what}", hint="create a task of another name")

    def append(self, index: int, line: str) -> None:
        """Set one line of the body, as it is written by hand."""
        self.must_be_draft("changed")
        if self.body:
            raise Refused(
                f"task {self.name} was created with its whole body: it takes no lines",
                hint="delete the draft and create it anew",
            )
        self.lines[index], self._bytes = line, 0

    def finalize(self, uid: str, body: dict[str, Any] | None) -> None:
        """``body``: what the lines say, read by the author's SWCI, for a draft that was written line by line."""
        if body is not None:
            if self.body and _ordered(body) != _ordered(self.body):
                raise Refused(f"task {self.name} has another body than the one that is to be final")
            self.body, self._bytes = body, 0
        if not self.body:
            raise Refused(f"task {self.name} has no body: it cannot be final")
        self.finalizer = uid
        self.state = TASK[self.state, "finalized"]

    def to_state(self) -> dict[str, Any]:
        return {
            "said": [self.name, self.type, self.author, self.prereq, self.outcome, self.body],
            "lines": [[index, line] for index, line in sorted(self.lines.items())],
            "by": [self.creator, self.anchor, self.created_ms, self.finalizer],
            "stands": [self.state, self.reason, self.run],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Task:
        creator, anchor, created_ms, finalizer = state["by"]
        stands, reason, run = state["stands"]
        lines = dict(state["lines"])
        return cls(*[*state["said"], creator, anchor, created_ms, lines, stands, reason, finalizer, run])


def root() -> Task:
    """The task that every chain of prerequisites begins with: always there, final, and nothing to run."""
    return Task(ROOT_NAME, "ROOT_TASK", "HPE", ROOT_NAME, ROOT_NAME, {}, "", b"", 0, state="final")


def _ordered(value: Any) -> Any:
    """Plain data with every map as a sorted list: equal for equal meaning."""
    if isinstance(value, dict):
        return [[key, _ordered(item)] for key, item in sorted(value.items())]
    return [_ordered(item) for item in value] if isinstance(value, list | tuple) else value


def bytes_of(said: Mapping[Any, Any]) -> int:
    """Of a task's body, its lines or its roles, as the state holds them."""
    return len(msgpack.packb(said, use_bin_type=True))
