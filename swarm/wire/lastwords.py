"""Last words: a process's signed word that it stops, on its way to who leads, by whichever network nodes pass it on.

Said by `nodes/sl`, passed on and read by `nodes/sn_life`. Guarantees: whom the words name has said them, with its node
key, of this start of its process in this network; so nobody who passes words on can make another node lost, and words
that are said again mean no later start.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.names import uid_of
from swarm.errors import BadInput, IdentityError
from swarm.wire.nodekeys import has_signed

_DOMAIN = b"swarm/going/1\0"
_KEY, _INCARNATION, _SIGNATURE = 32, 16, 64


def last_words(node_key: Ed25519PrivateKey, network_id: bytes, incarnation: bytes) -> bytes:
    """``network_id``: 32 bytes, ``incarnation``: 16."""
    said = node_key.public_key().public_bytes_raw() + incarnation
    return said + node_key.sign(_DOMAIN + network_id + said)


def who_goes(words: Any, network_id: bytes) -> tuple[str, bytes]:
    """The uid and the incarnation of who said these words. Raises BadInput for other bytes, IdentityError when nobody
    can be held to them."""
    if not isinstance(words, bytes) or len(words) != _KEY + _INCARNATION + _SIGNATURE:
        raise BadInput("last words that cannot be read: their bytes are damaged, or of another version")
    said, signature = words[:-_SIGNATURE], words[-_SIGNATURE:]
    uid = uid_of(said[:_KEY])
    if not has_signed(said[:_KEY], signature, _DOMAIN + network_id + said):
        raise IdentityError(f"the last words of {uid} are not signed with its node key")
    return uid, said[_KEY:]
