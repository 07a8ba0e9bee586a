"""A model's digest, and that of a base with its momentum, with all cores of this machine.

Used by learning nodes for what lies in memory as a whole (their own weights, a fetched model); what arrives in pieces
is hashed by the exchange as it comes. Guarantee: the digest of `wire.tensorbytes`.
"""

from __future__ import annotations

from swarm.core.tensors import Schema
from swarm.runtime.cores import by_pieces
from swarm.wire import tensorbytes


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
    return b"".join(by_pieces(view.nbytes, lambda start, stop: tensorbytes.leaf_hashes(view[start:stop], hash_name)))
