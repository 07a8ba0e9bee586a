"""A network of one SN that runs, for commands that speak with one."""

import os

import pytest

from swarm.nodes.launch import Launch
from swarm.nodes.local import READY_S, LocalSwarm


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
