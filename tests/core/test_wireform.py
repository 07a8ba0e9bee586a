"""What travels as bf16 or int8 is what everybody then has: known to the bit, near the original, and cut at any leaf."""

from __future__ import annotations

from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.core import quantise
from swarm.core.tensors import FLOATS, LEAF_BYTES, STORAGE, Schema, TensorSpec
from swarm.core.wireform import WIRES, Base, Coding, WireForm
from swarm.nodes.bench import central
from swarm.wire import tensorbytes

LOSSY = [wire for wire in WIRES if wire != "fp32"]
SIZES = [0, 1, 3, 1023, 1024, 1025, 40_000]


def packed(schema: Schema, arrays: dict[str, np.ndarray]) -> bytearray:
    buffer = bytearray(schema.nbytes)
    tensorbytes.pack(schema, arrays, buffer)
    return buffer


def held(model: bytearray | memoryview) -> Base:
    """A base that lies in memory."""
    return lambda start, stop: memoryview(model)[start:stop]


def drawn(generator: np.random.Generator, schema: Schema, near: dict | None = None) -> dict[str, np.ndarray]:
    """Weights; ``near`` others, where they are floats."""
    arrays = {}
    for tensor in schema.tensors:
        if tensor.dtype in FLOATS:
            change = generator.standard_normal(tensor.shape) * 10.0 ** generator.integers(-6, 3)
            whole = change if near is None else near[tensor.name].astype(np.float64) + change / 100
            arrays[tensor.name] = whole.astype(np.dtype(tensor.dtype))
        else:
            arrays[tensor.name] = generator.integers(0, 2, tensor.shape).astype(tensor.dtype)
    return arrays


def sent_and_read(schema: Schema, wire: str, model: bytearray, base: bytearray) -> tuple[bytearray, bytearray]:
    coding = Coding(WireForm(schema, wire), held(base))
    sent, read = bytearray(coding.form.nbytes), bytearray(b"\xaa" * schema.nbytes)
    coding.write(0, schema.nbytes, memoryview(model), memoryview(sent))
    coding.read(0, schema.nbytes, memoryview(sent), memoryview(read))
    return sent, read


def of_float32(size: int = 300_000) -> Schema:
    return Schema(
        (TensorSpec("a", "float32", (size,)), TensorSpec("one", "float32", ()), TensorSpec("b", "float32", (7, 5)))
    )


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    wire=st.sampled_from(LOSSY),
    tensors=st.lists(st.tuples(st.sampled_from(sorted(STORAGE)), st.sampled_from(SIZES)), min_size=1, max_size=6),
)
def test_a_model_cut_at_any_leaf_travels_and_is_read_in_the_same_bytes_and_integers_as_they_are(seed, wire, tensors):
    specs = [TensorSpec("first", "float32", (2,)), *(TensorSpec(f"t{n}", t, (s,)) for n, (t, s) in enumerate(tensors))]
    schema, generator = Schema(tuple(specs)), np.random.default_rng(seed)
    before = drawn(generator, schema)
    base, model = packed(schema, before), packed(schema, drawn(generator, schema, before))
    sent, read = sent_and_read(schema, wire, model, base)
    form = WireForm(schema, wire)
    assert form.nbytes <= schema.nbytes
    coding = Coding(form, held(base))
    cuts = sorted({0, schema.nbytes, *(int(leaf) * LEAF_BYTES for leaf in generator.integers(0, schema.leaves, 3))})
    for start, stop in pairwise(cuts):
        first, last = form.at(start), form.at(stop)
        part, out = bytearray(last - first), bytearray(b"\xaa" * (stop - start))
        coding.write(start, stop, memoryview(model)[start:stop], memoryview(part))
        coding.read(start, stop, memoryview(part), memoryview(out))
        assert (part, out) == (sent[first:last], read[start:stop])
        assert (form.whole(first), form.whole(last), form.whole(max(first, last - 1))) == (
            start, stop, stop if last == first else stop - (stop - 1) % LEAF_BYTES - 1,
        )  # fmt: skip
    for name, array in tensorbytes.views(schema, read).items():
        if array.dtype.name not in FLOATS:
            assert np.array_equal(array, tensorbytes.views(schema, model)[name]), "exact"


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    wire=st.sampled_from(LOSSY),
    dtype=st.sampled_from(sorted(FLOATS)),
    power=st.integers(-9, 9),
)
def test_what_is_read_is_as_near_as_the_form_can_say(seed, wire, dtype, power):
    schema, generator = Schema((TensorSpec("a", dtype, (5000,)),)), np.random.default_rng(seed)
    before = generator.standard_normal(5000).astype(np.dtype(dtype))
    after = (before.astype(np.float64) + generator.standard_normal(5000) * 2.0**power).astype(np.dtype(dtype))
    _, read = sent_and_read(schema, wire, packed(schema, {"a": after}), packed(schema, {"a": before}))
    found = tensorbytes.views(schema, read)["a"].astype(np.float64)
    change = np.abs(after.astype(np.float64) - before.astype(np.float64))
    rounding = np.abs(found) * float(ml_dtypes.finfo(np.dtype(dtype)).eps)
    most = np.repeat(
        [change[at : at + quantise.BLOCK].max() / 127 for at in range(0, 5000, quantise.BLOCK)], quantise.BLOCK
    )
    step = most[:5000] * 0.5000001 if wire == "int8" else change * 2.0**-8
    assert np.all(np.abs(found - after.astype(np.float64)) <= step + rounding)


