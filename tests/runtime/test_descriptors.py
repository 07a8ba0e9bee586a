"""A process without file descriptors turns newcomers away, serves whom it has, and takes newcomers again later."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarm.runtime import door
from swarm.runtime.data import Region
from tests.runtime.data_nodes import nodes, until, want


@contextmanager
def no_more_descriptors(but: int = 0) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir("/proc/self/fd"))) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (most + but, hard))
        yield
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_r039_without_descriptors_who_comes_is_turned_away_and_who_is_there_goes_on(
    tmp_path: Path, organisation, caplog, monkeypatch
) -> None:
    monkeypatch.setattr(door, "QUIET_S", 0.0)
    with nodes(tmp_path, organisation, 2) as (holder, reader):
        holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))
        into = bytearray(5)

        def fetch() -> None:
            into[:] = bytes(5)
            reader.client.fetch(holder.address, holder.uid, want(0, 5), memoryview(into))
            assert into == b"hello"

        fetch()
        newcomers = socket.socket(), socket.socket()
        with newcomers[0], newcomers[1]:
            with no_more_descriptors():
                for newcomer in newcomers:
                    newcomer.connect(("127.0.0.1", holder.server.port))
                    assert newcomer.recv(1) == b""
                fetch()
            assert caplog.text.count("who comes now is turned away") == 1
        with socket.create_connection(("127.0.0.1", holder.server.port)):
            until(lambda: len(holder.server._connections) == 2)
        assert "connections are accepted again" in caplog.text
        fetch()


def test_r039_the_last_descriptors_are_for_the_files_of_the_process_itself(tmp_path: Path, organisation) -> None:
    with nodes(tmp_path, organisation, 1) as (holder,), socket.socket() as newcomer, no_more_descriptors(but=door.OWN):
        newcomer.connect(("127.0.0.1", holder.server.port))
        assert newcomer.recv(1) == b""
        for file in [os.dup(0) for _ in range(door.OWN - 1)]:
            os.close(file)
