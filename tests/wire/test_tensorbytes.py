"""Arrays become the same bytes and the same digest everywhere, and come back as they were."""

import hashlib

import ml_dtypes
import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.core.tensors import LEAF_BYTES, STORAGE, Schema
from swarm.errors import ModelError
from swarm.wire import tensorbytes


def random_arrays(seed: int, specs: list) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    arrays = {"first": np.zeros(1, np.float32)}
    for index, (dtype, shape) in enumerate(specs):
        bits = generator.integers(0, 256, (*shape, np.dtype(STORAGE[dtype]).itemsize), np.uint8)
        array = (bits % 2).astype(bool)[..., 0] if dtype == "bool" else bits.view(np.dtype(dtype))[..., 0]
        arrays[f"t{index}"] = array
    return arrays


SPECS = st.lists(
    st.tuples(st.sampled_from(sorted(STORAGE)), st.lists(st.integers(0, 200), max_size=2)), min_size=1, max_size=6
)


@given(st.integers(0, 2**32), SPECS)
def test_arrays_come_back_bit_for_bit_with_their_types(seed: int, specs: list) -> None:
    arrays = random_arrays(seed, specs)
    schema = Schema.of(arrays)
    buffer = bytearray(b"\xff" * schema.nbytes)
    tensorbytes.pack(schema, arrays, buffer)
    for name, view in tensorbytes.views(schema, buffer).items():
        assert view.dtype == arrays[name].dtype
        assert view.shape == arrays[name].shape
        assert view.tobytes() == arrays[name].tobytes()


def test_the_canonical_bytes_are_little_endian_and_zero_padded_whatever_the_arrays_look_like() -> None:
    arrays = {"a": np.array([[1, 2], [3, 4]], ">i2").T, "b": np.array(1.0, np.float64)}
    schema = Schema.of(arrays)
    buffer = bytearray(b"\xff" * schema.nbytes)
    tensorbytes.pack(schema, arrays, buffer)
    assert bytes(buffer) == bytes.fromhex("0100030002000400").ljust(64, b"\0") + bytes.fromhex(
        "000000000000f03f"
    ).ljust(64, b"\0")


