"""A process without file descriptors turns newcomers away, serves whom it has, and takes newcomers again later."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarm.runtime.data import Region
from swarm.runtime.door import QUIET_S, Door
from tests.runtime.data_nodes import nodes, until, want


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir("/proc/self/fd"))) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_r039_without_descriptors_who_comes_is_turned_away_and_who_is_there_goes_on(
    tmp_path: Path, organisation, caplog
) -> None:
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


def test_where_descriptors_come_and_go_the_log_hears_of_it_once_a_minute(caplog) -> None:
    now_s = 0.0
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Door(logging.getLogger("swarm.door"), lambda: now_s) as door,
    ):
        listener.settimeout(30)
        for at_s, said in ((0.0, 1), (QUIET_S / 2, 1), (QUIET_S, 2)):
            now_s = at_s
            with socket.socket() as turned_away, socket.socket() as let_in:
                with no_more_descriptors():
                    turned_away.connect(listener.getsockname())
                    with pytest.raises(TimeoutError):
                        door.take(listener)
                let_in.connect(listener.getsockname())
                door.take(listener)[0].close()
            assert caplog.text.count("who comes now is turned away") == said
            assert caplog.text.count("connections are accepted again") == said
