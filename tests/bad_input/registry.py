"""Datasets, tasks that use them, and what they make: names, files and selections that there are not."""

from __future__ import annotations

from pathlib import Path

from tests.bad_input.messages import Told, case
from tests.bad_input.nodes import entrance, swarm
from tests.bad_input.stage import Stage

MINE = "user.swci-1.texts"


def table(stage: Stage) -> Path:
    path = stage.new("table.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text,label\na,b\n")
    return path


def job(stage: Stage, body: str) -> Path:
    path = stage.new("job.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"Name: job\nTaskType: RUN_JOBS\nBody:\n{body}")
    return path


def roles(stage: Stage, body: str) -> Path:
    path = stage.new("roles.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"Name: cv\nTaskType: RUN_SWARM\nBody:\n  Roles: [{{Name: x, Command: [cat, '%IN']}}]\n{body}")
    return path


@case("swarm data add: another's prefix")
def _(stage: Stage) -> Told:
    return swarm(stage, "data", "add", "user.bob.texts", table(stage), *entrance(stage, "swci"))


@case("swarm data add: a file that is not there")
def _(stage: Stage) -> Told:
    return swarm(stage, "data", "add", MINE, stage.new("nothing"), *entrance(stage, "swci"))


@case("swarm data add: a directory without files")
def _(stage: Stage) -> Told:
    (place := stage.new("empty")).mkdir(parents=True)
    return swarm(stage, "data", "add", MINE, place, *entrance(stage, "swci"))


@case("swarm data commit: no such dataset")
def _(stage: Stage) -> Told:
    return swarm(stage, "data", "commit", MINE, table(stage), *entrance(stage, "swci"))


@case("swarm data show: no selection")
def _(stage: Stage) -> Told:
    return swarm(stage, "data", "show", f"{MINE}@", *entrance(stage, "swci"))


@case("swarm run -f: a dataset that there is not")
def _(stage: Stage) -> Told:
    path = job(stage, "  Command: [cat, '%DATA']\n  Data: {'%DATA': user.swci-1.nothing}\n")
    return swarm(stage, "run", "-f", path, *entrance(stage, "swci"))


@case("swarm run -f: data that the command does not name")
def _(stage: Stage) -> Told:
    return swarm(stage, "run", "-f", job(stage, f"  Command: [cat]\n  Data: {{'%DATA': {MINE}}}\n"))


@case("swarm run -f: an Exec that only a shell understands")
def _(stage: Stage) -> Told:
    return swarm(stage, "run", "-f", job(stage, "  Exec: python -c 'a; b'; echo done\n"))


@case("swarm run -f: an Exec with an open quote")
def _(stage: Stage) -> Told:
    return swarm(stage, "run", "-f", job(stage, "  Exec: echo 'one two\n"))


@case("swarm run -f: an output whose name is none")
def _(stage: Stage) -> Told:
    return swarm(stage, "run", "-f", job(stage, "  Command: [cat]\n  Output: model@1\n"))


@case("swarm run -f: a swarm for each file of a dataset")
def _(stage: Stage) -> Told:
    return swarm(stage, "run", "-f", roles(stage, f"  ForEach: {{'%IN': {MINE}}}\n"))


@case("swarm run -f: datasets for all roles")
def _(stage: Stage) -> Told:
    return swarm(stage, "run", "-f", roles(stage, f"  Data: {{'%DATA': {MINE}}}\n"))


@case("swarm runs get: no such artifact")
def _(stage: Stage) -> Told:
    return swarm(stage, "runs", "get", "model", stage.new("copy"), *entrance(stage, "swci"))
