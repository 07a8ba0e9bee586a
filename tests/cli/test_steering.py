"""`swarm.Client` does what the commands do, in a real network."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import swarm
from swarm.errors import BadInput, Refused, Unreachable, WorkerFailed

PAGE = Path(swarm.__file__).parent.parent / "docs" / "API.md"


def test_a_client_needs_all_of_an_entrance_or_none_and_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(BadInput, match="sn_ip, key, cert and capath belong together"):
        swarm.Client("127.0.0.1")
    with pytest.raises(BadInput, match="no swarm runs here"):
        swarm.Client()


@pytest.mark.slow
def test_a_program_steers_a_network_as_the_commands_do(front, tmp_path, monkeypatch, capsys):
    def said(*command):
        done = front(*command, "--json")
        assert done.returncode == 0, done.stderr
        return {
            name: value for name, value in json.loads(done.stdout).items() if name not in ("ok", "version", "seconds")
        }

    said("up", "--sns", "1", "--cpu", "1")
    for name, value in front.environment.items():
        monkeypatch.setenv(name, value)
    (example,) = re.findall(r"```python\n(.+?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {})
    assert capsys.readouterr().out == "done ['42']\n"

    network = swarm.Client()
    bad = network.run({"Name": "bad", "TaskType": "RUN_JOBS", "Body": {"Command": ["python", "-c", "exit(3)"]}})
    with pytest.raises(WorkerFailed, match="task bad is failed: its program ended with exit code 3"):
        network.wait(bad["id"])
    long = {"Command": ["python", "-c", "import time; time.sleep(1000)"]}
    network.run({"Name": "long", "TaskType": "RUN_JOBS", "Body": long})
    assert network.wait("long", until="running")["state"] == "running"
    with pytest.raises(Unreachable, match=r"0.1 s were not enough for task long to be ended: task long is running"):
        network.wait("long", 0.1)
    with pytest.raises(Refused, match="cannot be deleted"):
        network.remove("long")
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(network.task, ["bad", "long"])) == [said("status", "bad"), said("task", "show", "long")]
    assert network.tasks() == said("task", "ls")["tasks"]
    network.kill("long")
    assert front("task", "wait", "long").returncode == 6
    network.remove("long")
    with pytest.raises(BadInput, match="task 'long' not found"):
        network.wait("long")

    (tmp_path / "table.csv").write_text("1,2\n")
    network.add_data("user.swci-1.table", tmp_path / "table.csv", tags=("clean",))
    network.tag_data("user.swci-1.table", "gold", commit=1)
    assert network.datasets() == said("data", "ls")["datasets"]
    assert network.dataset("user.swci-1.table") == said("data", "show", "user.swci-1.table")
    assert [row["name"] for row in network.organisations()] == ["org-1"]
    assert [row["uid"] for row in network.nodes()] == [row["uid"] for row in said("nodes")["nodes"]]
    network.remove_data("user.swci-1.table")
    said("down")
