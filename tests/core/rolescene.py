"""Tasks with roles on a scene: what the tests of roles, of scaling and of work items have in common."""

from __future__ import annotations

from typing import Any

from swarm.core.events import Outcome
from swarm.core.jobslot import JobSlot
from swarm.core.roles import Role
from swarm.core.rolesrun import RolesRun
from swarm.core.taskrunner import DEFAULT_NAME
from tests.core.jobscene import JobScene
from tests.core.scene import Actor

CARTPOLE = (
    Role("coordinator", lead=True, restart=1),
    Role("learner", low=1, high=4, start=2, needs=("coordinator",), restart=1, contract="param"),
    Role("collector", low=1, high=8, start=2, needs=("coordinator", "learner"), restart=1),
)


def submitted(
    *roles: Role, name: str = "cartpole", within_s: int = 120, clean: bool = True, **more: bool
) -> dict[str, Any]:
    """The body of a RolesSubmitted."""
    said = [role.said() for role in roles]
    terms = {"roles": said, "within_s": within_s, "clean": clean, **more}
    return {"taskrunner": DEFAULT_NAME, "name": name, "author": "alice", **terms, "body": {"Roles": ["x"]}}


class RoleScene(JobScene):
    """One with operators that take ``cpu`` slots at a time each."""

    def play(self, *roles: Role, **terms: Any) -> RolesRun:
        outcome = self.say(self.swci, "RolesSubmitted", submitted(*(roles or CARTPOLE), **terms))
        assert outcome.accepted, outcome.reason
        return self.ledger.board.jobs.with_roles[outcome.result["run"]]

    def runs(self, *slots: JobSlot) -> None:
        for slot in slots:
            self.ends(slot, "running")

    def all_run(self, run: RolesRun) -> None:
        """Every slot, in the order in which they may start."""
        while new := [slot for slot in run.slots.values() if slot.state == "assigned"]:
            self.runs(*new)

    def scale(self, role: str, *, to: int | None = None, more: int = 0) -> Outcome:
        count = {"by": more} if to is None else {"to": to}
        return self.say(self.swci, "RolesScaled", {"task": "cartpole", "role": role, **count})

    def holder(self, slot: JobSlot) -> Actor:
        return next(each for each in self.operators if each.uid == slot.swop)


def held(slot: JobSlot) -> dict[str, Any]:
    return {"slot": slot.id, "fence": slot.fence}


def states(run: RolesRun) -> dict[str, str]:
    """In short: `coordinator 0` -> its state."""
    return {f"{slot.role} {slot.index}": slot.state for slot in run.slots.values() if slot.id not in run.removed}
