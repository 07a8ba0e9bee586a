"""A model's digest, and that of a base with its momentum, with all cores of this machine.

Used by learning nodes for what lies in memory as a whole (their own weights, a fetched model); what arrives in pieces
is hashed by the exchange as it comes. Guarantee: the digest of `wire.tensorbytes`.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from swarm.core.tensors import LEAF_BYTES, Schema
from swarm.wire import tensorbytes

STRIDE = 64 * LEAF_BYTES


def digest(schema: Schema, buffer: memoryview, hash_name: str) -> str:
    return tensorbytes.digest_of_leaves(schema, leaf_hashes(schema, buffer, hash_name), hash_name)


def base_digest(schema: Schema, state: Schema | None, whole: memoryview, hash_name: str) -> str:
    """Of a committed base: the model, and behind it its momentum if the contract has one."""
    model = digest(schema, whole[: schema.nbytes], hash_name)
    if state is None:
        return model
    return tensorbytes.with_state(model, digest(state, whole[schema.nbytes :], hash_name), hash_name)


def leaf_hashes(schema: Schema, buffer: memoryview, hash_name: str) -> bytes:
    assert buffer.nbytes == schema.nbytes, (buffer.nbytes, schema.nbytes)
    view = buffer.cast("B")
    strides = [view[at : at + STRIDE] for at in range(0, schema.nbytes, STRIDE)]
    if len(strides) == 1:
        return tensorbytes.leaf_hashes(view, hash_name)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return b"".join(pool.map(lambda stride: tensorbytes.leaf_hashes(stride, hash_name), strides))
