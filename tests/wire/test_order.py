"""Consensus messages survive the wire; nothing malformed gets through."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from swarm.core.ordering import NO_HASH, Answer, Entries, LogEntry
from swarm.errors import BadInput
from swarm.wire.order import log_entry, read_message, write_message
from swarm.wire.signed import make_entry

NETWORK = b"n" * 32


def three() -> tuple[LogEntry, ...]:
    made: list[LogEntry] = []
    previous = NO_HASH
    for index in (1, 2, 3):
        entry = make_entry(index, 1, 5, previous, b"p%d" % index)
        made.append(log_entry(entry))
        previous = entry.hash
    return tuple(made)


def entries() -> Entries:
    one, two, three_ = three()
    return Entries(2, 7, 1, one.hash, (two, three_), 4, 2, False)


@pytest.mark.parametrize("message", [entries(), Answer(2, 7, True, 3, 4, 0), Answer(2, 7, False, 0, 0, 5)])
def test_a_message_comes_back_as_it_was(message: Entries | Answer) -> None:
    body = msgpack.unpackb(msgpack.packb(write_message(message, NETWORK)))
    assert read_message(body, NETWORK) == message
    assert read_message(body, b"") == message


def test_another_network_is_named_in_one_sentence() -> None:
    with pytest.raises(BadInput) as caught:
        read_message(write_message(entries(), b"o" * 32), NETWORK)
    assert (b"o" * 8).hex() in caught.value.message
    assert (b"n" * 8).hex() in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"kind": "vote"},
        {"kind": None},
        {"term": -1},
        {"term": True},
        {"stamp": 2**60},
        {"prev_hash": b"short"},
        {"prev_index": 0},
        {"prev_hash": bytes(32)},
        {"entries": b"bytes"},
        {"entries": ["text"]},
        {"entries": [b"\xc1"]},
        {"entries": [three()[2].raw, three()[1].raw]},
        {"entries": [three()[1].raw, three()[1].raw]},
        {"term": 0},
        {"last": 2},
        {"commit": 5},
        {"one_copy": 1},
    ],
)
def test_a_malformed_message_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        read_message({**write_message(entries(), NETWORK), **change}, NETWORK)
