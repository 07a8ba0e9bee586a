"""Nobody waits for ever and nothing is left: each kind of process SIGKILLed at random moments, and Ctrl-C at any time.

`swarm run` with a small program, and a few times the real `swarm demo`. Each run ends within 60 s, with success or with
an error that names who died; then no process of it runs, and its temporary directory is gone.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parent / "programs" / "merge_numbers.py"
SEED = int(os.environ.get("SWARM_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
MOMENTS = 5
ENDS_S, CTRL_C_S, GONE_S = 60, 2, 3
RUN_S, DEMO_S = 7.0, 20.0  # about how long one takes here: moments are drawn from this
KINDS = {  # how the command line of each kind begins, after the interpreter; and what the error says of it
    "sentinel": (r"-m swarm.cli.run_sn --sentinel ", "sn-1"),
    "peer SN": (r"-m swarm.cli.run_sn --sentinel-ip ", "sn-2"),
    "SL": (r"(-P )?-m swarm.cli.run_sl ", "sl-"),
    "ML": (r"(-m swarm.nodes.demo.worker|\S*/merge_numbers.py) ", "program"),
    "launcher": (r"\S*/bin/swarm ", ""),
}
IN_THE_DEMO = KINDS | {
    "SWOP": (r"-m swarm.cli.run_swop ", "swop-"),
    "SWCI": (r"-m swarm.cli.run_swci ", "swci-1"),
}


@dataclass
class Run:
    process: subprocess.Popen
    token: str
    scratch: Path
    out: Path

    def find(self, pattern):
        """A running process of this run with such a command line."""
        return next((one for one in self.family() if re.match(r"\S+ " + pattern, command(one))), None)

    def family(self):
        """Every process of this run, whoever its parent is."""
        return [one for one in psutil.process_iter() if self._mine(one)]

    def _mine(self, process):
        try:
            return process.environ().get("SWARM_TEST_RUN") == self.token and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            return False

    def ended_before(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def assert_nothing_is_left(self):
        until = time.monotonic() + GONE_S
        while (left := self.family() or list(self.scratch.iterdir())) and time.monotonic() < until:
            self.process.poll()
            psutil.wait_procs([one for one in left if isinstance(one, psutil.Process)], timeout=0.05)
        assert not left, [command(one) if isinstance(one, psutil.Process) else one for one in left]
        for file in self.out.iterdir():
            assert ".part" not in file.name or self.process.returncode, f"{file} is half written"
            if file.name.endswith(".npz") and ".part" not in file.name:
                with np.load(file) as arrays:
                    assert arrays["a"].shape == (2000,)


def command(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.fixture
def start(tmp_path, short_tmp):
    runs = []

    def start(*arguments):
        out = tmp_path / "out"
        out.mkdir()
        token = f"{os.getpid()}-{tmp_path.name}"
        swarm = Path(sys.executable).with_name("swarm")
        line = [swarm, *(str(out) if one is OUT else str(one) for one in arguments)]
        environment = {**os.environ, "SWARM_TEST_RUN": token, "TMPDIR": str(short_tmp)}
        process = subprocess.Popen(
            line,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # CI runs us where it is ignored
        )
        runs.append(Run(process, token, short_tmp, out))
        return runs[-1]

    yield start
    for run in runs:
        for process in run.family():
            process.kill()
        run.process.wait()
        run.process.stdout.close()
        run.process.stderr.close()


OUT = object()
SMALL = ["run", "--peers", 2, "--json", "--", sys.executable, PROGRAM, 40, 0.05, OUT]


def kill_at(run, kind, moment):
    """SIGKILL one process of the kind when so many seconds have passed; None if the run was over before."""
    pattern, name = IN_THE_DEMO[kind]
    if run.ended_before(moment):
        return None
    until = time.monotonic() + ENDS_S
    while time.monotonic() < until:
        victim = run.find(pattern)
        if victim is not None:
            victim.kill()
            return name
        if run.ended_before(0.05):
            return None
    raise AssertionError(f"no process of kind {kind} ({pattern}) ever ran")


@pytest.mark.parametrize("turn", range(MOMENTS))
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_ends_or_goes_on_whoever_is_killed(start, kind, turn):
    moment = random.Random(f"{SEED} {kind} {turn}").uniform(0, RUN_S)
    print(f"SWARM_TEST_SEED={SEED}: {kind} at {moment:.2f} s")
    _kill_and_check(start(*SMALL), kind, moment)


@pytest.mark.parametrize("kind", IN_THE_DEMO)
def test_the_demo_ends_or_goes_on_whoever_is_killed(start, kind):
    moment = random.Random(f"{SEED} demo {kind}").uniform(0, DEMO_S)
    print(f"SWARM_TEST_SEED={SEED}: demo, {kind} at {moment:.2f} s")
    _kill_and_check(start("demo", "--json"), kind, moment, ends_s=2 * ENDS_S)  # a killed worker begins again


def _kill_and_check(run, kind, moment, ends_s=ENDS_S):
    name = kill_at(run, kind, moment)
    try:
        out, err = run.process.communicate(timeout=ends_s)
    except subprocess.TimeoutExpired:
        left = [command(one) for one in run.family()]
        raise AssertionError(f"still running {ends_s} s after {kind} was killed: {left}") from None
    print(err[-3000:])
    run.assert_nothing_is_left()
    if kind == "launcher" and name is not None:
        assert run.process.returncode == -signal.SIGKILL
        return
    said = json.loads(out)
    if run.process.returncode == 0:
        assert said["ok"]
        return
    assert name is not None, f"failed though nobody was killed: {said}"
    assert said["error"]["code"] == run.process.returncode
    assert name in said["error"]["message"]


@pytest.mark.alone
@pytest.mark.parametrize("turn", range(MOMENTS))
def test_ctrl_c_ends_a_run_within_two_seconds(start, turn):
    moment = random.Random(f"{SEED} ctrl-c {turn}").uniform(0.3, RUN_S - 1)
    print(f"SWARM_TEST_SEED={SEED}: Ctrl-C at {moment:.2f} s")
    _interrupt_and_check(start(*SMALL), moment)


@pytest.mark.alone
@pytest.mark.parametrize("turn", range(3))
def test_ctrl_c_ends_the_demo_within_two_seconds(start, turn):
    moment = random.Random(f"{SEED} demo ctrl-c {turn}").uniform(0.3, DEMO_S - 8)
    print(f"SWARM_TEST_SEED={SEED}: demo, Ctrl-C at {moment:.2f} s")
    _interrupt_and_check(start("demo", "--json"), moment)


def _interrupt_and_check(run, moment):
    if run.ended_before(moment):
        return
    begun = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    out, err = run.process.communicate(timeout=ENDS_S)
    seconds = time.monotonic() - begun
    print(err[-3000:])
    assert seconds < CTRL_C_S
    assert run.process.returncode == 130
    assert json.loads(out)["error"]["code"] == 130
    run.assert_nothing_is_left()
