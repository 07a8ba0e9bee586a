"""The front: examples first, names that exist, nothing heavy loaded."""

import os
import subprocess
import sys
from importlib import import_module

import click
import pytest

import swarm
from swarm.cli.ending import run
from swarm.cli.main import COMMANDS, command


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_starts_with_examples_and_lists_the_commands(arguments, capsys):
    assert run(command, arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("Examples:\n  swarm demo")
    assert "Commands:" in out


def test_version_is_that_of_the_package(capsys):
    assert run(command, ["--version"]) == 0
    assert capsys.readouterr().out == f"swarm {swarm.__version__}\n"


def test_it_is_a_module_that_runs_as_the_command_does():
    asked = [sys.executable, "-m", "swarm.cli.main", "bensch"]
    done = subprocess.run(asked, capture_output=True, text=True, env=dict(os.environ))
    assert (done.returncode, "no such command 'bensch'" in done.stderr) == (2, True)


def test_an_unknown_command_is_bad_input_and_the_near_one_is_named(capsys):
    assert run(command, ["bensch"]) == 2
    assert "no such command 'bensch'" in capsys.readouterr().err


def test_every_command_of_the_table_that_exists_is_a_click_command_with_examples():
    front = command
    context = click.Context(front)
    for name in front.list_commands(context):
        module, attribute = COMMANDS[name].home.split(":")
        assert isinstance(getattr(import_module(module), attribute), click.Command), name


@pytest.mark.parametrize("statement", ["import swarm", "import swarm.cli.main", "import swarm.keras", "--help"])
def test_neither_network_nor_framework_is_loaded(statement):
    heavy = {"libp2p", "trio", "tensorflow", "keras", "torch", "jax", "sklearn", "cryptography", "numpy"}
    if statement == "import swarm.keras":  # the door of Keras programs: they have Keras
        heavy -= {"keras", "tensorflow", "numpy", "torch", "jax", "sklearn"}
        pytest.importorskip("swarm.keras")
    if statement == "--help":
        statement = "from swarm.cli.main import command; from swarm.cli.ending import run; run(command, ['--help'])"
    check = f"import sys; {statement}; print('loaded', *sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.splitlines()[-1].strip() == "loaded"
