"""The muxer carries what yamux carries, and spends one record on a small message."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from swarm.runtime.mesh import Mesh, Stream
from swarm.runtime.muxer import CREDIT
from swarm.runtime.secure import Session
from tests.certificates import leaf
from tests.handshakes import GOOD, A, B, node

HERE = "127.0.0.1"


def over_a_stream(
    tmp_path: Path, handler: Callable[[Stream], Awaitable[None]], act: Callable[[Stream], Awaitable[None]]
):
    listener = Mesh(node(tmp_path, GOOD, [A, B]))
    dialler = Mesh(node(tmp_path, leaf(B, "SL-1"), [A, B]))

    async def main() -> None:
        listener.accept("/test", handler)
        with trio.fail_after(60):
            async with listener.run(listen=[(HERE, 0)]), dialler.run():
                peer = await dialler.dial(HERE, listener.listen_ports[0])
                await act(await dialler.open(peer, "/test"))

    trio.run(main)


async def send(stream: Stream, data: bytes) -> None:
    await stream.send_all(data)


async def receive(stream: Stream, count: int) -> bytes:
    received = bytearray()
    while len(received) < count and (data := await stream.receive_some()):
        received += data
    return bytes(received)


def test_windows_full_of_bytes_go_both_ways_at_once(tmp_path: Path) -> None:
    data = hashlib.shake_256(b"windows").digest(20 * CREDIT + 7)

    async def both(stream: Stream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, stream, data)
            assert await receive(stream, len(data)) == data

    over_a_stream(tmp_path, both, both)


def test_a_small_message_and_its_answer_are_two_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = 0
    write = Session.write

    async def counted(self: Session, data: bytes) -> None:
        nonlocal records
        records += 1
        await write(self, data)

    async def echo(stream: Stream) -> None:
        while data := await stream.receive_some():
            await stream.send_all(data)

    async def ask(stream: Stream) -> None:
        nonlocal records
        monkeypatch.setattr(Session, "write", counted)
        for number in range(200):
            await stream.send_all(number.to_bytes(100))
            assert await receive(stream, 100) == number.to_bytes(100)

    over_a_stream(tmp_path, echo, ask)
    assert 400 <= records <= 420  # and yamux's own pings, and the end


def test_who_takes_data_as_it_comes_gets_all_of_it_in_order_and_waits_for_the_end(tmp_path: Path) -> None:
    data = hashlib.shake_256(b"diverted").digest(20 * CREDIT + 7)
    taken = bytearray()
    is_open, over = trio.Event(), trio.Event()

    async def take(stream: Stream) -> None:
        taken.extend(await receive(stream, 1))  # the rest of what has come by then is handed over
        stream.divert(taken.extend)
        is_open.set()
        assert await stream.receive_some() == b"", "nothing but the end is left to wait for"
        over.set()

    async def give(stream: Stream) -> None:
        await stream.send_all(data[:100])
        await is_open.wait()
        await stream.send_all(data[100:])  # many times what may be sent before the other side grants more
        await stream.aclose()
        await over.wait()

    over_a_stream(tmp_path, take, give)
    assert bytes(taken) == data
