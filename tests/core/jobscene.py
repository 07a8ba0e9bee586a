"""Tasks of jobs on a scene: what the tests of jobs, of their runs and of all that is dealt like them have in common."""

from __future__ import annotations

from typing import Any

from swarm.core.jobrun import JobRun
from swarm.core.jobslot import JobSlot
from swarm.core.rules import KNOWN
from swarm.core.taskrunner import DEFAULT_NAME
from tests.core.scene import Actor
from tests.core.tasks import TaskScene


class JobScene(TaskScene):
    """One with operators that take jobs, ``cpu`` at a time each."""

    def __init__(self, *cpu: int, gpu: int = 0, rules: int = KNOWN) -> None:
        super().__init__(rules=rules)
        self.operators = [Actor("swop", f"swop-{number}", "a") for number in range(1, len(cpu) + 1)]
        for operator, count in zip(self.operators, cpu, strict=True):
            assert self.join(operator).accepted
            self.offer_room(operator, count, gpu)

    def offer_room(self, operator: Actor, cpu: int, gpu: int = 0) -> None:
        body = {"taskrunner": DEFAULT_NAME, "group": "g", "peers": 1, "cpu": cpu, "gpu": gpu}
        assert self.say(operator, "SwopListening", body).accepted

    def submit(self, name: str = "job", *, by: Actor | None = None, draft: bool = False, **terms: Any) -> JobRun:
        asked = {"slots": 1, "gang": False, "probe": 0, "restart": 0, "cpu": 1, "gpu": 0, **terms}
        body = {"taskrunner": DEFAULT_NAME, "name": name, "author": "alice", "terms": asked, "body": {"Command": ["x"]}}
        outcome = self.say(by or self.swci, "JobsSubmitted", {**body, **({"draft": True} if draft else {})})
        assert outcome.accepted, outcome.reason
        return self.ledger.board.jobs.runs[outcome.result["run"]]

    def ends(self, slot: JobSlot, state: str = "done", reason: str = "") -> None:
        operator = next(each for each in self.operators if each.uid == slot.swop)
        outcome = self.report(operator, slot, state, reason)
        assert outcome.accepted, outcome.reason

    def stop(self, name: str = "job", **more: bool) -> Any:
        return self.say(self.swci, "JobsStopped", {"task": name, **more})

    def retry(self, name: str = "job") -> Any:
        return self.say(self.swci, "JobsRetried", {"task": name})

    def finalize(self, name: str = "job") -> Any:
        return self.say(self.swci, "JobsFinalized", {"task": name})

    def start(self, name: str = "job") -> Any:
        return self.say(self.swci, "JobsStarted", {"task": name})

    def delete(self, name: str = "job", **more: bool) -> Any:
        return self.say(self.swci, "JobsDeleted", {"task": name, **more})


def states(run: JobRun) -> list[str]:
    return [slot.state for slot in run.slots.values()]


def slots(run: JobRun) -> list[JobSlot]:
    return list(run.slots.values())
