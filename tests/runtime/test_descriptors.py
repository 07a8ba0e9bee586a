"""A process without file descriptors turns newcomers away, serves whom it has, and takes newcomers again later."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarm.runtime.data import Region
from tests.runtime.data_nodes import nodes, until, want


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_r039_without_descriptors_new_connections_wait_and_old_ones_go_on(tmp_path: Path, organisation, caplog) -> None:
    with nodes(tmp_path, organisation, 2) as (holder, reader):
        holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))
        into = bytearray(5)

        def fetch() -> None:
            into[:] = bytes(5)
            reader.client.fetch(holder.address, holder.uid, want(0, 5), memoryview(into))
            assert into == b"hello"

        fetch()
        with socket.socket() as newcomer:
            with no_more_descriptors():
                newcomer.connect(("127.0.0.1", holder.server.port))
                until(lambda: "could not be accepted" in caplog.text)
                fetch()
            until(lambda: len(holder.server._connections) == 2)
        fetch()
