"""The watcher of a job, as a process of its own, with programs that end in every way there is."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from swarm.engines import watch
from swarm.engines.process import MARK, ProcessEngine
from tests.nodes.waiting import PATIENCE_S

BEYOND = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE); "


@pytest.fixture
def watched(tmp_path):
    def start(*arguments, longest_s=0, alone_s=1000):
        (tmp_path / "life").touch()
        plan = {
            "log": str(tmp_path / "log"),
            "report": str(tmp_path / "report"),
            "working_dir": str(tmp_path),
            "arguments": list(arguments),
            "environment": dict(os.environ),
            "life": str(tmp_path / "life"),
            "longest_s": longest_s,
            "alone_s": alone_s,
        }
        (tmp_path / "plan").write_text(json.dumps(plan))
        process = subprocess.Popen([sys.executable, "-I", "-S", watch.__file__, str(tmp_path / "plan")])
        started.append(process)
        return process

    started = []
    yield start
    for process in started:
        process.kill()
        process.wait()


def report(tmp_path):
    return [json.loads(line) for line in (tmp_path / "report").read_text().splitlines()]


def ended(process, tmp_path):
    assert process.wait(PATIENCE_S) == 0
    began, end = report(tmp_path)
    assert began["event"] == "program_started"
    assert not psutil.pid_exists(began["pid"])
    return end["exit_code"], end["state"], end["why"]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("print('done')", (0, "done", "")),
        ("raise SystemExit(3)", (3, "failed", "")),
        ("import os; os.kill(os.getpid(), 9)", (-9, "failed", "")),
    ],
)
def test_how_a_program_ended_is_written_down(watched, tmp_path, program, expected):
    assert ended(watched(sys.executable, "-c", program), tmp_path) == expected


def test_a_program_that_cannot_be_started_says_so_in_its_log(watched, tmp_path):
    assert ended(watched("/no/such/program"), tmp_path) == (127, "failed", "")
    assert "cannot be started: No such file" in (tmp_path / "log").read_text()


def test_what_it_leaves_behind_is_gone_with_it(watched, tmp_path):
    process = watched(sys.executable, "-c", BEYOND + "print(subprocess)")
    assert ended(process, tmp_path)[1] == "done"
    killed = [one for one in psutil.process_iter() if _is_in(one, tmp_path)]  # the kernel may be at the end of it still
    assert not psutil.wait_procs(killed, 0.5)[1]


@pytest.mark.parametrize("how", ["killed", "swept"])
def test_a_program_and_what_it_has_started_go_with_their_watcher(watched, tmp_path, monkeypatch, how):
    """Also what has another environment, by which the engine does not know it for the slot's."""
    monkeypatch.setenv(MARK, str(tmp_path))
    unmarked = "import subprocess, time; subprocess.Popen(['env', '-i', 'sleep', '1000']); "
    process = watched(sys.executable, "-c", unmarked + "print('on', flush=True); time.sleep(1000)")
    while not (tmp_path / "log").exists() or "on" not in (tmp_path / "log").read_text():
        assert process.poll() is None
    running = [one for one in psutil.process_iter() if _is_in(one, tmp_path)]
    assert len(running) == 2, "the program and what it has started"
    process.kill() if how == "killed" else ProcessEngine().sweep(tmp_path)
    process.wait(PATIENCE_S)
    assert not psutil.wait_procs(running, PATIENCE_S)[1]


def _is_in(process, place):
    try:
        return process.cwd() == str(place) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def test_it_ends_after_its_longest_time_when_asked_to_and_when_its_operator_is_away(watched, tmp_path):
    forever = (sys.executable, "-c", "import time; time.sleep(1000)")
    _, state, why = ended(watched(*forever, longest_s=0.1), tmp_path)
    assert (state, why) == ("failed", "it ran longer than MaxRunTime, 0.1 s, and was ended")
    (tmp_path / "report").unlink()
    _, state, why = ended(watched(*forever, alone_s=0.1), tmp_path)
    assert (state, why) == ("stopped", "its operator was away for 0.1 s")
    (tmp_path / "report").unlink()
    process = watched(*forever)
    while not (tmp_path / "report").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert ended(process, tmp_path)[1:] == ("stopped", "it was asked to end")
