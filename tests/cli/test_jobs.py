"""Jobs on this machine by real nodes: submitted, queued, run, ended by people, and gone with their swarm."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.nodes.waiting import PATIENCE_S

pytestmark = pytest.mark.slow
RANKS = Path(__file__).parent.parent / "programs" / "ranks.py"


class Here:
    def __init__(self, front, tmp_path):
        self.front, self.tmp_path = front, tmp_path

    def ask(self, *arguments, code=0):
        done = self.front(*arguments, "--json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def submit(self, name, program, **body):
        path = self.tmp_path / f"{name}.yaml"
        said = {"Command": ["python", "-c", program], **body}
        path.write_text(json.dumps({"Name": name, "TaskType": "RUN_JOBS", "Body": said}))
        return self.ask("run", "-f", str(path))["id"]

    def until(self, task, *states):
        until = time.monotonic() + PATIENCE_S
        while (found := self.ask("status", str(task)))["state"] not in states:
            assert time.monotonic() < until, found
        return found


@pytest.fixture
def here(front, tmp_path):
    here = Here(front, tmp_path)
    here.nodes = here.ask("up", "--sns", "1", "--cpu", "1")["nodes"]
    return here


def test_jobs_wait_for_room_run_and_end_and_nothing_of_them_is_left(here, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first = here.submit("first", f"print('begins', flush=True); open({str(gate)!r}).read()", Envvars={"LR": 4})
    second = here.submit("second", "raise SystemExit(3)")
    third = here.submit("third", "import time; time.sleep(1000)")
    assert here.until(first, "running")["task"]["Body"]["Envvars"] == {"LR": "4"}
    queued = here.ask("status", "third")
    assert (queued["id"], queued["state"], queued["position"]) == (3, "queued", 1)
    waits = "1 task ahead; needs 1 cpu: swop-1 (org-1) has 0 of 1 cpu free"
    assert (queued["message"], here.ask("queue")["tasks"][1]["message"]) == (waits, waits)
    assert (queued["started"], queued["ended"]) == (None, None)

    assert here.ask("task", "rm", "first", code=5)["error"]["message"].endswith("it cannot be deleted")
    gate.write_text("")
    assert here.until(first, "done")["slots"][0]["exit_code"] == 0
    failed = here.until(second, "failed")
    assert failed["message"] == "its program ended with exit code 3"
    (slot,) = here.until(third, "running")["slots"]
    assert (slot["name"], slot["attempt"], slot["swop"]) == ("swarm-third-job-0", 1, "swop-1 (org-1)")
    here.ask("task", "stop", "third")
    assert here.until(third, "stopped")["message"] == "stopped by swarm://org-1/swci/swci-1"
    assert here.ask("task", "rm", "first")["ok"]
    assert [row["name"] for row in here.ask("task", "ls")["tasks"]] == ["second", "third"]
    assert here.ask("status", "first", code=2)["error"]["message"] == "task 'first' not found"

    running = here.submit("fourth", "import time; time.sleep(1000)")
    here.until(running, "running")
    here.ask("down")
    left = [process for process in psutil.process_iter() if str(tmp_path) in " ".join(_words(process))]
    assert not left


def test_up_is_not_done_before_the_ledger_knows_the_new_room_of_an_operator_that_runs(here, tmp_path):
    (operator,) = (node["pid"] for node in here.nodes if node["name"] == "swop-1")
    profile, until = tmp_path / "state/swarm/up/swop-1.yaml", time.monotonic() + PATIENCE_S
    with ThreadPoolExecutor() as pool:
        os.kill(operator, signal.SIGSTOP)
        try:
            up = pool.submit(here.ask, "up", "--sns", "1", "--cpu", "2")
            while "{cpu: 2," not in profile.read_text():
                assert time.monotonic() < until
            with pytest.raises(TimeoutError):
                up.result(0.5)
        finally:
            os.kill(operator, signal.SIGCONT)
        assert up.result(PATIENCE_S)["ok"]


def test_the_ranks_of_a_gang_reduce_together_and_end_together(here, tmp_path):
    gate = tmp_path / "gate"
    gate.mkdir()
    os.mkfifo(gate / "open")
    here.ask("up", "--sns", "1", "--cpu", "3")
    ranks = {"Replicas": 3, "Rendezvous": True, "Command": ["python", str(RANKS), "-"]}
    good = here.until(here.submit("good", "", **ranks), "done", "failed")
    assert good["state"] == "done", good
    assert [slot["role"] for slot in good["slots"]] == ["master", "worker", "worker"]
    jobs = here.ask("runs", "show", "good")["jobs"]
    assert [[(line["epoch"], line["rank"], line["metrics"]) for line in job["metrics"]] for job in jobs] == [
        [(1, rank, {"total": 6.0})] for rank in range(3)
    ]
    best = here.ask("runs", "best", "good", "--by", "total")["best"]
    assert (Path(best["output"]) / "model").read_text() == "6"
    said = here.ask("logs", good["slots"][2]["id"])["lines"]
    assert said[-1] == "rank 2 of 3: 6"

    bad = here.submit("bad", "", **{**ranks, "Command": ["python", str(RANKS), str(gate)]})
    until = time.monotonic() + PATIENCE_S
    while not all((gate / str(rank)).exists() and (gate / str(rank)).read_text() for rank in range(3)):
        assert time.monotonic() < until
    pids = [int((gate / str(rank)).read_text()) for rank in range(3)]
    os.kill(pids[2], signal.SIGKILL)
    failed = here.until(bad, "failed")
    assert failed["message"] == "rank 2 failed: its program was killed by SIGKILL"
    assert [slot["state"] for slot in failed["slots"]] == ["stopped", "stopped", "failed"]
    assert not any(map(psutil.pid_exists, pids))


def _words(process):
    try:
        return [*process.cmdline(), *process.environ().values()] if process.status() != psutil.STATUS_ZOMBIE else []
    except psutil.Error:
        return []
