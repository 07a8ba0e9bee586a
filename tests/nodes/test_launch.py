"""The launcher, with small real programs as its children."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from swarm.errors import BadInput, IdentityError, Unreachable, WorkerFailed
from swarm.nodes.launch import Launch, ended_by_signals
from swarm.nodes.scratch import scratch_directory

# A node in small: says that it is ready, then serves until SIGTERM.
NODE = """
import json, os, signal, sys, threading
state = sys.argv[1]
end = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: end.set())
open(state + "/ready.part", "w").write(json.dumps({"pid": os.getpid(), "api_port": 1}))
os.rename(state + "/ready.part", state + "/ready.json")
end.wait()
"""
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)"


def python(code, *arguments):
    return [sys.executable, "-S", "-c", code, *map(str, arguments)]


@pytest.fixture
def launch():
    with Launch() as launch:
        yield launch


def until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        threading.Event().wait(0.02)


def test_a_child_is_ready_when_its_file_says_so_and_ends_with_zero(launch, tmp_path):
    node = launch.start("sn-1", "SN", python(NODE, tmp_path / "sn-1"), state=tmp_path / "sn-1")
    launch.wait_ready([node], 60)
    assert node.ready()["api_port"] == 1
    launch.stop()
    assert launch.table() == [{"name": "sn-1", "role": "SN", "pid": node.pid, "exit_code": 0}]


def test_a_ready_file_of_an_earlier_process_does_not_count(launch, tmp_path):
    (tmp_path / "ready.json").write_text(json.dumps({"pid": 1}))
    node = launch.start("sn-1", "SN", python("import time; time.sleep(600)"), state=tmp_path)
    with pytest.raises(Unreachable, match=r"sn-1 not ready after 0\.2 s"):
        launch.wait_ready([node], 0.2)


def test_the_first_death_is_named_with_its_last_lines_and_its_exit_code(launch, tmp_path):
    node = launch.start("sn-1", "SN", python(NODE, tmp_path / "a"), state=tmp_path / "a")
    failing = launch.start(
        "sn-2", "SN", python("import sys; print('error: certificate expired'); sys.exit(3)"), state=tmp_path / "b"
    )
    with pytest.raises(IdentityError, match=r"sn-2 \(SN\) ended with exit code 3; .*\n  error: certificate expired"):
        launch.wait_ready([node, failing], 60)


def test_a_node_whose_program_took_no_part_may_end_before_another_is_ready_and_no_other_may(launch, tmp_path):
    node = launch.start("sn-1", "SN", python(NODE, tmp_path / "sn-1"), state=tmp_path / "sn-1")
    over = launch.start("sl-1", "SL", python("print('trained alone')"), state=tmp_path / "sl-1")
    until(lambda: over.exit_code == 0, "the program ends")
    launch.wait_ready([over, node], 60, may_end=[over])
    with pytest.raises(WorkerFailed, match=r"sl-1 \(SL\) ended with exit code 0"):
        launch.wait_ready([over, node], 60)


def test_a_training_programs_own_exit_code_becomes_6(launch, tmp_path):
    worker = launch.start("sl-1", "SL", python("raise ValueError('shape')"), state=tmp_path)
    with pytest.raises(WorkerFailed, match="ValueError: shape"):
        launch.wait_ended([worker])


def test_a_killed_child_is_named_with_its_signal(launch, tmp_path):
    node = launch.start("sn-1", "SN", python(NODE, tmp_path), state=tmp_path)
    launch.wait_ready([node], 60)
    os.kill(node.pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed, match=r"sn-1 .* was killed by SIGKILL"):
        launch.wait_ended([node])
    assert node.exit_code == 137


def test_waiting_for_an_end_notices_the_death_of_another(launch, tmp_path):
    node = launch.start("sn-1", "SN", python(NODE, tmp_path / "a"), state=tmp_path / "a")
    other = launch.start("sn-2", "SN", python("pass"), state=tmp_path / "b")  # ends well, but too early
    with pytest.raises(WorkerFailed, match="sn-2"):
        launch.wait_ended([node])
    assert not other.running


def test_a_program_that_does_not_exist_is_bad_input(launch, tmp_path):
    with pytest.raises(BadInput, match="cannot be started: No such file"):
        launch.start("sl-1", "SL", ["/no/such/program"], state=tmp_path)


def test_a_deaf_child_and_its_children_are_killed_after_the_grace(tmp_path):
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', {DEAF!r}])\n{DEAF}"
    launch = Launch()
    deaf = launch.start("sl-1", "SL", python(code), state=tmp_path)
    until(lambda: deaf.log.read_text().count("deaf") == 2, "both are deaf")
    family = [psutil.Process(deaf.pid), *psutil.Process(deaf.pid).children()]
    assert len(family) == 2
    launch.stop(grace_s=0.2)
    assert deaf.exit_code == 137
    until(lambda: not any(_alive(one) for one in family), "the whole group is gone")


LAUNCHER = """
import sys
from pathlib import Path
from swarm.nodes.launch import Launch, ended_by_signals
from swarm.nodes.scratch import scratch_directory
with ended_by_signals(), scratch_directory("launch-test-") as scratch, Launch() as launch:
    node = [sys.executable, "-S", "-c", sys.argv[1]]
    children = [launch.start(n, "SN", [*node, str(scratch / n)], state=scratch / n) for n in ("a", "b")]
    launch.wait_ready(children, 60)
    print(scratch, *(child.pid for child in children), flush=True)
    launch.wait_ended(children)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_outlives_the_launcher_whatever_ends_it(number):
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, NODE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    scratch, *pids = launcher.stdout.readline().split()
    assert Path(scratch).stat().st_mode & 0o777 == 0o700
    children = [psutil.Process(int(pid)) for pid in pids]
    launcher.send_signal(number)
    begun = time.monotonic()
    launcher.wait(10)
    if number != signal.SIGKILL:
        assert time.monotonic() - begun < 2
        assert not Path(scratch).exists()
    until(lambda: not any(_alive(child) for child in children), "the children are gone")
    until(lambda: not Path(scratch).exists(), "the directory is gone")
    launcher.stdout.close()


@pytest.fixture
def ctrl_c_at_the_fork():
    """Within the next fork somebody presses Ctrl-C, as in a terminal: CI runs us where it is ignored."""
    before, due = signal.signal(signal.SIGINT, signal.default_int_handler), [signal.SIGINT]
    os.register_at_fork(before=lambda: due and signal.raise_signal(due.pop()))  # hooks stay; it does nothing more
    yield
    signal.signal(signal.SIGINT, before)


def test_a_ctrl_c_while_a_child_is_started_is_heard_once_the_child_is_among_those_that_are_ended(
    ctrl_c_at_the_fork, launch, tmp_path
):
    with pytest.raises(KeyboardInterrupt):
        launch.start("n", "SN", python(NODE, tmp_path), state=tmp_path)
    assert [process.name for process in launch.processes] == ["n"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored_in_what_is_started(launch, tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        code = "import signal; assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN"
        launch.wait_ended([launch.start("n", "SN", python(code), state=tmp_path)])
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_scratch_directory_is_removed_on_leaving():
    with scratch_directory("swarm-test-") as path:
        (path / "key").write_text("secret")
    assert not path.exists()


def test_signal_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with ended_by_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def _alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
