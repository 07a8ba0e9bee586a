"""The taskrunner: the queue that operators listen on; it runs one task at a time.

Kept by the board (`core/board`), read by everybody. Guarantees: a task gets its slots exactly once, from the entry by
which enough peers listen; the next task comes only after a reset; workers that a reset found running keep their slots
until their operator reports their end or their lease ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from swarm.core.events import Event, SwopKnown, TaskrunnerCleared
from swarm.core.names import Identity
from swarm.core.run import Place, Run
from swarm.errors import Refused

DEFAULT_NAME = "defaulttaskbb.taskdb.sml.hpe"


@dataclass(slots=True)
class Listener:
    """An operator on this taskrunner. ``peers``: the learning nodes of its profile.

    Only who listens takes part in what comes; who was lost does again when it is back, who restarted when it says so.
    """

    uid: str
    name: str
    organisation: str
    anchor: bytes
    group: str
    peers: int
    state: Literal["listening", "lost", "restarted"] = "listening"

    @property
    def live(self) -> bool:
        return self.state == "listening"

    def place(self, peer_type: str) -> Place:
        return Place(self.uid, str(self), self.anchor, self.peers if peer_type == "SL" else 1)

    def __str__(self) -> str:
        return f"{self.name} ({self.organisation})"

    def to_state(self) -> list[Any]:
        return [self.uid, self.name, self.organisation, self.anchor, self.group, self.peers, self.state]


@dataclass(slots=True)
class Taskrunner:
    """Methods answer with the events that follow, or raise the refusal and change nothing."""

    name: str
    creator: str = ""
    listeners: dict[str, Listener] = field(default_factory=dict)
    """By uid, in the order in which they came: their places are HPE's indices of operators."""
    current: Run | None = None
    leaving: list[Run] = field(default_factory=list)
    """Runs that were reset, while one of their slots has a lease."""

    # ---- reading

    @property
    def word(self) -> str:
        """Its state as HPE's taskrunners say it."""
        return self.current.word if self.current else "IDLE"

    @property
    def runs(self) -> list[Run]:
        return [*self.leaving, *([self.current] if self.current else [])]

    def peers(self, peer_type: str) -> int:
        """How many peers take part by now."""
        return sum(place.peers for place in self._places(peer_type))

    def _places(self, peer_type: str) -> list[Place]:
        return [listener.place(peer_type) for listener in self.listeners.values() if listener.live]

    # ---- operators

    def listen(self, listener: Listener, index: int, now_ms: int) -> list[Event]:
        self.listeners[listener.uid] = listener
        return [SwopKnown(self.name, listener.uid, listener.peers), *self._begin_if_due(index, now_ms)]

    def lost(self, uid: str, reason: str, now_ms: int) -> list[Event]:
        if uid in self.listeners and self.listeners[uid].live:
            self.listeners[uid].state = "lost"
        events = self._in_runs(lambda run: run.operator_lost(uid, reason, now_ms))
        return [*events, *self._say_who_is_missing()]

    def restarted(self, uid: str, now_ms: int) -> list[Event]:
        """Its workers go on and are adopted or reported ended. It takes part in new tasks once it listens again."""
        if uid in self.listeners:
            self.listeners[uid].state = "restarted"
        events = self._in_runs(lambda run: run.operator_back(uid, "its operator began anew", now_ms))
        return [*events, *self._say_who_is_missing()]

    def back(self, uid: str, index: int, now_ms: int) -> list[Event]:
        if uid in self.listeners and self.listeners[uid].state == "lost":
            self.listeners[uid].state = "listening"
        events = self._in_runs(lambda run: run.operator_back(uid, "its operator is back", now_ms))
        return [*events, *self._begin_if_due(index, now_ms)]

    def left(self, uid: str, reason: str, now_ms: int) -> list[Event]:
        self.listeners.pop(uid, None)
        events = self._in_runs(lambda run: run.operator_left(uid, reason, now_ms))
        return [*events, *self._say_who_is_missing()]

    def leave(self, uid: str) -> list[Event]:
        """It listens elsewhere from now on, and ends here what it has begun."""
        self.listeners.pop(uid)
        return self._say_who_is_missing()

    def _in_runs(self, happen: Callable[[Run], list[Event]]) -> list[Event]:
        return [event for run in self.runs for event in happen(run)]

    # ---- tasks

    def assign(self, run: Run, target: str) -> list[Event]:
        """``run`` is new; with ``target`` for this operator's peers alone."""
        if self.current is not None:
            raise Refused(
                f"taskrunner {self.name} has task {self.current.task} ({self.current.state}): it takes one at a time",
                hint=f"RESET TASKRUNNER {self.name}; ASSIGN TASK {run.task} TO {self.name} TARGET <SWOP-UID> "
                "adds an operator to a running task",
            )
        if target:
            place = self._target(target).place(run.peer_type)
            run.needed = place.peers
            self.current = run
            return run.begin([place], run.number, run.assigned_ms)
        if not run.needed:
            run.needed = self.peers(run.peer_type)
        if not run.needed:
            raise Refused(
                f"nobody listens on taskrunner {self.name}: all its peers are none",
                hint="start run-swop with a profile that names it, or ask for a number of peers: these are waited for",
            )
        self.current = run
        return self._begin_if_due(run.number, run.assigned_ms) or self._say_who_is_missing()

    def retry(self, task: str, target: str, by: Identity, index: int, now_ms: int) -> list[Event]:
        """Add the operator to the current run, or lease to it again what it did not complete.

        For the organisation that assigned the task, which the operator has judged or will, and for the operator's own.
        """
        run = self.current
        assert run is not None
        if run.task != task:
            raise Refused(f"taskrunner {self.name} has task {run.task} ({run.state}), not {task}: reset it first")
        if run.state not in ("running", "failed"):
            raise Refused(f"task {task} is {run.state} on taskrunner {self.name}: an operator cannot be added to it")
        listener = self._target(target)
        if by.anchor not in (run.anchor, listener.anchor):
            raise Refused(f"{by} may not add {listener} to task {task}, which another organisation assigned")
        return run.retry(listener.place(run.peer_type), index, now_ms)

    def reset(self, by: str, now_ms: int) -> list[Event]:
        run, self.current = self.current, None
        if run is None:
            return []
        events = run.reset(by, now_ms)
        if run.active:
            self.leaving.append(run)
        return [TaskrunnerCleared(self.name, run.number, by), *events]

    def must_let_reset(self, identity: Identity) -> None:
        """Whoever assigned the task and whoever runs it may; any other organisation may not end their work."""
        concerned = {listener.anchor for listener in self.listeners.values()}
        if self.current and identity.anchor not in concerned | {self.current.anchor}:
            raise Refused(
                f"{identity} may not reset taskrunner {self.name}: its organisation neither assigned task "
                f"{self.current.task} nor has an operator there"
            )

    def prune(self) -> None:
        """Forget the runs of which nothing is left."""
        self.leaving = [run for run in self.leaving if run.active]

    def _target(self, uid: str) -> Listener:
        listener = self.listeners.get(uid)
        if listener is None or not listener.live:
            names = ", ".join(f"{each} {each.uid}" for each in self.listeners.values() if each.live)
            raise Refused(f"{uid} does not listen on taskrunner {self.name}", hint=f"who does: {names or 'nobody'}")
        return listener

    def _begin_if_due(self, index: int, now_ms: int) -> list[Event]:
        run = self.current
        if run is None or run.started_ms or run.state not in ("final", "queued"):
            return []
        if self.peers(run.peer_type) < run.needed:
            return self._say_who_is_missing()
        return run.begin(self._places(run.peer_type), index, now_ms)

    def _say_who_is_missing(self) -> list[Event]:
        run = self.current
        if run is None or run.state not in ("final", "queued"):
            return []
        missing = run.needed - self.peers(run.peer_type)
        return run.queue(f"waits for {missing} more of the {run.needed} {run.peer_type} peers asked for")

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "creator": self.creator,
            "listeners": [listener.to_state() for listener in self.listeners.values()],
            "current": self.current.to_state() if self.current else None,
            "leaving": [run.to_state() for run in self.leaving],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Taskrunner:
        listeners = [Listener(*row) for row in state["listeners"]]
        return cls(
            state["name"],
            state["creator"],
            {listener.uid: listener for listener in listeners},
            Run.from_state(state["current"]) if state["current"] else None,
            [Run.from_state(run) for run in state["leaving"]],
        )

    def check(self) -> None:
        for run in self.runs:
            run.check()
            assert run.taskrunner == self.name
        assert not self.current or not self.current.cleared
        for run in self.leaving:
            assert run.cleared
            assert run.active, "a run without leases is forgotten"
        if self.current and self.current.state == "queued":
            assert self.peers(self.current.peer_type) < self.current.needed, "enough peers listen and nothing began"