def test_the_digest_is_what_the_design_says() -> None:
    arrays = {"a": np.arange(40_000, dtype=np.float32)}
    schema = Schema.of(arrays)
    buffer = bytearray(schema.nbytes)
    tensorbytes.pack(schema, arrays, buffer)

    def h(data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    schema_hash = h(msgpack.packb(["swarm/schema/1", [["a", "float32", [40_000]]]]))
    leaves = [h(bytes(buffer[at : at + LEAF_BYTES])) for at in range(0, 160_000, LEAF_BYTES)]
    assert tensorbytes.digest(schema, buffer, "sha256") == "sha256:" + h(schema_hash + b"".join(leaves)).hex()
    assert tensorbytes.initial_base(schema, "sha256") == "sha256:" + schema_hash.hex()


def test_the_digest_depends_on_every_byte_on_the_schema_and_on_the_hash() -> None:
    one = Schema.of({"a": np.zeros(20_000, np.float32)})
    other = Schema.of({"b": np.zeros(20_000, np.float32)})
    zeros = bytearray(one.nbytes)
    digests = {tensorbytes.digest(schema, zeros, name) for schema in (one, other) for name in ("blake3", "sha256")}
    for at in (0, LEAF_BYTES - 1, LEAF_BYTES, one.nbytes - 1):
        changed = bytearray(zeros)
        changed[at] = 1
        digests.add(tensorbytes.digest(one, changed, "blake3"))
    assert len(digests) == 8


def test_leaf_hashes_of_shards_join_to_those_of_the_model() -> None:
    data = np.random.default_rng(1).bytes(5 * LEAF_BYTES + 64)
    cut = 2 * LEAF_BYTES
    whole = tensorbytes.leaf_hashes(data, "blake3")
    assert whole == tensorbytes.leaf_hashes(data[:cut], "blake3") + tensorbytes.leaf_hashes(data[cut:], "blake3")
    assert len(whole) == 6 * tensorbytes.HASH_BYTES


def test_a_model_of_another_shape_type_or_size_is_refused_by_name() -> None:
    schema = Schema.of({"a": np.zeros(3, np.float32), "b": np.zeros(3, np.float32)})
    buffer = bytearray(schema.nbytes)
    good = np.zeros(3, np.float32)
    with pytest.raises(ModelError, match=r'"b": the contract has float32 \(3,\), this model has float64 \(3,\)'):
        tensorbytes.pack(schema, {"a": good, "b": good.astype(np.float64)}, buffer)
    with pytest.raises(ModelError, match=r'"b": the contract has float32 \(3,\), this model has float32 \(3, 1\)'):
        tensorbytes.pack(schema, {"a": good, "b": good.reshape(3, 1)}, buffer)
    with pytest.raises(ModelError, match='tensor 2: the contract has "b"'):
        tensorbytes.pack(schema, {"a": good, "c": good}, buffer)
    with pytest.raises(ModelError, match="this model ends before it"):
        tensorbytes.pack(schema, {"a": good}, buffer)
    with pytest.raises(ModelError, match="a buffer of 127 bytes was given for a model of 128 bytes"):
        tensorbytes.pack(schema, {"a": good, "b": good}, bytearray(127))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_tensor_with_nan_or_infinity_is_found(dtype: str, bad: float) -> None:
    arrays = {
        "counts": np.full(9, -1, np.int64),
        "good": np.linspace(-1, 1, 9).astype(dtype),
        "bad": np.array([0, bad, 0]).astype(dtype),
    }
    schema = Schema.of(arrays)
    buffer = bytearray(schema.nbytes)
    tensorbytes.pack(schema, arrays, buffer)
    assert tensorbytes.first_flaw(schema, buffer) == ("bad", tensorbytes.NOT_FINITE)
    end = schema.offsets[2]
    assert tensorbytes.first_flaw(schema, buffer[:end], 0, end) is None


def test_what_cannot_be_merged_is_found_in_what_is_sent_and_a_merge_may_be_as_large_as_its_type() -> None:
    def found(content: dict, *, sent: bool, at: int = 0, byte: int = 0) -> tuple[str, str] | None:
        schema = Schema.of(content)
        buffer = bytearray(schema.nbytes)
        tensorbytes.pack(schema, content, buffer)
        buffer[at] = byte or buffer[at]
        return tensorbytes.first_flaw(schema, buffer, sent=sent)

    for dtype in ("float16", "float32", "float64"):
        for sign in (1, -1):
            content = {"a": np.zeros(0, dtype), "w": np.array([0, sign * np.finfo(dtype).max], dtype)}
            assert found(content, sent=False) is None
            assert found(content, sent=True) == (("w", "numbers beyond 2^960") if dtype == "float64" else None)
    assert found({"w": np.array([2.0**960, -(2.0**960)])}, sent=True) is None
    flags = {"flags": np.array([True, False]), "w": np.ones(1, np.float32)}
    assert found(flags, sent=True) is None
    assert found(flags, sent=True, at=1, byte=2) == ("flags", "booleans that are neither 0 nor 1")
    assert found(flags, sent=False, at=2, byte=1) == ("", "bytes that are not 0 between its tensors")
    assert found(flags, sent=False, at=127, byte=1) == ("", "bytes that are not 0 behind its tensors")


def test_booleans_are_packed_as_0_and_1_whatever_their_memory_holds() -> None:
    schema, buffer = Schema.of({"flags": np.zeros(4, bool)}), bytearray(64)
    tensorbytes.pack(schema, {"flags": np.array([0, 1, 7, 255], np.uint8).view(bool)}, buffer)
    assert bytes(buffer[:4]) == b"\0\1\1\1"


def test_the_largest_bfloat16_is_finite() -> None:
    largest = np.array([ml_dtypes.finfo(ml_dtypes.bfloat16).max], ml_dtypes.bfloat16)
    assert tensorbytes.finite("bfloat16", largest.view(np.uint16))


def test_a_hash_that_is_not_here_is_refused() -> None:
    with pytest.raises(ModelError, match="the contract's hash 'md5' cannot be computed here"):
        tensorbytes.hash_function("md5")
    assert tensorbytes.available_hashes() == ("blake3", "sha256")
