"""Consensus messages survive the wire; nothing malformed gets through."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.names import uid_of
from swarm.core.ordering import (
    NO_HASH,
    Answer,
    Ballot,
    Campaign,
    Entries,
    LogEntry,
    Message,
    SnapshotOffered,
    first_term,
)
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


MESSAGES: list[Message] = [
    entries(),
    Answer(2, 7, True, 3, 4, 0),
    Answer(2, 7, False, 0, 0, 5),
    SnapshotOffered(first_term(3), 1, 5, bytes(range(32)), 9),
    Campaign(5, True, 9, 4),
    Campaign(first_term(1), False, 0, 0),
    Ballot(5, False, True),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
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
def test_malformed_entries_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        read_message({**write_message(entries(), NETWORK), **change}, NETWORK)


@pytest.mark.parametrize("message", MESSAGES)
def test_no_field_may_be_missing_or_of_another_type(message: Message) -> None:
    body = write_message(message, NETWORK)
    for name in body:
        for change in ({}, {name: None}, {name: "text"}, {name: 1.5}, {name: []} if name != "entries" else {name: 1}):
            with pytest.raises(BadInput):
                read_message({**{key: value for key, value in body.items() if key != name}, **change}, NETWORK)


@pytest.mark.parametrize(
    ("message", "change"),
    [
        (SnapshotOffered(2, 1, 5, bytes(32), 9), {"index": 10}),
        (SnapshotOffered(2, 1, 5, bytes(32), 9), {"index": 0}),
        (SnapshotOffered(2, 1, 5, bytes(32), 9), {"hash": bytes(31)}),
        (Campaign(5, True, 9, 4), {"last_term": 5}),
        (Campaign(5, True, 9, 4), {"pre": 1}),
        (Ballot(5, False, True), {"granted": 0}),
        (Ballot(5, False, True), {"term": 2**53}),
    ],
)
def test_what_makes_no_sense_is_refused(message: Message, change: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        read_message({**write_message(message, NETWORK), **change}, NETWORK)


# ---- whom an entry names as voters


KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
UID = uid_of(KEY.public_key().public_bytes_raw())
OTHER = "00000000-0000-0000-0000-000000000001"


def named(index: int, kind: str, body: dict[str, Any]) -> tuple[str, ...] | None:
    """Written by hand: what signs checks the body, and here none is good enough to be trusted."""
    header = msgpack.packb([1, NETWORK, UID, bytes(16), 1, kind, b"", []])
    proposal = msgpack.packb([header, msgpack.packb(body), bytes(64), b""])
    return log_entry(make_entry(index, 1, 5, NO_HASH, proposal)).voters


def test_three_kinds_name_the_voters() -> None:
    assert named(1, "Genesis", {"joined": {}}) == (UID,)
    assert named(9, "Configuration", {"voters": [UID, OTHER]}) == (UID, OTHER)
    assert named(9, "ForcedRecovery", {"epoch": 1, "uid": OTHER}) == (OTHER,)


def test_nothing_else_does() -> None:
    assert named(9, "NodeLeft", {"voters": [UID]}) is None
    assert named(9, "Leave", {"reason": "Configuration of Genesis by ForcedRecovery", "contract": "c"}) is None
    assert log_entry(make_entry(2, 1, 5, NO_HASH, b"")).voters is None


def test_a_second_genesis_takes_nothing_over() -> None:
    assert named(2, "Genesis", {"joined": {}}) is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"voters": None},
        {"voters": []},
        {"voters": [UID, UID]},
        {"voters": [UID, 1]},
        {"voters": [""]},
        {"voters": {UID: 1}},
        {"voters": [str(number) for number in range(17)]},
    ],
)
def test_voters_that_make_no_sense_are_none(body: dict[str, Any]) -> None:
    assert named(9, "Configuration", body) is None
    assert named(9, "ForcedRecovery", {"uid": body}) is None


def test_a_damaged_proposal_names_nobody() -> None:
    assert log_entry(make_entry(1, 1, 5, NO_HASH, b"Genesis")).voters is None
