"""Channel messages: what is written comes back, anything else is refused in one sentence."""

from __future__ import annotations

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import BadInput, Refused, SwarmError
from swarm.wire import frame, messages
from swarm.wire.messages import Error, Hello, Leave, Merged, Note, Open, Opened, Report, Sync, Welcome

FROM_PROGRAM = [
    Hello(messages.VERSION, 7, "token"),
    Open("c", {"minPeers": 2}, 1, 128, "snapshot", [["w", "float32", [2]]]),
    Sync("sync", 128, 1, {"loss": float("inf")}),
    Report(128, 1, 5, {"loss": 0.5}),
    Leave("NaN", 7),
    messages.Bye(),
]
FROM_NODE = [
    Welcome(messages.VERSION, "sl-1 (org-a)"),
    Opened("c", 3, "blake3:ab", "blake3", "uid", False),
    Merged(3, "blake3:cd", 2, True, "adopted", "", 1250),
    Note("warning", "waiting for peers: 1 of 2"),
    messages.Alive(),
    Error(5, "refused", "ask"),
]


@pytest.mark.parametrize("message", FROM_PROGRAM, ids=lambda message: type(message).__name__)
def test_a_programs_message_survives_the_wire(message):
    assert messages.decode_from_program(*frame.Decoder().feed(frame.pack(messages.encode(message)))) == message


@pytest.mark.parametrize("message", FROM_NODE, ids=lambda message: type(message).__name__)
def test_a_nodes_message_survives_the_wire(message):
    assert messages.decode_from_node(*frame.Decoder().feed(frame.pack(messages.encode(message)))) == message


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "middle"}, "channel message sync: kind is 'middle', expected one of begin, sync, end"),
        ({"batches": -1}, "channel message sync: batches is -1, expected a whole number from 0 to 2^63 - 1"),
        ({"batches": True}, "channel message sync: batches is True, expected a whole number from 0 to 2^63 - 1"),
        ({"batches": 1 << 63}, "channel message sync: batches is 9223372036854775808"),
        ({"metrics": {"loss": "low"}}, "channel message sync: metrics is {'loss': 'low'}, expected a dict"),
        ({"metrics": {str(n): 0.0 for n in range(65)}}, "expected a dict within its bounds"),
        ({"extra": 1}, "channel message sync: field 'extra' is unknown"),
        ({"type": "merged"}, "channel message 'merged' is unknown here, expected one of bye, hello, leave, "),
    ],
)
def test_a_wrong_field_is_named(change, sentence):
    with pytest.raises(BadInput) as caught:
        messages.decode_from_program({**messages.encode(Sync("sync", 1, 0, {})), **change})
    assert sentence in caught.value.message


def test_a_missing_field_is_named():
    wire = messages.encode(Sync("sync", 1, 0, {}))
    del wire["epochs"]
    with pytest.raises(BadInput, match="field 'epochs' is missing"):
        messages.decode_from_program(wire)


def test_another_version_is_refused_and_both_are_named():
    wire = {**messages.encode(Hello(1, 7, "")), "version": 5, "added in version 5": True}
    with pytest.raises(Refused, match="speaks version 5 of the channel, this learning node version 4"):
        messages.decode_from_program(wire)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)
WIRES = [messages.encode(message) for message in [*FROM_PROGRAM, *FROM_NODE]]


@given(
    PLAIN | st.tuples(st.sampled_from(WIRES), st.dictionaries(st.sampled_from(["kind", "schema", "pid", "x"]), PLAIN))
)
def test_whatever_comes_is_a_message_or_one_sentence(wire):
    if isinstance(wire, tuple):
        wire = {**wire[0], **wire[1]}
    for decode in (messages.decode_from_program, messages.decode_from_node):
        outcome = outcome_of(decode, wire)
        if isinstance(outcome, SwarmError):
            assert "\n" not in outcome.message
            assert len(outcome.message) < 400
        else:
            assert messages.encode(outcome).keys() == wire.keys()


def outcome_of(decode, wire):
    try:
        return decode(wire)
    except SwarmError as error:
        return error


@given(st.binary(max_size=200), st.sampled_from(WIRES), st.data())
def test_damaged_bytes_are_a_message_or_one_sentence(noise, wire, data):
    packed = bytearray(frame.pack(wire))
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position : position + len(noise)] = noise
    with contextlib.suppress(SwarmError):
        for received in frame.Decoder().feed(packed):
            messages.decode_from_program(received)


def test_a_thousand_nested_lists_are_refused():
    wire = {"type": "leave", "reason": [], "code": 1}
    for _ in range(400):
        wire["reason"] = [wire["reason"]]
    with pytest.raises(BadInput):
        messages.decode_from_program(msgpack.unpackb(msgpack.packb(wire), strict_map_key=False))
