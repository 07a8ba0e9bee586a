"""`swarm up`, `swarm down` and `swarm contract reset`, with real nodes."""

import json
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from swarm.nodes import standing
from swarm.nodes.local import LocalSwarm

MERGE_NUMBERS = Path(__file__).parent.parent / "programs" / "merge_numbers.py"


@pytest.fixture
def swarm(front):
    return front


def running(pid):
    """Not counting what is dead and waits for its parent."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def test_down_without_up_says_so_and_makes_nothing(swarm, tmp_path):
    ended = swarm("down")
    assert (ended.returncode, ended.stdout) == (0, "nothing was running\n")
    assert not (tmp_path / "state").exists()


def test_nodes_stay_until_down_and_come_back_with_their_ledger(swarm, tmp_path):
    first = json.loads(swarm("up", "--json").stdout)
    assert [node["name"] for node in first["nodes"]] == ["sn-1", "sn-2", "swop-1"]
    assert json.loads(swarm("up", "--json").stdout)["nodes"] == first["nodes"]  # what runs stays

    command = shlex.split(first["commands"][0].split(" -- ")[0])
    command += ["--", sys.executable, str(MERGE_NUMBERS), "1", "0", str(tmp_path)]
    alone = {**swarm.environment, "SWARM_PEER": "0", "SWARM_PEERS": "1"}
    trained = subprocess.run(command, capture_output=True, text=True, timeout=300, env=alone)
    assert trained.returncode == 0, trained.stderr

    ended = json.loads(swarm("down", "--json").stdout)
    assert ended["ended"] == ["sn-1", "sn-2", "swop-1"]
    assert not any(running(node["pid"]) for node in first["nodes"])

    again = json.loads(swarm("up", "--json").stdout)
    assert [node["address"] for node in again["nodes"]] == [node["address"] for node in first["nodes"]]
    asked = swarm("contract", "rebase", "numbers")
    assert asked.returncode == 2
    assert "this would give up the model blake3:" in asked.stderr
    finished = swarm("contract", "rebase", "numbers", "--force")
    assert finished.returncode == 5
    assert "contract numbers is finished: its final model stays" in finished.stderr
    reset = swarm("contract", "reset", "numbers")  # the ledger still knows it
    assert reset.returncode == 0, reset.stderr
    assert "contract numbers is reset" in reset.stdout
    unknown = swarm("contract", "reset", "numbers")
    assert unknown.returncode == 5
    assert "there is no contract numbers" in unknown.stderr
    assert swarm("down", "--purge").returncode == 0
    assert not (tmp_path / "state" / "swarm" / "up").exists()


def test_down_ends_no_process_that_merely_has_the_pid(swarm, tmp_path):
    state = tmp_path / "state" / "swarm" / "up"
    state.mkdir(parents=True)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    record = {"version": 1, "nodes": [{"name": "sn-1", "pid": other.pid, "started": 12345.0}]}
    (state / "up.json").write_text(json.dumps(record))
    assert swarm("down").stdout == "nothing was running\n"
    assert other.poll() is None
    other.communicate()


def test_whoever_takes_the_usual_ports_meanwhile_is_made_way_for(tmp_path, monkeypatch):
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        usual = (first.getsockname()[1], second.getsockname()[1])
        started = []
        start = LocalSwarm.start_network_node

        def outrun(self, number, *, p2p_port, api_port, **rest):
            first.listen()
            second.listen()
            started.append((p2p_port, api_port))
            return start(self, number, p2p_port=p2p_port, api_port=api_port, **rest)

        monkeypatch.setattr(LocalSwarm, "start_network_node", outrun)
        monkeypatch.setattr(standing, "SENTINEL_PORTS", usual)
        looks = iter([usual])
        monkeypatch.setattr(standing, "_free_ports", lambda number: next(looks, (0, 0)))
        with standing.Standing(tmp_path / "up") as here:
            nodes = here.up(1, 1, 0)
            assert started == [usual, (0, 0)]
            assert {node.name for node in here.down()} == {node.name for node in nodes}


def test_reset_needs_all_its_flags_or_a_swarm_here(swarm):
    half = swarm("contract", "reset", "demo", "--sn-ip", "127.0.0.1")
    assert half.returncode == 2
    assert "belong together" in half.stderr
    nowhere = swarm("contract", "reset", "demo")
    assert nowhere.returncode == 2
    assert "no swarm runs here" in nowhere.stderr
