"""What a link has to say: at once while it can, through its writer while it cannot, whole and in order either way."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
import trio

from swarm.runtime.control import Link
from swarm.runtime.tls import Local
from tests.runtime.test_control import HERE, linked, play, serving

COUNT = 60


class Taker:
    def __init__(self) -> None:
        self.taken: list[int] = []
        self.all = trio.Event()

    def take(self, link: Link, body: dict[str, Any]) -> None:
        self.taken.append(body["n"])
        if len(self.taken) == COUNT:
            self.all.set()


def test_a_frame_leaves_before_its_sender_waits_for_anything(server: Local, client: Local) -> None:
    async def act(link: Link) -> None:
        session = link._stream._session
        sent: list[int] = []
        write_now = session.raw.write_now

        def counting(data: bytes) -> int:
            sent.append(write_now(data))
            return sent[-1]

        session.raw.write_now = counting  # type: ignore[method-assign]
        link.tell("note", {"n": 0})
        assert len(sent) == 1
        assert sent[0] > 0

    linked(server, client, {}, act, listeners={"note": Taker().take})


def test_who_vanishes_while_something_is_said_to_it_ends_its_link_and_nothing_else(
    server: Local, client: Local
) -> None:
    async def act(link: Link) -> None:
        session = link._stream._session
        session._incoming.write_eof()
        with pytest.raises(ssl.SSLError):  # as the reader meets it
            session._tls.read(1)
        with pytest.raises(ssl.SSLError):  # from then on nothing can be written either
            session._tls.write(b"x")
        link.tell("note", {"n": 0})
        with trio.fail_after(10):
            await link.closed.wait()

    linked(server, client, {}, act, listeners={"note": Taker().take})


@pytest.mark.parametrize("size", [10, 900, 20_000])
def test_frames_that_the_system_does_not_take_at_once_arrive_whole_and_in_order(
    server: Local, client: Local, size: int
) -> None:
    """In one turn of the loop, so nobody reads meanwhile; some of them are too long for one record."""

    async def main() -> None:
        taker = Taker()
        hearing = serving(server, {}, listeners={"note": taker.take})
        async with hearing as (_, mesh), serving(client, {}) as (control, _):
            link = await control.connect(HERE, mesh.listen_ports[0], deadline_s=5)
            link._stream._session.raw._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            stuck = False
            for n in range(COUNT):
                link.tell("note", {"n": n, "pad": bytes(size if n % 3 else 10)})
                stuck |= link._stream.is_stuck
            assert stuck or size > 900
            await taker.all.wait()
            assert taker.taken == list(range(COUNT))
            assert not link._stream.is_stuck

    play(main)
