"""`swarm.Client` does what the commands do, in a real network."""

import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import pytest

import swarm
from swarm.errors import BadInput, Refused, Unreachable, WorkerFailed

PAGE = Path(swarm.__file__).parent.parent / "docs" / "API.md"
BIN = Path(sys.executable).parent
TABLE = "user.swci-1.table"


def test_a_client_needs_all_of_an_entrance_or_none_and_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(BadInput, match="sn_ip, key, cert and capath belong together"):
        swarm.Client("127.0.0.1")
    with pytest.raises(BadInput, match="no swarm runs here"):
        swarm.Client()


class Watching:
    """A list that is watched; in the block it has shown something, and after it nothing of it runs."""

    def __init__(self, front, *words):
        command = [BIN / "swarm", *words, "-w"]
        self._process = subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=front.environment)

    def __enter__(self):
        self._first = self._process.stdout.readline()
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._process.stderr.close()

    def interrupted(self):
        self._process.send_signal(signal.SIGINT)
        return self._rest()[1], self._process.returncode

    def ended(self):
        out, told = self._rest()
        assert (self._process.returncode, told) == (0, "")
        return self._first + out

    def _rest(self):
        rest = self._process.stdout.read(), self._process.stderr.read()
        self._process.wait()
        return rest


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
    with pytest.raises(WorkerFailed, match="task bad is failed: its program ended with exit code 3") as failed:
        network.wait(bad["id"])
    (slot,) = network.task("bad")["slots"]
    hint = f"swarm slots show {slot['id']} says what its program said last"
    assert failed.value.hint == hint
    assert front("task", "show", "bad").stdout.endswith(f"{hint}\n")
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
    (held,) = network.slots()
    assert (held["task"], held["leased"], held["owner"], held["log"]) == ("long", True, "swop", held["id"])
    assert (network.slot(held["id"]), network.queue()) == (said("slots", "show", held["id"]), said("queue"))
    assert [(row["cpu"], row["free_cpu"]) for row in network.queue()["operators"]] == [(1, 0)]
    changes = network.history("bad")
    assert changes == said("task", "history", str(bad["id"]))["changes"]
    assert [row["state"] for row in changes if not row["slot"]] == ["known", "queued", "running", "failed"]
    states = [row["state"] for row in changes if row["slot"]]
    assert (states[0], states[-1]) == ("assigned", "failed"), "what lies between may be over before it is said"
    assert states == [state for state in ("assigned", "starting", "running", "failed") if state in states]
    assert [(row["kind"], row["by"]) for row in (changes[0], changes[-1])] == [
        ("JobsSubmitted", "swarm://org-1/swci/swci-1"),
        ("SlotReported", "swarm://org-1/swop/swop-1"),
    ]
    network.kill("long")
    assert front("task", "wait", "long").returncode == 6
    network.remove("long")
    with pytest.raises(BadInput, match="task 'long' not found"):
        network.wait("long")

    six = {"Name": "six", "TaskType": "RUN_JOBS", "Body": {"Command": ["python", "-c", "print(6)"]}}
    draft = network.create(six)
    assert (draft["state"], network.task("six")["slots"], network.slots()) == ("draft", [], [])
    for step, why in ((network.start, "is a draft"), (network.stop, "nothing to stop")):
        with pytest.raises(Refused, match=why):
            step("six")
    with pytest.raises(Refused, match="there is a task six already"):
        network.create(six)
    assert network.remove("six", force=True) == {"task": "six"}
    again = network.create(six)["id"]
    with (
        Watching(front, "task", "ls") as tasks,
        Watching(front, "slots", "ls", "six") as slots,
        Watching(front, "task", "ls") as interrupted,
    ):
        assert interrupted.interrupted() == ("error: interrupted\n", 130)
        assert network.finalize("six") == {"task": "six", "id": again, "state": "final"}
        assert (network.task("six")["slots"][0]["state"], network.queue()["tasks"]) == ("waiting", [])
        assert said("task", "start", "six")["state"] in ("queued", "running")
        assert network.wait("six")["state"] == "done"
        shown = [tasks.ended(), slots.ended()]
    assert re.findall(r"^ *\d+ +six .*? (draft|final|done) ", shown[0], re.MULTILINE)[:2] == ["draft", "final"]
    assert all(" done " in each.splitlines()[-2] for each in shown)
    with pytest.raises(Refused, match="task six is done: it has ended"):
        network.start("six")
    network.remove("six")

    (tmp_path / "table.csv").write_text("1,2\n")
    network.add_data(TABLE, tmp_path / "table.csv", tags=("clean",))
    network.tag_data(TABLE, "gold", commit=1)
    assert network.datasets() == said("data", "ls")["datasets"]
    assert network.dataset(TABLE) == said("data", "show", TABLE)
    assert [row["name"] for row in network.organisations()] == ["org-1"]
    assert [row["uid"] for row in network.nodes()] == [row["uid"] for row in said("nodes")["nodes"]]
    network.run({"Name": "list", "TaskType": "RUN_JOBS", "Body": {"Exec": "ls %DATA", "Data": {"%DATA": f"{TABLE}@1"}}})
    assert network.wait("list")["state"] == "done"
    (tmp_path / "more.csv").write_text("3,4\n")
    network.commit_data(TABLE, tmp_path / "more.csv")
    with pytest.raises(BadInput, match="task list has no %MORE in its Data: there is %DATA"):
        network.clone("list", "again", data={"%MORE": TABLE})
    network.clone("list", "again", data={"%DATA": TABLE})
    (again,) = network.wait("again")["slots"]
    assert network.logs(again["id"]) == ["more.csv", "table.csv"], "the same, of what was added meanwhile, too"
    for task in ("list", "again"):
        network.remove(task)
    assert network.history("list")[-1]["state"] == "deleted"
    network.remove_data(TABLE)
    said("down")
