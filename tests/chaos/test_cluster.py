"""Chaos knows its workers: what it kills is one, and two of one slot are seen."""

import subprocess
import sys

import pytest

from tests.chaos.cluster import MARK, PROGRAM, Cluster, Worker, twice
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
