"""Node keys: whether the process that holds one has signed something.

Used by everything in `wire` that is signed with a node key: proposals, heads, snapshots, shards, and the handshake.
Guarantee: whatever bytes come as key or signature, the answer is yes or no.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def has_signed(node_key: bytes, signature: bytes, data: bytes) -> bool:
    """``node_key`` is the public key's 32 bytes."""
    try:
        _public(node_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=256)
def _public(node_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(node_key)