@pytest.mark.parametrize(("wire", "least", "most"), [("int8", 0.0075, 0.0082), ("bf16", 0.0015, 0.0018)])
def test_the_error_of_normally_distributed_changes_is_what_the_documents_say(wire: str, least: float, most: float):
    generator = np.random.default_rng(1)
    before = generator.standard_normal(400_000).astype(np.float32)
    after = before + np.float32(0.001) * generator.standard_normal(400_000).astype(np.float32)
    schema = Schema.of({"a": before})
    sent, read = sent_and_read(schema, wire, packed(schema, {"a": after}), packed(schema, {"a": before}))
    error = np.frombuffer(read, np.float32)[:400_000].astype(np.float64) - after
    assert least < np.linalg.norm(error) / np.linalg.norm(after.astype(np.float64) - before) < most
    assert len(sent) / schema.nbytes <= {"int8": 0.2525, "bf16": 0.5}[wire]


@pytest.mark.parametrize("wire", LOSSY)
def test_it_is_what_other_code_finds(wire: str):
    schema, generator = of_float32(), np.random.default_rng(7)
    before = drawn(generator, schema)
    after = drawn(generator, schema, before)
    before["a"][:3000], after["a"][1024:2048] = 0.0, 0.0  # a block in which nothing changes
    after["a"][5000:6024] = before["a"][5000:6024] + np.float32(1e-42)  # scales without all of their digits
    before["b"][:], after["b"][:] = 1.5e38, -1.5e38
    _, read = sent_and_read(schema, wire, packed(schema, after), packed(schema, before))
    assert read == packed(schema, central.as_sent(wire, after, before))


@pytest.mark.parametrize("wire", LOSSY)
@pytest.mark.parametrize("dtype", sorted(FLOATS))
def test_what_has_not_changed_keeps_every_bit_the_sign_of_a_zero_too(dtype: str, wire: str):
    schema = Schema((TensorSpec("a", dtype, (3000,)),))
    model = packed(schema, {"a": np.array([-0.0, 0.0, 1.5, -2.0] * 750).astype(np.dtype(dtype))})
    assert sent_and_read(schema, wire, model, model)[1] == model


@pytest.mark.parametrize("wire", LOSSY)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_when_it_is_read(wire: str, bad: float):
    schema = of_float32(5000)
    before = drawn(np.random.default_rng(3), schema)
    after = {name: array.copy() for name, array in before.items()}
    after["a"][3333] = bad
    _, read = sent_and_read(schema, wire, packed(schema, after), packed(schema, before))
    assert tensorbytes.first_flaw(schema, read) == ("a", tensorbytes.NOT_FINITE)


def test_a_change_that_no_scale_holds_is_not_finite_when_it_is_read():
    schema = Schema((TensorSpec("a", "float64", (1025,)),))
    before, after = np.zeros(1025), np.full(1025, 1e300)
    _, read = sent_and_read(schema, "int8", packed(schema, {"a": after}), packed(schema, {"a": before}))
    assert tensorbytes.first_flaw(schema, read) == ("a", tensorbytes.NOT_FINITE)


def test_floats_that_would_not_get_shorter_travel_as_they_are():
    assert quantise.stretch_bytes("float16", "bf16", 1000) == quantise.stretch_bytes("bfloat16", "bf16", 1000) == 2000
    assert quantise.stretch_bytes("float16", "int8", 1000) == 1004
    assert quantise.stretch_bytes("float32", "int8", 1) == 4
    assert quantise.stretch_bytes("int64", "int8", 9) == 72
