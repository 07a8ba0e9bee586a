"""A peer whose answer says something else than it sends gets no memory for it, and is named."""

from __future__ import annotations

import struct
from pathlib import Path

import psutil
import pytest

from swarm.errors import SwarmError
from swarm.runtime import data_client, data_server
from swarm.runtime.data import Region
from swarm.runtime.data_protocol import END, HEADER
from tests.runtime.data_nodes import nodes
from tests.runtime.test_data import fetch

ASKED = 1 << 16


@pytest.fixture
def two(tmp_path: Path, organisation):
    with nodes(tmp_path, organisation, 2) as made:
        made[0].shelf["offer", 0] = Region.complete(memoryview(bytes(ASKED)))
        yield made


def lying(monkeypatch, sent: bytes) -> None:
    """The server's next answers begin with this instead of what was asked for."""

    def stream(reply: data_server.Reply, region: Region, want: object) -> bytes:
        reply._send(sent)
        return b""

    monkeypatch.setattr(data_server.Reply, "_stream", stream)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (HEADER.pack(END - 1), "sent 4294967294 bytes more of the offer of round 3"),
        (HEADER.pack(ASKED + 1) + bytes(ASKED + 1), "sent 65537 bytes more of the offer of round 3"),
        (HEADER.pack(ASKED) + bytes(ASKED) + HEADER.pack(1), "sent 1 bytes more of the offer of round 3"),
        (HEADER.pack(ASKED - 5) + bytes(ASKED - 5), "ended the offer of round 3 of contract a-contract early, with 5"),
        (b"", "early, with 65536 bytes to come"),
        (HEADER.pack(END) + struct.pack(">I", (1 << 32) - 1), "4294967295 bytes"),
    ],
)
def test_r059_a_body_that_is_longer_or_shorter_than_it_should_be_is_refused(two, monkeypatch, sent, said) -> None:
    holder, reader = two
    before = psutil.Process().memory_info().rss
    with monkeypatch.context() as patch:
        lying(patch, sent)
        with pytest.raises(SwarmError, match=said):
            fetch(reader, holder, 0, ASKED)
    assert psutil.Process().memory_info().rss - before < 16 << 20
    assert not any(reader.client._idle.values()), "that connection is not used again"
    assert fetch(reader, holder, 0, ASKED)[0] == bytes(ASKED)


def test_r059_a_body_that_breaks_off_is_asked_for_again_and_its_sender_named_in_the_end(two, monkeypatch) -> None:
    monkeypatch.setattr(data_client, "FIRST_PAUSE_S", 0.001)
    holder, reader = two

    def stream(reply: data_server.Reply, region: Region, want: object) -> bytes:
        reply._send(HEADER.pack(ASKED))
        raise data_server.Broken("the line is cut")

    monkeypatch.setattr(data_server.Reply, "_stream", stream)
    with pytest.raises(SwarmError, match=r"did not come from .*tried 4 times, 0 of 65536 bytes are here"):
        fetch(reader, holder, 0, ASKED)
