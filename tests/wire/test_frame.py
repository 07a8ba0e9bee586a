from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import BadInput
from swarm.wire import frame
from swarm.wire.frame import (
    CAP,
    CONTAINERS_MAX,
    DEPTH_MAX,
    FIELDS_MAX,
    ITEMS_MAX,
    NAMES_MAX,
    Decoder,
    is_flat,
    is_too_deep,
    memory,
    pack,
)

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(plain, max_size=5), st.integers(1, 9))
def test_what_is_packed_comes_out_however_it_is_cut(objects: list[object], step: int) -> None:
    stream = b"".join(pack(obj) for obj in objects)
    decoder = Decoder()
    got = [obj for at in range(0, len(stream), step) for obj in decoder.feed(stream[at : at + step])]
    assert got == objects


def test_a_frame_over_the_cap_is_refused_by_its_header() -> None:
    with pytest.raises(BadInput, match="a frame of 1048577 bytes received, at most 1048576"):
        Decoder().feed(struct.pack(">I", CAP + 1))


def test_a_frame_over_the_cap_is_not_sent() -> None:
    with pytest.raises(BadInput, match="bytes to send, at most 1048576"):
        pack(b"x" * CAP)


def test_of_a_cut_frame_nothing_comes_until_the_rest_is_there() -> None:
    decoder, frame = Decoder(), pack({"a": 1})
    assert decoder.feed(frame[:-1]) == []
    assert decoder.feed(frame[-1:]) == [{"a": 1}]


@given(st.binary(max_size=64))
def test_noise_is_refused_or_decoded_but_nothing_else(noise: bytes) -> None:
    with contextlib.suppress(BadInput):
        Decoder().feed(struct.pack(">I", len(noise)) + noise)


@pytest.mark.parametrize("body", [b"\x01\x01", b"\xc1", b"\xa1\xff", b"\xd4\x05x", b"\x91" * 5000 + b"\x01"])
def test_what_is_not_exactly_one_plain_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput, match="is not one msgpack object"):
        Decoder().feed(struct.pack(">I", len(body)) + body)


@pytest.mark.parametrize("key", [1, -1, 2.5, True, None])
def test_keys_that_are_hashed_without_a_seed_are_refused(key: object) -> None:
    body = msgpack.packb(["reply", 0, [{"a": {key: 1}}]])
    with pytest.raises(BadInput, match=r"is not one msgpack object: .* is not allowed for map key"):
        Decoder().feed(struct.pack(">I", len(body)) + body)


def nested(depth: int, around: Callable[[object], object]) -> object:
    obj: object = 1
    for _ in range(depth):
        obj = around(obj)
    return obj


@pytest.mark.parametrize("around", [lambda obj: [b"", obj], lambda obj: {"a": 1, "b": obj}], ids=["lists", "maps"])
def test_how_deep_a_frame_nests_is_known_to_the_level(around: Callable[[object], object]) -> None:
    assert not is_too_deep(nested(DEPTH_MAX + 1, around))
    assert is_too_deep(nested(DEPTH_MAX + 2, around))
    assert not is_too_deep(nested(DEPTH_MAX, lambda obj: [[], obj, {}])), "what is empty nests no deeper"


@pytest.mark.parametrize(
    ("body", "flat"),
    [
        ({}, True),
        ({"a": 1, "b": b"x", "c": None, "d": [1, "x", b"y"], "e": []}, True),
        ({str(number): number for number in range(FIELDS_MAX)}, True),
        ({str(number): number for number in range(FIELDS_MAX + 1)}, False),
        ({"a": [0] * ITEMS_MAX}, True),
        ({"a": [0] * (ITEMS_MAX + 1)}, False),
        ({"a": [0] * (ITEMS_MAX - 1), "b": [0], "c": 0}, True),
        ({"a": [0] * ITEMS_MAX, "b": [0]}, False),
        ({1: "a number is no name"}, False),
        ({"a" * (NAMES_MAX - 1): 0, "b": 0}, True),
        ({"a" * NAMES_MAX: 0, "b": 0}, False),
        ({"a": {}}, False),
        ({"a": [1, []]}, False),
        ({"a": [1], "b": [{}]}, False),
    ],
)
def test_a_body_of_values_and_lists_of_them_is_flat(body: dict[object, object], flat: bool) -> None:
    assert is_flat(body) is flat


def test_the_memory_of_a_flat_body_is_that_of_its_texts_and_not_their_length() -> None:
    texts = [f"{number:02x}" for number in range(256)] * 64
    body = Decoder().feed(pack({"a": texts, "b": b"x" * 1000}))[0]
    per_text = "00".__sizeof__() + 8
    assert per_text * len(texts) <= memory(body) <= per_text * len(texts) + 2**12 + len(texts)


@pytest.mark.parametrize("around", [lambda time: time, lambda time: [[time]], lambda time: {"a": {"b": [1, time]}}])
def test_the_times_of_msgpack_are_refused_however_deep(around: Callable[[object], object]) -> None:
    body = msgpack.packb(around(msgpack.Timestamp(1)))
    with pytest.raises(BadInput, match=r"a frame of \d+ bytes holds a time"):
        Decoder().feed(struct.pack(">I", len(body)) + body)


def test_what_nests_deeper_than_python_recurses_is_refused_without_recursion() -> None:
    deep = b"\x91" * 1000 + b"\x01"
    with pytest.raises(BadInput, match="a frame of 1001 bytes nests deeper than 16 levels"):
        Decoder().feed(struct.pack(">I", len(deep)) + deep)
    obj = {"a": nested(16, lambda obj: [obj])}
    assert Decoder().feed(pack(obj)) == [obj]


@pytest.mark.parametrize("around", [lambda objs: objs, lambda objs: [[], objs[2:]], lambda objs: {"a": objs[1:]}])
def test_a_frame_that_is_full_of_lists_and_maps_is_refused(around: Callable[[list[object]], object]) -> None:
    full = around([[], {}] * (CONTAINERS_MAX // 2 - 1) + [[]])
    assert Decoder().feed(pack(full)) == [full]
    with pytest.raises(BadInput, match=rf"more than {CONTAINERS_MAX} lists and maps are in it"):
        Decoder().feed(pack([full, []]))


def test_lists_are_counted_while_they_are_made_and_not_when_all_of_them_are_there() -> None:
    """A megabyte of lists in lists took most of a second to make: here what would follow them is missing."""
    with pytest.raises(BadInput, match="lists and maps are in it"):
        frame.unpack_body(b"\xdd" + struct.pack(">I", CONTAINERS_MAX + 1) + b"\x91\x90" * CONTAINERS_MAX)
