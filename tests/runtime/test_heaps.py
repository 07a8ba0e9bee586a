"""Threads that come and go share few heaps, and what is free in them is given back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import trio

from swarm.nodes.participant import ParticipantNode
from swarm.runtime import heaps

PROGRAM = """
import ctypes, sys, threading
from swarm.runtime import heaps
if sys.argv[1] == "bounded":
    heaps.bound()
libc = ctypes.CDLL(None)
barrier = threading.Barrier(24)
def work():
    block = bytearray(100_000)
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(24)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.fopen.restype = ctypes.c_void_p
said = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, said)
libc.fclose(said)
"""


FREED = """
import trio, trio.testing
from swarm.runtime import heaps
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
def used():
    kept = [(bytes(20_000), bytes(600)) for _ in range(3_000)]
    return [small for _, small in kept]
async def main():
    behind = used()
    before = resident()
    with trio.move_on_after(heaps.GIVE_BACK_EVERY_S * 1.5):
        await heaps.give_back()
    print(before - resident(), len(behind))
trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
"""


def count(tmp_path, how: str) -> int:
    """The heaps of a process that had 24 threads at once."""
    path = tmp_path / how
    subprocess.run([sys.executable, "-c", PROGRAM, how, str(path)], check=True, timeout=60)
    return path.read_text().count("<heap nr=")


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="only glibc has heaps for threads")
def test_threads_share_as_many_heaps_as_there_are_cores(tmp_path) -> None:
    cores = max(2, os.cpu_count() or 1)
    assert count(tmp_path, "bounded") <= cores < count(tmp_path, "free")


def test_who_takes_part_with_swarm_join_is_bound_as_any_learning_node(monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[str] = []

    class Node(ParticipantNode):
        def __init__(self) -> None:
            """Nothing of a node: only how it begins is looked at."""

        async def _live(self) -> int:
            return len(bound)

    monkeypatch.setattr(heaps, "bound", lambda: bound.append("bound"))
    assert trio.run(Node().run) == 1


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="only glibc keeps what is free in its heaps")
def test_what_is_free_between_what_is_used_is_given_back_within_a_minute() -> None:
    """Sixty megabytes, of which a thirtieth stays in use, in pieces all over them."""
    done = subprocess.run([sys.executable, "-c", FREED], check=True, timeout=60, capture_output=True, text=True)
    assert int(done.stdout.split()[0]) > 30_000_000
