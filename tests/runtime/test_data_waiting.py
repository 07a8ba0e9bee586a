"""Who asks for what is not there yet is kept waiting, and takes no place from a member however many wait."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from swarm.runtime import data_protocol, data_server
from swarm.runtime.data import Region, Stranger, Want
from swarm.runtime.data_client import Line
from swarm.runtime.doorstep import Doorstep
from swarm.runtime.tls import Peer
from swarm.wire import frame
from tests.runtime.data_nodes import Node, nodes, until, want


@pytest.fixture
def two(tmp_path: Path, organisation):
    with nodes(tmp_path, organisation, 2) as made:
        yield made


def ask(reader: Node, holder: Node) -> Line:
    line = reader.client.dial(holder.address, holder.uid)
    line.sock.sendall(frame.pack({"version": data_protocol.VERSION, "want": want(0, 5).to_wire()}))
    return line


def fetch(reader: Node, holder: Node) -> bytes:
    into = bytearray(5)
    reader.client.fetch(holder.address, holder.uid, want(0, 5), memoryview(into))
    return bytes(into)


def test_strangers_who_wait_for_what_never_comes_give_way_to_who_comes_and_members_do_not(
    tmp_path: Path, organisation
) -> None:
    with nodes(tmp_path, organisation, 5) as (holder, member, *strangers):
        wait_beside(holder, member, strangers)


def wait_beside(holder: Node, member: Node, strangers: list[Node]) -> None:
    holder.server._unserved = Doorstep(2)
    asked: list[str] = []

    def find(peer: Peer, wanted: Want) -> Region:
        asked.append(peer.uid)
        if peer.uid != member.uid and (wanted.what, wanted.attempt) not in holder.shelf:
            raise Stranger("you may be ahead of this node")
        return holder.find(peer, wanted)

    holder.server._find = find
    with ThreadPoolExecutor() as pool:
        waits = pool.submit(fetch, member, holder)
        until(lambda: member.uid in asked and not holder.server._unserved._standing)
        lines = []
        for stranger in strangers:
            lines.append(ask(stranger, holder))
            until(lambda node=stranger: node.uid in asked)
        until(lambda: holder.server._per_peer[strangers[0].uid] == 0)  # at once, though its connection is still open
        assert [holder.server._per_peer[node.uid] for node in strangers[1:]] == [1, 1]
        assert not waits.done()
        holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))
        assert waits.result(10) == b"hello"
        until(lambda: not holder.server._unserved._standing)  # who has found what it wanted is no stranger
        for stranger, line in zip(strangers, lines, strict=True):
            stranger.client.drop(line)


def test_what_is_not_there_yet_is_looked_for_ever_less_often_and_not_for_who_has_gone(two: list[Node]) -> None:
    holder, reader = two
    looks: list[float] = []
    holder.server._find = lambda peer, want: (looks.append(time.monotonic()), holder.find(peer, want))[1]
    line = ask(reader, holder)
    until(lambda: looks and looks[-1] - looks[0] > 1.0)
    assert len(looks) < 30  # 50 by the shortest pause
    reader.client.drop(line)
    until(lambda: holder.server._per_peer[reader.uid] == 0, data_server.LAG_S / 2)
