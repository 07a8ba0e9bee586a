"""Tensor bytes: a model as canonical bytes in a buffer, and the digest that names it.

Used by the training side (pack, views), the learning node (leaf hashes while bytes come in) and whoever checks a model.
Guarantees: equal arrays give equal bytes and one digest on every machine; nothing is copied but by `pack`.

    digest = H(schema hash ‖ H(leaf 0) ‖ H(leaf 1) ‖ …), written "<name of H>:<hex>"
    of a base with momentum (core/outer): H("swarm/base/1" 0 ‖ the model's digest ‖ 0 ‖ the momentum's digest), as text
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import numpy as np

from swarm.core.tensors import FLOATS, LEAF_BYTES, Schema
from swarm.errors import ModelError

HASHES = ("blake3", "sha256")
HASH_BYTES = 32
LARGEST = 2.0**960
"""Of a float64 in a contribution: what is beyond leaves the range once it is weighed and added up. Other types are
added up in float64, where that cannot happen."""
NOT_FINITE = "NaN or infinity"
Buffer = memoryview | bytearray | bytes
Hash = Callable[[Buffer], bytes]


def _sha256(data: Buffer) -> bytes:
    return hashlib.sha256(data).digest()


_FUNCTIONS: dict[str, Hash] = {"sha256": _sha256}
try:
    from blake3 import blake3
except ImportError:  # the training side does without; its learning node hashes for it
    pass
else:
    _FUNCTIONS["blake3"] = lambda data: bytes(blake3(data).digest())


def available_hashes() -> tuple[str, ...]:
    """The names of the hashes that this process can compute, the preferred one first."""
    return tuple(name for name in HASHES if name in _FUNCTIONS)


def hash_function(name: str) -> Hash:
    """H by its name in the contract; raises ModelError when this process cannot compute it."""
    function = _FUNCTIONS.get(name)
    if function is None:
        hint = "pip install blake3" if name == "blake3" else ""
        raise ModelError(f"the contract's hash {name[:40]!r} cannot be computed here", hint=hint)
    return function


# ---- arrays and bytes


def pack(schema: Schema, arrays: Mapping[str, np.ndarray[Any, Any]], buffer: Buffer) -> None:
    """Write the arrays into the buffer as canonical bytes; raises ModelError when they are not of this schema."""
    if len(arrays) != len(schema.tensors) or any(tensor.name not in arrays for tensor in schema.tensors):
        raise ModelError(schema.first_difference(Schema.of(arrays)) or "the model's tensors have other names")
    target = _bytes_of(schema, buffer)
    for tensor, start, end in zip(schema.tensors, schema.offsets[:-1], schema.offsets[1:], strict=True):
        array = arrays[tensor.name]
        if array.dtype.name != tensor.dtype or array.shape != tensor.shape:
            raise ModelError(
                f'tensor "{tensor.name}": the contract has {tensor.dtype} {tensor.shape}, '
                f"this model has {array.dtype.name} {array.shape}"
            )
        if tensor.dtype == "bfloat16":
            array = np.ascontiguousarray(array).view(np.uint16)
        elif tensor.dtype == "bool":
            array = array.view(np.uint8) != 0  # memory of another's may hold other bytes
        stop = start + tensor.nbytes
        np.copyto(target[start:stop].view(tensor.storage).reshape(tensor.shape), array)
        target[stop:end] = 0


def views(schema: Schema, buffer: Buffer) -> dict[str, np.ndarray[Any, Any]]:
    """The model's arrays as views into the buffer. Where ml_dtypes is loaded bfloat16 is its type, else its bits."""
    source = _bytes_of(schema, buffer)
    return {
        tensor.name: source[start : start + tensor.nbytes].view(_element_type(tensor.dtype)).reshape(tensor.shape)
        for tensor, start in zip(schema.tensors, schema.offsets[:-1], strict=True)
    }


def _element_type(dtype: str) -> np.dtype[Any]:
    if dtype == "bfloat16":
        try:
            return np.dtype("bfloat16")
        except TypeError:
            return np.dtype("<u2")
    return np.dtype(dtype).newbyteorder("<")


