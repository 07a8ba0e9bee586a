"""A network of one SN that runs, for commands that speak with one."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.nodes.launch import Launch
from swarm.nodes.local import READY_S, LocalSwarm

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def swarm(tmp_path_factory):
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        made = LocalSwarm(tmp_path_factory.mktemp("swarm"), launch, organisations=2)
        made.make_organisations()
        launch.wait_ready([made.start_network_node(1)], READY_S)
        yield made


@pytest.fixture
def identity(swarm):
    """The flags of the first organisation's command interface."""
    tree = swarm.trees[0]
    return ["--key", tree.key("swci"), "--cert", tree.certificate("swci"), "--capath", tree.capath]


@pytest.fixture
def front(tmp_path):
    """`swarm` as a person would call it who has this machine to himself; what it left up is ended."""
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PATH": f"{BIN}:{os.environ['PATH']}"}

    def swarm(*arguments):
        return subprocess.run([BIN / "swarm", *arguments], capture_output=True, text=True, timeout=300, env=environment)

    swarm.environment = environment
    with socket.socket() as usual:
        with contextlib.suppress(OSError):  # then somebody else keeps it
            usual.bind(("127.0.0.1", 30303))  # two that find it free at once would both want it
        yield swarm
        swarm("down", "--purge")
