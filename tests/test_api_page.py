"""docs/API.md names whatever there is: the public names, and for each command of a network the method that does it."""

import inspect
import re
from pathlib import Path

import click

import swarm
from swarm.cli.main import COMMANDS, Front

PAGE = (Path(swarm.__file__).parent.parent / "docs" / "API.md").read_text()


def commands():
    """Each command that does something, by its words."""
    front = Front("swarm")
    context = click.Context(front)
    for name in COMMANDS:
        command = front.get_command(context, name)
        inside = command.commands if isinstance(command, click.Group) else {}
        yield from (f"swarm {name} {each}" for each in inside)
        if not inside:
            yield f"swarm {name}"


def test_every_public_name_is_there_and_said():
    assert len(set(swarm.__all__)) == len(swarm.__all__)
    for name in swarm.__all__:
        assert getattr(swarm, name)
        assert f"`swarm.{name}`" in PAGE


def test_every_command_has_its_method_or_is_said_to_have_none():
    rows = dict(re.findall(r"^\| `(swarm [a-z ]+)` \| `([a-z_]+)\(", PAGE, re.MULTILINE))
    methods = {name for name, _ in inspect.getmembers(swarm.Client, callable) if not name.startswith("_")}
    also = set(re.findall(r"`(plan_sweep)\(", PAGE))
    assert set(rows.values()) | also == methods
    without = set(re.findall(r"`(swarm [a-z]+)`[,.]", PAGE[PAGE.index("Without a method") :].replace("\n", " ")))
    said = {*rows, *without}
    for command in commands():
        assert command in said or command.rpartition(" ")[0] in without, f"docs/API.md says nothing of {command}"
