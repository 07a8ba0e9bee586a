"""Signatures under a snapshot: a voter's word that its own ledger is in this very state after this entry.

Made by network nodes for each other, checked by whoever installs a snapshot and by the audit. Guarantees: a signature
counts for a node only if its node key made it, and a uid names one node key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.ledger import Ledger
from swarm.core.names import uid_of
from swarm.core.snapshot import Point
from swarm.wire.nodekeys import has_signed

_DOMAIN = b"swarm/snapshot/1\0"


def sign_point(node_key: Ed25519PrivateKey, network_id: bytes, point: Point) -> bytes:
    return node_key.sign(_signed(network_id, point))


def signs_point(node_key: bytes, signature: bytes, network_id: bytes, point: Point) -> bool:
    return has_signed(node_key, signature, _signed(network_id, point))


def signers(ledger: Ledger, point: Point, signatures: Mapping[str, bytes]) -> tuple[str, ...]:
    """Whose signatures are good, among the nodes of this ledger. It may be one that somebody sent: what it says a key
    to be is that of the uid only if the uid is made of it, and it may be anything."""
    keys = {uid: ledger.nodes[uid].node_key for uid in sorted(signatures) if uid in ledger.nodes}
    return tuple(
        uid
        for uid, key in keys.items()
        if isinstance(key, bytes) and uid_of(key) == uid and signs_point(key, signatures[uid], ledger.network_id, point)
    )


def vouched(own: Ledger, theirs: Ledger, begun: tuple[str, ...], point: Point, signatures: Mapping[str, bytes]) -> bool:
    """Whether a majority of the voters that the own ledger has, and has admitted, signed it; or of those that decide in
    a later epoch, by a recovery that was judged (``begun``; else empty), who may have come after the own ledger ends:
    their keys are in the state itself. Who has a ledger takes no state that only others signed, whom nothing but the
    state brings; who has none yet believes those that it was told to join."""
    if begun:
        return is_majority(signers(theirs, point, signatures), begun)
    return is_majority(set(signers(own, point, signatures)) & {uid for uid, _ in own.sns()}, own.voters)


def is_majority(signed: Iterable[str], voters: tuple[str, ...]) -> bool:
    return len(set(signed) & set(voters)) > len(voters) // 2


def _signed(network_id: bytes, point: Point) -> bytes:
    return _DOMAIN + bytes(msgpack.packb([network_id, *point], use_bin_type=True))
