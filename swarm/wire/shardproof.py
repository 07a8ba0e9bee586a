"""Shard proofs: an owner's signature under the digest of the shard it merged.

Made and checked by the exchange of a round. Guarantee: a proof speaks for one shard of one snap, which is named by its
entry besides contract, round and attempt, in one network; two of them for the same shard with different digests convict
their signer, who merges the same bytes whenever it merges that snap.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.wire.nodekeys import has_signed
from swarm.wire.tensorbytes import Buffer, hash_function

DOMAIN = "swarm/shard/2"


@dataclass(frozen=True, slots=True)
class ShardPlace:
    """Which shard is spoken of; ``snap`` is the hash of the snap's entry, ``index`` the place in its list of shards."""

    network_id: bytes
    contract: str
    round: int
    attempt: int
    snap: bytes
    index: int


def shard_digest(leaf_hashes: Buffer, hash_name: str) -> bytes:
    """The digest of a shard whose leaves have these hashes."""
    return hash_function(hash_name)(leaf_hashes)


def sign(node_key: Ed25519PrivateKey, place: ShardPlace, digest: bytes) -> bytes:
    return node_key.sign(_statement(place, digest))


def verify(node_public: bytes, place: ShardPlace, digest: bytes, proof: bytes) -> bool:
    return has_signed(node_public, proof, _statement(place, digest))


def _statement(place: ShardPlace, digest: bytes) -> bytes:
    packed: bytes = msgpack.packb([DOMAIN, *astuple(place), digest])
    return packed
