"""Chaos knows its workers: what it kills is one, and two of one slot are seen."""

import subprocess
import sys
from random import Random
from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock

from tests.chaos.cluster import MARK, PROGRAM, Cluster, Worker, twice
from tests.chaos.faults import Faults
from tests.chaos.history import History
from tests.nodes.waiting import eventually

SLEEPS = "import time; print(flush=True); time.sleep(60)"


@pytest.fixture
def slot(tmp_path):
    """Runs commands as what belongs to a slot; all are ended with the test."""
    place = tmp_path / "swop-1" / "slots" / "7.0-7"
    started = []

    def run(*words):
        process = subprocess.Popen(
            [sys.executable, "-c", SLEEPS, *words], env={MARK: str(place)}, stdout=subprocess.PIPE
        )
        started.append(process)
        process.stdout.readline()
        return process.pid

    yield run
    for process in started:
        process.kill()
        process.communicate()


def workers(*pids):
    return {(one.role, one.place, one.operator) for one in Cluster.workers() if one.pid in pids}


def test_a_program_is_one_also_when_its_learning_node_is_gone_and_a_guard_is_none(slot):
    node, program, guard = slot("swarm.cli.run_sl", "--", PROGRAM.name), slot(str(PROGRAM)), slot("read -r line")
    eventually("both", lambda: len(workers(node, program)) == 2)
    assert workers(node, program, guard) == {("sl", "7.0-7", "swop-1"), ("ml", "7.0-7", "swop-1")}


def test_two_of_one_slot_and_fence_are_seen_whichever_they_are():
    one, other = Worker("sl", 1, "7.0-7", "swop-1"), Worker("ml", 2, "7.0-7", "swop-1")
    assert twice([one, other, Worker("ml", 3, "7.0-9", "swop-1")]) == set()
    assert twice([one, other, Worker("ml", 3, "7.0-7", "swop-1")]) == {"7.0-7"}
    assert twice([one, other, Worker("sl", 3, "7.0-7", "swop-2")]) == {"7.0-7"}


class Alone:
    """A cluster of which somebody else says what runs."""

    def __init__(self, workers):
        self._workers = workers

    def workers(self):
        return self._workers

    def of(self, role):
        return [SimpleNamespace(name=f"{role}-{n}", role=role, is_ready=True) for n in (1, 2)]


@pytest.mark.parametrize("role", ["sl", "ml"])
def test_a_run_of_hours_kills_one_process_of_each_kind_never(tmp_path, role):
    workers = [Worker(role, pid, f"12.{pid}-12", "swop-1") for pid in range(3)]
    faults = Faults(Alone(workers), None, Random(0), History(tmp_path / "history.jsonl"), spares=True)
    assert {faults._pick_worker(role, spares=True).pid for _ in range(50)} == {1, 2}
    assert {faults._pick_worker(role).pid for _ in range(50)} == {0, 1, 2}


def test_a_run_of_hours_kills_no_node_that_it_spares(tmp_path):
    killed = []
    cluster = Alone([])
    cluster.kill = lambda node: killed.append(node.name)

    async def start_again(node):
        pass

    for spares, role in ((True, "sn"), (True, "swop"), (False, "sn")):
        faults = Faults(cluster, None, Random(0), History(tmp_path / "history.jsonl"), spares=spares)
        faults._start_again = start_again
        for _ in range(8):
            trio.run(faults._kill_node, f"kill_{role}", clock=MockClock(autojump_threshold=0))
    assert set(killed[:8]) == {"sn-2"}
    assert set(killed[8:16]) == {"swop-2"}
    assert set(killed[16:]) == {"sn-1", "sn-2"}
