"""The training program's processes: none outlives its learning node, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
import trio

from swarm.nodes.worker import Worker
from tests.nodes.waiting import eventually

NODE = """
import sys, time
from swarm.nodes.worker import Worker
worker = Worker(["sh", "-c", "sleep 600 & sleep 600"], {})
print(worker.pid, flush=True)
sys.stdin.readline()
worker.kill()
"""


def group(number: int) -> list[int]:
    """What runs in this process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, None])
def test_the_program_and_its_children_end_with_their_node_whatever_ends_it(number):
    with subprocess.Popen(
        [sys.executable, "-c", NODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as node:
        program = int(node.stdout.readline())
        eventually("the program's child", lambda: len(group(program)) == 3)  # the shell and two that sleep
        if number is None:
            node.stdin.close()
        else:
            node.send_signal(number)
        node.wait()
    eventually("their end", lambda: group(program) == [])


def test_a_program_that_has_ended_leaves_no_guard_behind():
    async def run():
        worker = Worker(["sh", "-c", "exit 3"], {})
        assert await worker.wait() == 3
        await worker.stop()

    before = psutil.Process().children()
    trio.run(run)
    assert psutil.Process().children() == before
