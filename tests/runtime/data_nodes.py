"""Learning nodes reduced to their data plane, for the tests of data and exchange."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from swarm.runtime.data import DataClient, DataServer, NotYet, Region, Want
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Credentials, Local, Peer

NETWORK = bytes(range(32))


class Node:
    """A server that serves what is put on its shelf, and a client."""

    def __init__(self, directory: Path, cert: Path, key: Path, capath: Path) -> None:
        self.state = StateDirectory(directory)
        self.state.set_network_id(NETWORK)
        self.local = Local(Credentials.load(cert, key, capath, expect_roles=("sl",)), self.state)
        self.shelf: dict[tuple[str, int], Region | Callable[[Want], Region]] = {}
        self.check: Callable[[Peer, Want], None] = lambda peer, want: None
        """Whether the peer may have that."""
        self.client = DataClient(self.local)
        self.server = DataServer(self.local, self.find, "127.0.0.1", 0)
        self.server.start()

    @property
    def uid(self) -> str:
        return self.state.uid

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def find(self, peer: Peer, want: Want) -> Region:
        region = self.shelf.get((want.what, want.attempt))
        if region is None:
            raise NotYet("nothing is here yet")
        self.check(peer, want)
        return region if isinstance(region, Region) else region(want)

    def close(self) -> None:
        self.client.close()
        self.server.close()
        self.state.close()


def want(start: int, stop: int, what: str = "offer", attempt: int = 0) -> Want:
    return Want("a-contract", 3, what, attempt, "blake3:00", start, stop)


@contextmanager
def nodes(directory: Path, organisation: Callable[..., object], count: int) -> Iterator[list[Node]]:
    """Learning nodes of one organisation; their state directories make them different processes to each other."""
    files = organisation("a")
    made = [Node(directory / f"node-{i}", files.cert("sl"), files.key("sl"), files.capath) for i in range(count)]
    try:
        yield made
    finally:
        for node in made:
            node.close()


def until(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    """Wait for a condition that another thread or process makes true."""
    pause, deadline = threading.Event(), time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.01)
