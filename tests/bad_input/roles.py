"""Tasks with roles whose channels and groups could never merge, and whose code is none."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from tests.bad_input.messages import Told, case
from tests.bad_input.nodes import swarm
from tests.bad_input.stage import Stage

GROUPS = """\
Name: digits
TaskType: RUN_SWARM
Body:
  Roles:
    - {Name: trainer, Owner: participant, Replicas: 4, Command: [python, train.py]}
    - {Name: leader, Replicas: 2, Command: [python, lead.py]}
    - {Name: watcher, Needs: [leader], Command: [python, watch.py]}
  Channels:
    - {Name: digits, Between: [trainer, leader], GroupBy: [eu, us]}
    - {Name: all, Between: [leader, leader], Every: 5}
"""
PICKED = "{Name: all, Between: [watcher, watcher], pickPeers: 2}"


def checked(stage: Stage, changed: str, into: str) -> Told:
    assert changed in GROUPS
    path = stage.new("roles.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GROUPS.replace(changed, into))
    return swarm(stage, "task", "check", path)


@case("swarm task check: a role that no channel leads to")
def _(stage: Stage) -> Told:
    return checked(stage, "Needs: [leader], ", "")


@case("swarm task check: a role that needs another twice")
def _(stage: Stage) -> Told:
    return checked(stage, "Needs: [leader]", "Needs: [leader, leader]")


@case("swarm task check: a group that nobody is in")
def _(stage: Stage) -> Told:
    return checked(stage, "GroupBy: [eu, us]", "GroupBy: [eu, us, asia, africa, oceania]")


@case("swarm task check: more leaders than groups")
def _(stage: Stage) -> Told:
    return checked(stage, "Replicas: 2", "Replicas: 3")


@case("swarm task check: more members a round than there are slots")
def _(stage: Stage) -> Told:
    return checked(stage, "{Name: all, Between: [leader, leader], Every: 5}", PICKED)


@case("swarm task check: a leader of no group")
def _(stage: Stage) -> Told:
    return checked(stage, "[leader, leader]", "[leader, watcher]")


@case("swarm task check: two levels, and nobody leads")
def _(stage: Stage) -> Told:
    return checked(stage, "[leader, leader]", "[watcher, watcher]")


@case("swarm task check: merged above after no merge")
def _(stage: Stage) -> Told:
    return checked(stage, "Every: 5", "Every: 0")


def checked_with(stage: Stage, *names: str) -> Told:
    """With code in a zip that holds these."""
    path = with_code(stage)
    with zipfile.ZipFile(path.with_name("code.zip"), "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return swarm(stage, "task", "check", path)


def with_code(stage: Stage) -> Path:
    path = stage.new("roles.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GROUPS.replace("Body:\n", "Body:\n  Code: code.zip\n"))
    return path


@case("swarm task check: a zip with a file below a file")
def _(stage: Stage) -> Told:
    return checked_with(stage, "train.py", "train.py/lead.py")


@case("swarm task check: a zip that is too deep")
def _(stage: Stage) -> Told:
    return checked_with(stage, "a/" * 64 + "train.py")


@case("swarm task check: a zip with a name that speaks to the terminal")
def _(stage: Stage) -> Told:
    return checked_with(stage, "train.py", "\x1b]0;owned\x07.py")


@case("swarm task check: a tar that is called a zip")
def _(stage: Stage) -> Told:
    path = with_code(stage)
    with tarfile.open(path.with_name("code.zip"), "w") as archive:
        archive.addfile(tarfile.TarInfo("train.py"))
    return swarm(stage, "task", "check", path)


@case("swarm run -f: a sweep with more slots than one may have")
def _(stage: Stage) -> Told:
    path = stage.new("wide.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "Name: cv\nTaskType: RUN_SWARM\nBody:\n  ForEach: {'%KEY': [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}\n"
        "  Roles: [{Name: x, Replicas: {min: 1, max: 1000}, Command: [cat, '%KEY']}]\n"
    )
    return swarm(stage, "run", "-f", path)