def _bytes_of(schema: Schema, buffer: Buffer) -> np.ndarray[Any, Any]:
    target = np.frombuffer(buffer, np.uint8)
    if target.size != schema.nbytes:
        raise ModelError(f"a buffer of {target.size} bytes was given for a model of {schema.nbytes} bytes")
    return target


def first_flaw(
    schema: Schema, buffer: Buffer, start: int = 0, stop: int | None = None, *, sent: bool = False
) -> tuple[str, str] | None:
    """What bytes ``start`` to ``stop`` of a model hold that no member means, and the tensor; "" is what lies between.

    ``buffer`` holds just these bytes. ``sent``: as a contribution, not as a merge.
    """
    stop = schema.nbytes if stop is None else stop
    source, upto = np.frombuffer(buffer, np.uint8), 0
    assert source.size == stop - start, (source.size, start, stop)
    for run in schema.runs(start, stop):
        tensor, first, last = schema.tensors[run.tensor], run.start - start, run.stop - start
        if source[upto:first].any():
            return "", "bytes that are not 0 between its tensors"
        if found := flaw(tensor.dtype, source[first:last].view(tensor.storage), sent=sent):
            return tensor.name, found
        upto = last
    return ("", "bytes that are not 0 behind its tensors") if source[upto:].any() else None


def flaw(dtype: str, values: np.ndarray[Any, Any], *, sent: bool = False) -> str:
    """What stored values of an element type are that cannot be merged, or be a merge; "" where nothing is."""
    if dtype == "bool":
        return "booleans that are neither 0 nor 1" if values.size and values.view(np.uint8).max() > 1 else ""
    if not finite(dtype, values):
        return NOT_FINITE
    if sent and dtype == "float64" and values.size and max(values.max(), -values.min()) > LARGEST:
        return "numbers beyond 2^960"
    return ""


def finite(dtype: str, values: np.ndarray[Any, Any]) -> bool:
    """No NaN and no infinity among these stored values of an element type."""
    if dtype == "bfloat16":
        return not bool(((values & np.uint16(0x7F80)) == 0x7F80).any())
    return dtype not in FLOATS or bool(np.isfinite(values).all())


# ---- digests


def schema_hash(schema: Schema, hash_name: str) -> bytes:
    packed: bytes = msgpack.packb(["swarm/schema/1", schema.to_wire()])
    return hash_function(hash_name)(packed)


def initial_base(schema: Schema, hash_name: str) -> str:
    """The base of round 0, before anything was merged: the hash of the schema."""
    return _text(hash_name, schema_hash(schema, hash_name))


def leaf_hashes(data: Buffer, hash_name: str) -> bytes:
    """The hashes of the leaves in these bytes, which begin at the border of a leaf."""
    function, view = hash_function(hash_name), memoryview(data).cast("B")
    return b"".join(function(view[at : at + LEAF_BYTES]) for at in range(0, len(view), LEAF_BYTES))


def digest_of_leaves(schema: Schema, hashes: Buffer, hash_name: str) -> str:
    """The digest of a model whose leaves have these hashes."""
    assert len(hashes) == schema.leaves * HASH_BYTES, (len(hashes), schema.leaves)
    return _text(hash_name, hash_function(hash_name)(schema_hash(schema, hash_name) + bytes(hashes)))


def digest(schema: Schema, buffer: Buffer, hash_name: str) -> str:
    """The digest of a model in one thread; a learning node hashes leaves as they come in instead."""
    assert memoryview(buffer).nbytes == schema.nbytes, (memoryview(buffer).nbytes, schema.nbytes)
    return digest_of_leaves(schema, leaf_hashes(buffer, hash_name), hash_name)


def with_state(model: str, state: str, hash_name: str) -> str:
    """The digest of a base that is a model and its momentum, from the digests of both."""
    return _text(hash_name, hash_function(hash_name)(f"swarm/base/1\0{model}\0{state}".encode()))


def _text(hash_name: str, value: bytes) -> str:
    return f"{hash_name}:{value.hex()}"
