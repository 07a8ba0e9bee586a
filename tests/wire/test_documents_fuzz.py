"""Whatever bytes come as a document: a typed value or BadInput, nothing else, and soon."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from swarm.errors import BadInput
from swarm.wire import profile, taskfile
from swarm.wire.documents import BYTES_MAX

OWN = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "documents").glob("*.yaml"))}


def alone(data: bytes) -> None:
    for parse in (profile.parse, taskfile.parse):
        with contextlib.suppress(BadInput):
            parse(data, "x.yaml")


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9)
)


@pytest.mark.parametrize(
    "data",
    [
        b"x: !!python/object/apply:os.system ['touch /tmp/x']",
        BOMB,
        b"[" * 10_000,
        b"{a: " * 10_000,
        b"? " * 10_000,
        b"".join(b" " * depth + b"a:\n" for depth in range(1400)),
    ],
    ids=["python", "aliases", "lists", "maps", "keys", "block"],
)
def test_what_would_run_or_explode_costs_next_to_nothing(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(BadInput):
        profile.parse(data, "x.yaml")
    assert time.process_time() - started < 2  # some ms; more on a machine that does much else
    tracemalloc.start()
    try:
        alone(data)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "piece",
    [b"- a\n", b"a,", b"&a ", b"!a ", b": ", b"%A\n", b"#\n", b"\t\n", b"x", b"<P>", b'"', b"k\xc3\xbc: 1\n"],
    ids=repr,
)
@pytest.mark.parametrize("before", [b"", b"nodes: [", b'nodes: "'], ids=["", "in a list", "in quotes"])
def test_a_mebibyte_of_anything_is_refused_in_seconds(before: bytes, piece: bytes) -> None:
    data = before + piece * ((BYTES_MAX - len(before)) // len(piece))
    started = time.process_time()
    with pytest.raises(BadInput):
        profile.parse(data, "x.yaml")
    assert time.process_time() - started < 10  # at most one, on a machine of its own


@given(st.binary(max_size=200))
@example(b"%YAML 1.")
@example(b"a: 0x_")
@example(b"a: 0b_")
@example(b'a: "\\ud800"')
def test_noise_is_refused_or_read_but_nothing_else(noise: bytes) -> None:
    alone(noise)


@given(st.text(alphabet="ab:-?[]{},&*!|>'\"%@`#~<=.\n\t 0x_1", max_size=60))
def test_what_looks_like_yaml_is_refused_or_read_but_nothing_else(text: str) -> None:
    alone(text.encode())


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.data(), st.sampled_from(sorted(OWN)))
@settings(max_examples=200)
def test_a_good_document_with_one_value_exchanged_is_refused_or_read(data: st.DataObject, name: str) -> None:
    """Whatever stands wherever: no value of a document breaks its reader."""
    value = yaml.safe_load(OWN[name])
    inside = value
    while True:
        keys = sorted(inside) if isinstance(inside, dict) else list(range(len(inside)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if not isinstance(inside[key], dict | list) or data.draw(st.booleans()):
            inside[key] = data.draw(plain)
            break
        inside = inside[key]
    alone(yaml.safe_dump(value, allow_unicode=True).encode())


@given(st.data(), st.sampled_from(sorted(OWN)))
@settings(max_examples=200)
def test_a_good_document_with_some_bytes_exchanged_is_refused_or_read(data: st.DataObject, name: str) -> None:
    good = OWN[name]
    at = data.draw(st.integers(0, len(good)))
    alone(good[:at] + data.draw(st.binary(max_size=4)) + good[at + data.draw(st.integers(0, 4)) :])


BODY_KEYS = st.sampled_from([field.name for body in taskfile.BODIES.values() for field in fields(body)]) | st.text(
    max_size=4
)


@given(st.sampled_from(sorted(taskfile.BODIES)), st.dictionaries(BODY_KEYS, plain | st.binary(max_size=4), max_size=8))
def test_whatever_the_ledger_holds_as_a_body_is_refused_or_read(type_: str, body: dict[str, object]) -> None:
    with contextlib.suppress(BadInput):
        taskfile.body_of(type_, body)
