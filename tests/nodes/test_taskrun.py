"""The documents of a local run through operators and SWCI, and what is said of a worker that fails."""

import json

import pytest

from swarm.core.events import SlotAssigned
from swarm.errors import WorkerFailed
from swarm.nodes.launch import Launch
from swarm.nodes.slotdirectory import SlotDirectories, SlotDirectory, Verdict
from swarm.nodes.taskrun import PLACE, TaskRun, Work
from swarm.wire import profile, taskfile

WORK = Work("demo", ["-m", "a.program", PLACE, "--epochs", "3"], {"THREADS": "1"}, [])


@pytest.fixture
def run(tmp_path):
    with Launch() as launch:
        yield TaskRun(tmp_path, launch, peers=3, sns=1, look=lambda: None)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_operators_profile_is_one_of_ours_with_its_own_paths(run, tmp_path, number):
    path = run._write_profile(number, "demo", tmp_path / f"peer-{number}")
    assert "<" not in "".join(line.partition("#")[0] for line in path.read_text().splitlines())
    made = profile.parse(path.read_bytes(), path.name)
    (node,) = made.nodes
    assert made.resourcemgr.mgrtype == "PROCESS"
    assert node.attribute("KEY").src == str(run.swarm.trees[number - 1].key("sl"))
    assert node.attribute("CERT").src == str(run.swarm.trees[number - 1].certificate("sl"))
    assert node.attribute("CAPATH").src == str(run.swarm.trees[number - 1].capath)
    assert node.privatedata.src == str(tmp_path / f"peer-{number}")
    assert (node.slhostip, node.slport, node.slhostname) == ("127.0.0.1", None, f"sl{number}")


def test_the_task_reads_as_a_task_file(run, tmp_path, monkeypatch):
    monkeypatch.setattr(run.swarm, "api_port", lambda number: 30304)
    script = run._write_script(WORK).read_text()
    task = taskfile.parse((tmp_path / "demo_task.yaml").read_bytes(), "demo_task.yaml")
    assert (task.name, task.body.Command) == ("demo", f"-m a.program {PLACE} --epochs 3")
    assert task.body.Envvars == {"THREADS": "1"}
    assert "WITH IP 127.0.0.1 30304\n" in script


def test_a_worker_that_fails_is_named_with_its_last_lines(run, tmp_path):
    slots = SlotDirectories(tmp_path / "slots", SlotDirectory)
    slot = slots.of(SlotAssigned("12.0", "runner", 12, "task", "uid", 0, 12, 1))
    slot.intend()
    run._check(2, slot)
    (slot.path / "sl").mkdir()
    (slot.path / "sl" / "report.jsonl").write_text(json.dumps({"event": "program_started", "pid": 1}) + "\n")
    (slot.path / "ml.log").write_text("ValueError: no column named age\n")
    slot.conclude(Verdict("failed", "its program ended with exit code 1", 1), 1)
    with pytest.raises(WorkerFailed, match=r"peer-2 .*sl-2.*exit code 1; its last lines:\n  ValueError: no column"):
        run._check(2, slot)
