"""Who sends a byte now and then is given up as who sends none is, at both ends of the data plane."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarm.errors import Refused, Unreachable
from swarm.runtime import data_client, data_server
from swarm.runtime.data import Region, Want
from swarm.runtime.data_client import Line
from swarm.runtime.data_protocol import END, FRAME_CAP, HEADER, VERSION, Broken
from swarm.wire import frame
from tests.runtime.data_nodes import Node, nodes, until, want

SIZE = 1 << 20
EVERY_S = 0.02
"""More often than a blocked call looks up."""
LIMIT_S = 0.3


@pytest.fixture
def two(tmp_path: Path, organisation) -> Iterator[list[Node]]:
    with nodes(tmp_path, organisation, 2) as made:
        yield made


@contextmanager
def trickling(line: Line, opening: bytes) -> Iterator[None]:
    """Send this, and then a byte now and then as long as anybody takes it."""
    over = threading.Event()

    def send() -> None:
        data = opening
        while not over.wait(EVERY_S):
            try:
                line.sock.send(data)
            except TimeoutError:
                continue
            except OSError:
                return
            data = b"x"

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("opening", [HEADER.pack(SIZE), HEADER.pack(END) + struct.pack(">I", FRAME_CAP)])
def test_a_model_that_trickles_is_given_up(two: list[Node], monkeypatch, opening: bytes) -> None:
    """Within its bytes, and within what ends them."""
    monkeypatch.setattr(data_client, "PATIENCE_S", LIMIT_S)
    holder, reader = two
    holder.shelf["model", 0] = Region.complete(memoryview(bytes(SIZE)))
    over = threading.Event()

    def stream(reply: data_server.Reply, region: Region, wanted: Want) -> bytes:
        reply._send(opening)
        while not over.wait(EVERY_S):
            reply._send(b"\0")
        raise Broken("the test is over")

    monkeypatch.setattr(data_server.Reply, "_stream", stream)
    try:
        with pytest.raises(Unreachable, match=r"sl-1.* sent \d+ bytes of the model .* in 0 s"):
            reader.client.fetch(
                holder.address, holder.uid, want(0, SIZE, "model"), memoryview(bytearray(SIZE)), stop=stopping(20.0)
            )
    finally:
        over.set()


def stopping(after_s: float) -> data_client.Stop:
    """So that a test which fails ends."""
    stop = data_client.Stop()
    timer = threading.Timer(after_s, stop.set)
    timer.daemon = True
    timer.start()
    return stop


def test_a_request_that_trickles_holds_no_place(two: list[Node], monkeypatch) -> None:
    monkeypatch.setattr(data_server, "FIRST_S", LIMIT_S)
    holder, reader = two
    line = reader.client.dial(holder.address, holder.uid)
    until(lambda: sum(holder.server._per_peer.values()) == 1)
    with trickling(line, struct.pack(">I", FRAME_CAP)):
        until(lambda: sum(holder.server._per_peer.values()) == 0, 20.0)
    reader.client.drop(line)


def test_who_is_refused_is_answered_once_and_holds_no_place(two: list[Node]) -> None:
    holder, reader = two

    def find(peer: object, wanted: Want) -> Region:
        raise Refused("you are no member")

    holder.server._find = find
    line = reader.client.dial(holder.address, holder.uid)
    line.sock.settimeout(20.0)
    line.sock.send(frame.pack({"version": VERSION, "want": want(0, 1).to_wire()}, FRAME_CAP))
    assert b"you are no member" in line.sock.recv(FRAME_CAP)
    until(lambda: sum(holder.server._per_peer.values()) == 0, data_server.FIRST_S / 2)
    reader.client.drop(line)
