"""Random bytes at every kind of port: each such connection ends, and who means it is served as before."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import trio

from swarm.runtime.data import Region
from tests.nodes.lives import HERE, Lives, play
from tests.runtime.data_nodes import Node, nodes, want

HELLO = b"\x13/multistream/1.0.0\n"
BEGINNINGS = (
    b"", HELLO, HELLO + b"\x0e/swarm/mtls/1\n", HELLO + b"\x07/noise\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x17\x03\x03\x40\x00",
    b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)  # fmt: skip
"""As whoever means it might begin: so some of the noise comes further than the first byte."""
EACH = 3
ENDS_S = 20.0


def noise() -> Iterator[bytes]:
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    random = Random(seed)
    for beginning in BEGINNINGS * EACH:
        yield beginning + random.randbytes(random.choice((1, 60, 3_000, 40_000)))


async def make(port: int, sound: bytes) -> None:
    """Says it, and nothing more: until the other side ends that."""
    with trio.fail_after(ENDS_S):
        async with await trio.open_tcp_stream(HERE, port) as stream:
            try:
                await stream.send_all(sound)
                await stream.send_eof()
                while await stream.receive_some(65536):
                    pass
            except trio.BrokenResourceError:  # it was ended before all was said
                pass


async def make_all(*ports: int) -> None:
    async with trio.open_nursery() as nursery:
        for sound in noise():
            for port in ports:
                nursery.start_soon(make, port, sound)


def test_r084_a_network_node_that_hears_noise_at_both_its_ports_takes_in_another_and_acknowledges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lives = Lives(tmp_path, monkeypatch)

    async def main() -> None:
        async with lives.running():
            node = await lives.start("sn-1")
            await make_all(node.p2p_port, node.api_port)
            other = await lives.start("sn-2", "sn-1")
            with lives.author("sl") as author:
                await lives.write("sn-1", author, 3)
            await lives.until(lambda: other.driver.ledger.head_hash == node.driver.ledger.head_hash)
            async with trio.open_nursery() as nursery:  # and with others there
                nursery.start_soon(make_all, node.p2p_port, other.api_port)
                with lives.author("swci") as author:
                    await lives.write("sn-1", author, 3)
            await lives.until(lambda: len(lives.heads("sn-1", "sn-2")) == 1)
        assert not lives.ended

    play(main)
    ours = [record for record in caplog.records if record.name.startswith("swarm")]
    assert any("refused a connection" in record.getMessage() for record in ours)
    assert not [record for record in ours if record.levelno >= logging.ERROR], "nothing else notices"


def test_r084_a_learning_node_that_hears_noise_at_its_data_port_serves_as_before(tmp_path: Path, organisation) -> None:
    def fetched(reader: Node, holder: Node) -> bytes:
        into = bytearray(5)
        reader.client.fetch(holder.address, holder.uid, want(0, 5), memoryview(into))
        return bytes(into)

    with nodes(tmp_path, organisation, 2) as (holder, reader):
        holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))
        trio.run(make_all, holder.server.port)
        assert fetched(reader, holder) == b"hello"
        assert len(holder.server._connections) == 1, "that of the reader"
