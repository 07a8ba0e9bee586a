"""Drafts of tasks, finalized and started at the wrong time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swarm.cli.main import command
from swarm.core.roles import Role
from swarm.core.rules import KNOWN
from swarm.wire.slotkey import Place, SlotKey
from tests.bad_input.identity import Author, Network
from tests.bad_input.messages import Told, case
from tests.bad_input.nodes import entrance, swarm
from tests.bad_input.stage import Stage
from tests.core.rolescene import submitted


def led(stage: Stage, name: str, *steps: str) -> Path:
    """The file of a task that is a draft by now, and was led on by these commands."""
    path = stage.new("task.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(f"Name: {name}\nTaskType: RUN_JOBS\nBody:\n  Command: [python, t.py]\n")
    for words in (("create", path), *((step, name) for step in steps)):
        stage.do(command, "task", *words, *entrance(stage, "swci"))
    return path


@case("swarm task create: a name that there is")
def _(stage: Stage) -> Told:
    return swarm(stage, "task", "create", led(stage, "twice"), *entrance(stage, "swci"))


@case("swarm task start: a draft")
def _(stage: Stage) -> Told:
    led(stage, "draft")
    return swarm(stage, "task", "start", "draft", *entrance(stage, "swci"))


@case("swarm task finalize: a final task")
def _(stage: Stage) -> Told:
    led(stage, "final", "finalize")
    return swarm(stage, "task", "finalize", "final", *entrance(stage, "swci"))


@case("swarm task start: a task that was started")
def _(stage: Stage) -> Told:
    led(stage, "started", "finalize", "start")
    return swarm(stage, "task", "start", "started", *entrance(stage, "swci"))


@case("swarm task start: a task that was stopped before")
def _(stage: Stage) -> Told:
    led(stage, "ended", "finalize", "stop")
    return swarm(stage, "task", "start", "ended", *entrance(stage, "swci"))


class Held(Network):
    """A network with a final task that has one slot, which a learning node of organisation b has joined."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage, 1, KNOWN)
        self.swci = self.join(Author(stage.a, "swci", stage.new("swci")))
        self.sl = self.join(Author(stage.b, "sl", stage.new("sl")))
        trainer = submitted(Role("trainer", owner="participant", cpu=0), name="held", draft=True)
        self.does(self.swci, "RolesSubmitted", trainer)
        self.does(self.swci, "JobsFinalized", {"task": "held"})
        network, state = self.ledgers[0].network_id, self.sl.state
        key = SlotKey.of(b"a secret", network, "held")
        proof = key.prove(Place(network, "held", "trainer", state.uid, state.incarnation))
        body = {"task": "held", "role": "trainer", "key": key.public, "proof": proof}
        self.slot = self.does(self.sl, "SlotJoined", body)

    def does(self, author: Author, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        outcome = self.proposed(author, kind, body)
        assert outcome.accepted, outcome.reason
        return outcome.result

    def refusal(self, author: Author, kind: str, body: dict[str, Any]) -> Told:
        error = self.proposed(author, kind, body).error()
        assert error is not None
        return Told.by(error)


@case("swarm task start: a task that is being stopped")
def _(stage: Stage) -> Told:
    network = Held(stage)
    network.does(network.swci, "JobsStopped", {"task": "held"})
    return network.refusal(network.swci, "JobsStarted", {"task": "held"})


@case("a participant is done before the start of its task")
def _(stage: Stage) -> Told:
    network = Held(stage)
    told = {"slot": network.slot["slot"], "fence": network.slot["fence"], "state": "done", "reason": ""}
    return network.refusal(network.sl, "SlotTold", told)
