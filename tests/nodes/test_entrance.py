"""A command without flags gets into what `swarm up` runs here, by any network node of it that takes connections."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import psutil
import pytest

from swarm.errors import Unreachable
from swarm.nodes.entrance import of_swarm_up
from swarm.nodes.sn_return import set_aside
from swarm.nodes.standing import Standing
from swarm.runtime.statedir import StateDirectory, default_state_dir


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """sn-1 and sn-2, both of them this process."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    directory = default_state_dir("up")
    directory.mkdir(parents=True)
    started = psutil.Process().create_time()
    nodes = [{"name": name, "pid": os.getpid(), "started": started} for name in ("sn-1", "sn-2")]
    (directory / "up.json").write_text(json.dumps({"version": 1, "nodes": nodes}))
    return directory


def ready(up: Path, name: str, port: int) -> None:
    (up / name).mkdir()
    said = {"host": "127.0.0.1", "api_port": port, "p2p_port": port + 1, "uid": "u", "pid": os.getpid()}
    (up / name / "ready.json").write_text(json.dumps(said))


def test_who_does_not_listen_just_now_is_passed_over(up: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        ready(up, "sn-2", port)
        assert of_swarm_up().address == ("127.0.0.1", port), "sn-1 has not said yet where it is"
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            ready(up, "sn-1", closed.getsockname()[1])
            assert of_swarm_up().address == ("127.0.0.1", port)
    with pytest.raises(Unreachable, match="takes connections yet, and these run: sn-1, sn-2"):
        of_swarm_up()


def test_a_node_that_comes_back_as_a_learner_has_its_ports_and_is_not_ready(up: Path) -> None:
    ready(up, "sn-1", 30304)
    with StateDirectory(up / "sn-1") as state:
        aside = set_aside(state)
    assert Standing(up).api_port("sn-1") == 30304, "if it is started again now, it is where it was"
    assert json.loads((up / "sn-1" / "ready.json").read_text()) == {
        "host": "127.0.0.1", "api_port": 30304, "p2p_port": 30305,
    }  # fmt: skip
    assert json.loads((aside / "ready.json").read_text())["uid"] == "u"
