from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import BadInput
from swarm.wire.frame import CAP, Decoder, pack

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


def test_what_nests_deeper_than_python_recurses_is_refused_without_recursion() -> None:
    deep = b"\x91" * 1000 + b"\x01"
    with pytest.raises(BadInput, match="a frame of 1001 bytes nests deeper than 16 levels"):
        Decoder().feed(struct.pack(">I", len(deep)) + deep)
    nested: list[object] = []
    for _ in range(15):
        nested = [nested]
    assert Decoder().feed(pack({"a": nested})) == [{"a": nested}]
