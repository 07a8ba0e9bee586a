"""Drafts of tasks, finalized and started at the wrong time."""

from __future__ import annotations

from pathlib import Path

from swarm.cli.main import command
from tests.bad_input.messages import Told, case
from tests.bad_input.nodes import entrance, swarm
from tests.bad_input.stage import Stage


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
