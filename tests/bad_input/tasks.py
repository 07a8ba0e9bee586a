"""Drafts that are led on, changed or joined at the wrong time; what is watched or waited for in vain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from swarm.callbacks import roles
from swarm.cli.main import command
from swarm.core.roles import Role
from swarm.core.rules import KNOWN
from swarm.wire.slotkey import Place, SlotKey
from tests.bad_input.identity import Author, Network
from tests.bad_input.messages import Told, case, refused
from tests.bad_input.nodes import entrance, swarm
from tests.bad_input.stage import Stage, identity
from tests.core.rolescene import submitted
from tests.nodes.test_desk import Operator

JOBS = "Name: {name}\nTaskType: RUN_JOBS\nBody:\n  Command: [python, t.py]\n"
ROLES = """\
Name: {name}
TaskType: RUN_SWARM
Body:
  Roles:
    - {{Name: trainer, Owner: participant, Replicas: {{min: 1, max: 3}}, Command: [python, t.py]}}
"""


def led(stage: Stage, name: str, *steps: str, body: str = JOBS) -> Path:
    """The file of a task that is a draft by now, and was led on by these commands."""
    path = stage.new("task.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(body.format(name=name))
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


@case("swarm scale: a draft")
def _(stage: Stage) -> Told:
    led(stage, "scaled", body=ROLES)
    return swarm(stage, "scale", "scaled", "trainer=+1", *entrance(stage, "swci"))


@case("swarm join: a draft", process=True)
def _(stage: Stage) -> Told:
    led(stage, "joined", body=ROLES)
    state = stage.new("sl")
    flags = (*entrance(stage, "sl"), "--sl-fs-port", 0, "--state", state)
    return stage.start(["-m", "swarm.cli.main", "join", "joined", "--role", "trainer", *flags]).ended().told


def shell(stage: Stage, line: str) -> Told:
    """This command of a command interface, as its only one in the stage's network."""
    place = stage.new("usr")
    place.mkdir(parents=True)
    enter = f"create context a with ip 127.0.0.1 {stage.api_port}\nswitch context a\n"
    (place / "swci-init").write_text(f"EXIT ON FAILURE\n{enter}{line}\n")
    flags = ("--usr-dir", place, *identity(stage.a, "swci"))
    return stage.start(["-m", "swarm.cli.run_swci", *flags]).ended().told


@case("FINALIZE TASK: a draft of swarm task create", process=True)
def _(stage: Stage) -> Told:
    led(stage, "whole")
    return shell(stage, "FINALIZE TASK whole")


@case("DELETE TASK: a draft of swarm task create", process=True)
def _(stage: Stage) -> Told:
    led(stage, "kept")
    return shell(stage, "DELETE TASK kept")


@case("swarm task ls: watched, and as JSON")
def _(stage: Stage) -> Told:
    return swarm(stage, "task", "ls", "-w", "--json", *entrance(stage, "swci"))


def asked(stage: Stage, question: Callable[[], object]) -> Told:
    """What a program of a slot is told that asks this."""
    place = stage.new("desk")
    place.mkdir(parents=True)
    (told,) = Operator(place, stage.patch).asked(lambda: refused(question))
    return told


@case("swarm.peers: a state that no slot is ever in")
def _(stage: Stage) -> Told:
    return asked(stage, lambda: roles.peers("collector", until="finished"))


@case("swarm.peers: some are not in the state in time")
def _(stage: Stage) -> Told:
    return asked(stage, lambda: roles.peers("collector", until="done", patience_s=0))


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
