"""The rules of the test suite itself: what CI may not skip, who runs beside whom, and that nothing is left running."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.lanes import Lanes

ROOT = Path(__file__).resolve().parent.parent


def pytest_on(text, tmp_path, **environment):
    """A pytest run of its own, under the suite's conftest."""
    (tmp_path / "test_probe.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    root:\n    netns:\n    docker:\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "test_probe.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


SKIPPING = "import pytest\n@pytest.mark.{mark}\ndef test_probe():\n    pytest.skip('no engine here')\n"


@pytest.mark.parametrize(
    ("mark", "ci", "code"), [("docker", "true", 1), ("docker", "", 0), ("filterwarnings", "true", 0)]
)
def test_a_marked_test_may_be_skipped_anywhere_but_in_ci(mark, ci, code, tmp_path):
    ended, out = pytest_on(SKIPPING.format(mark=mark), tmp_path, CI=ci)
    assert ended == code, out
    assert ("skipped with CI=true, although marked docker" in out) == bool(code)


def test_one_that_runs_alone_waits_for_those_that_run_and_holds_up_those_that_come_later(tmp_path):
    order, waits, may_end = [], threading.Event(), threading.Event()

    def first():
        with Lanes(tmp_path).beside_others():
            waits.set()
            assert may_end.wait(10)
            order.append("first")

    def alone():
        with Lanes(tmp_path).alone():
            order.append("alone")

    def later():
        with Lanes(tmp_path).beside_others():
            order.append("later")

    with Lanes(tmp_path).beside_others():  # as many of these at once as there are
        running = [threading.Thread(target=first)]
        running[0].start()
        assert waits.wait(10)
    for each in (alone, later):
        running.append(threading.Thread(target=each))
        running[-1].start()
        running[-1].join(0.1)
    assert order == []
    may_end.set()
    for thread in running:
        thread.join(10)
    assert order == ["first", "alone", "later"]


def test_a_process_left_behind_fails_its_module(tmp_path):
    text = (
        "import subprocess, sys\n"
        "def test_probe():\n"
        "    subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
    )
    ended, out = pytest_on(text, tmp_path)
    assert ended == 1, out
    assert "processes left behind" in out


def test_ctrl_c_reaches_what_tests_start_although_a_shell_ignores_it_for_background_jobs(tmp_path):
    text = (
        "import signal, subprocess, sys\n"
        "def test_probe():\n"
        "    child = [sys.executable, '-c', 'import signal; signal.raise_signal(signal.SIGINT)']\n"
        "    assert subprocess.run(child).returncode == -signal.SIGINT\n"
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ended, out = pytest_on(text, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == 0, out


def test_what_a_machine_lacks_is_named_with_the_apt_line(tmp_path):
    """Without compiler, headers or a fitting Python: one sentence. With them: the interpreter for `make .venv`."""
    script = ["sh", str(ROOT / ".ci/python")]
    fine = subprocess.run(script, capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable})
    assert fine.stdout.strip() == sys.executable, fine.stderr
    without = {**os.environ, "PYTHON": str(tmp_path / "python3"), "CC": "no-such-compiler"}
    refused = subprocess.run(script, capture_output=True, text=True, env=without)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith(
        "error: the installation needs what is not here: Python 3.11, 3.12 or 3.13, a C compiler"
    )
    assert "sudo apt-get install -y python3 python3-venv python3-dev gcc" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(("twice", "code"), [(False, 0), (True, 2)])
def test_ci_runs_what_failed_once_more_and_says_at_its_end_how_it_failed_first(tmp_path, twice, code):
    """With a make that fails by the seed of its first run, and none of the packages to install."""
    make = f"""#!/bin/sh
echo "$@" >>{tmp_path}/asked
case "$*" in
    lint | test-slow) exit 0 ;;
    test) printf '.F.\n=== FAILURES ===\nseed 7\n1 failed\n'; exit 2 ;;
    *) echo again; exit {2 if twice else 0} ;;
esac
"""
    for name, script in {"make": make, "dpkg": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    ran = subprocess.run([ROOT / ".ci/run"], capture_output=True, text=True, env=environment)
    assert (ran.returncode, ran.stderr) == (code, "")
    again = "test ARGS=--last-failed --last-failed-no-failures none"
    assert (tmp_path / "asked").read_text().splitlines() == ["lint", "test", again, *([] if twice else ["test-slow"])]
    first = "=== FAILURES ===\nseed 7\n1 failed\n"
    assert ran.stdout == f".F.\n{first}again\n\nHow it failed first, before it was run again:\n{first}"
    assert {each.name for each in tmp_path.iterdir()} == {"make", "dpkg", "asked"}


def test_make_alone_prints_the_targets_and_arguments_reach_the_commands():
    def make(*arguments):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for target in (".venv", "demo", "test", "test-slow", "lint", "bench"):
        assert f"make {target} " in make()
    assert ".venv/bin/swarm demo --peers 3" in make("-n", "demo", "ARGS=--peers 3")
