"""Two processes that hold one node key: the word of the one that it runs while the other one does.

Said by network nodes to whoever has met the other one (`nodes/sn_twins`), and shown by that to the other one.
Guarantee: a word against an incarnation was said, with its own node key, by another incarnation, after that one had
begun: before, nobody knew the random bytes in it. So what ends a process for running twice is nobody else's word.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.wire.nodekeys import has_signed

_DOMAIN = b"swarm/twin/1\0"
INCARNATION = 16
_SIGNATURE = 64


def twin_word(node_key: Ed25519PrivateKey, network_id: bytes, incarnation: bytes, other: bytes) -> bytes:
    """Of ``incarnation``: that it runs, and has been told of ``other``."""
    return incarnation + node_key.sign(_DOMAIN + network_id + incarnation + other)


def speaks_against(word: Any, node_key: bytes, network_id: bytes, incarnation: bytes) -> bool:
    """Whether another process with this node key said that it runs, after ``incarnation`` had begun."""
    if not isinstance(word, bytes) or len(word) != INCARNATION + _SIGNATURE or word[:INCARNATION] == incarnation:
        return False
    return has_signed(node_key, word[INCARNATION:], _DOMAIN + network_id + word[:INCARNATION] + incarnation)
