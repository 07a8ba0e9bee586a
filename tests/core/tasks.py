"""Operators, commanders and tasks on a scene: the acts that the tests of tasks, runs and slots have in common."""

from __future__ import annotations

from typing import Any

from swarm.core.events import Event, Outcome, SlotAssigned, SlotChanged, TaskChanged
from swarm.core.run import Run
from swarm.core.slot import Slot
from swarm.core.task import ROOT_NAME, RUN_SWARM
from swarm.core.taskrunner import DEFAULT_NAME, Taskrunner
from tests.core.scene import Actor, Scene

TASK = "swarm_mnist_task"
BODY = {"Command": "train.py", "Entrypoint": "python3", "WorkingDir": "/tmp/test", "Envvars": None}


class TaskScene(Scene):
    """A scene with a swci of organisation a and operators, which alternate between the organisations."""

    def __init__(self, operators: int = 0, peers: int = 1, *, rules: int = 1) -> None:
        super().__init__(rules=rules)
        self.swci = Actor("swci", "swci-1", "a")
        self.other_swci = Actor("swci", "swci-1", "b")
        assert self.join(self.swci).accepted
        assert self.join(self.other_swci).accepted
        self.operators = [self.operator(number, peers) for number in range(1, operators + 1)]

    def operator(self, number: int, peers: int = 1) -> Actor:
        actor = Actor("swop", f"swop-{number}", "ab"[(number - 1) % 2])
        assert self.join(actor).accepted
        assert self.listen(actor, peers).accepted
        return actor

    # ---- the usual acts

    def create(self, name: str = TASK, *, by: Actor | None = None, **fields: Any) -> Outcome:
        body = {
            "name": name,
            "type": RUN_SWARM,
            "author": "alice",
            "prereq": ROOT_NAME,
            "outcome": name,
            "body": BODY,
            **fields,
        }
        return self.say(by or self.swci, "TaskCreated", body)

    def finalize(self, name: str = TASK, *, by: Actor | None = None, **fields: Any) -> Outcome:
        return self.say(by or self.swci, "TaskFinalized", {"task": name, **fields})

    def final(self, name: str = TASK, **fields: Any) -> str:
        assert self.create(name, **fields).accepted
        assert self.finalize(name).accepted
        return name

    def listen(self, actor: Actor, peers: int = 1, taskrunner: str = DEFAULT_NAME) -> Outcome:
        return self.say(actor, "SwopListening", {"taskrunner": taskrunner, "group": "demo", "peers": peers})

    def assign(
        self, peers: int | str | None = None, *, task: str = TASK, by: Actor | None = None, **how: Any
    ) -> Outcome:
        asked = {} if peers is None else {"peers": peers}
        return self.say(by or self.swci, "TaskAssigned", {"taskrunner": DEFAULT_NAME, "task": task, **asked, **how})

    def target(self, actor: Actor, task: str = TASK) -> Outcome:
        return self.assign(task=task, target=actor.uid)

    def reset(self, by: Actor | None = None) -> Outcome:
        return self.say(by or self.swci, "TaskrunnerReset", {"taskrunner": DEFAULT_NAME})

    def report(self, actor: Actor, slot: Slot | str, state: str, reason: str = "", **fields: Any) -> Outcome:
        slot = self.slot(slot) if isinstance(slot, str) else slot
        body = {"slot": slot.id, "fence": slot.fence, "state": state, "reason": reason, **fields}
        return self.say(actor, "SlotReported", body)

    def end_lease(self, slot: Slot, fence: int | None = None) -> Outcome:
        reason = "no sign of life of its operator for 30 s"
        return self.say(self.sn, "LeaseEnded", {"slot": slot.id, "fence": fence or slot.fence, "reason": reason})

    # ---- reading

    @property
    def taskrunner(self) -> Taskrunner:
        return self.ledger.taskrunners[DEFAULT_NAME]

    @property
    def run(self) -> Run:
        assert self.taskrunner.current is not None
        return self.taskrunner.current

    def slot(self, id_: str) -> Slot:
        return self.ledger.board.slots[id_]

    def slots(self, actor: Actor) -> list[Slot]:
        return [slot for slot in self.ledger.board.slots.values() if slot.swop == actor.uid]

    def about_tasks(self, events: list[Event]) -> list[tuple[str, ...]]:
        """Events in short, for comparison: what changed, and into what."""
        short = []
        for event in events:
            match event:
                case SlotAssigned():
                    short.append(("assigned", event.slot))
                case SlotChanged():
                    short.append((event.state, event.slot))
                case TaskChanged():
                    short.append((event.state, event.task))
        return short
