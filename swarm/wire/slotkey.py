"""The key of a participant's slot: made of a secret that never leaves its host, proved whenever the slot is joined.

Used by who joins (`nodes/participant`) and by `wire/signed`. Guarantees: the same secret gives the same key for the
same task of the same network, and another one for any other; the ledger holds the public half only, of which a weak
secret costs its finder a scrypt for each guess (RFC 7914, N = 2^14, r = 8, p = 1); a proof is good for one process and
its one start.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from swarm.wire.nodekeys import has_signed

DOMAIN = "swarm/slot/1"
_COST = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}


@dataclass(frozen=True, slots=True)
class Place:
    """Who joins which role of which task; ``task`` is its name."""

    network_id: bytes
    task: str
    role: str
    uid: str
    incarnation: bytes


@dataclass(frozen=True, slots=True)
class SlotKey:
    _private: Ed25519PrivateKey

    @classmethod
    def of(cls, secret: bytes, network_id: bytes, task: str) -> SlotKey:
        salt: bytes = msgpack.packb([DOMAIN, network_id, task])
        return cls(Ed25519PrivateKey.from_private_bytes(hashlib.scrypt(secret, salt=salt, **_COST)))

    @property
    def public(self) -> bytes:
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def prove(self, place: Place) -> bytes:
        return self._private.sign(_statement(place))


def holds(public: bytes, place: Place, proof: bytes) -> bool:
    return has_signed(public, proof, _statement(place))


def _statement(place: Place) -> bytes:
    packed: bytes = msgpack.packb([DOMAIN, *astuple(place)])
    return packed
