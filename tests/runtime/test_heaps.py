"""Threads that come and go share few heaps."""

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
