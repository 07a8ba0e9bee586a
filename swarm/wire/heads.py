"""Signed heads: a network node's word for how far its ledger goes, and the proof when two words cannot both be true.

Exchanged by ``nodes/sn_heads`` whenever two network nodes link up, and every few seconds. A head speaks of committed
entries only, so within one epoch two different ones at one index show two histories, whoever made them. Guarantees:
what ``read_head`` yields was signed by the node key of the uid that it names; ``Evidence`` holds up before anybody who
knows the two keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.kinds import COUNT_MAX
from swarm.core.names import uid_of
from swarm.errors import BadInput, IdentityError
from swarm.wire.nodekeys import has_signed

VERSION = 1
HEAD_MAX = 512
_DOMAIN = b"swarm/head/1\0"


@dataclass(frozen=True, slots=True)
class Head:
    """``node_key`` says: the committed entry ``index`` of this network is ``hash``, and ``epoch`` the epoch there."""

    network_id: bytes
    node_key: bytes
    epoch: int
    index: int
    hash: bytes
    raw: bytes

    @property
    def uid(self) -> str:
        return uid_of(self.node_key)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two heads that cannot both be true."""

    one: Head
    other: Head

    @property
    def name(self) -> str:
        """Of the file to keep it in."""
        return f"{self.one.index}-{self.one.uid}-{self.other.uid}"

    @property
    def signers(self) -> frozenset[str]:
        return frozenset({self.one.uid, self.other.uid})

    def raw(self) -> bytes:
        return bytes(msgpack.packb([self.one.raw, self.other.raw], use_bin_type=True))

    def __str__(self) -> str:
        return (
            f"entry {self.one.index} of epoch {self.one.epoch} is {self.one.hash.hex()[:16]} by the word of "
            f"{self.one.uid}, and {self.other.hash.hex()[:16]} by that of {self.other.uid}"
        )


def sign_head(node_key: Ed25519PrivateKey, *, network_id: bytes, epoch: int, index: int, hash: bytes) -> bytes:
    public = node_key.public_key().public_bytes_raw()
    said = _pack([VERSION, network_id, public, epoch, index, hash])
    return _pack([said, node_key.sign(_DOMAIN + said)])


def read_head(raw: Any, network_id: bytes) -> Head:
    """The head that these bytes are. Raises BadInput for other bytes, IdentityError when nobody can be held to them."""
    match _unpack(raw):
        case [bytes(said), bytes(signature)]:
            head = _said(said, raw)
        case _:
            raise _malformed()
    if not has_signed(head.node_key, signature, _DOMAIN + said):
        raise IdentityError(f"the head of {head.uid} at entry {head.index} is not signed with its node key")
    if head.network_id != network_id:
        raise BadInput(
            f"a head of network {head.network_id.hex()[:16]}, this node belongs to network {network_id.hex()[:16]}"
        )
    return head


def contradiction(one: Head, other: Head) -> Evidence | None:
    """The proof that somebody shows two histories, if these two are one."""
    same_place = (one.network_id, one.epoch, one.index) == (other.network_id, other.epoch, other.index)
    return Evidence(one, other) if same_place and one.hash != other.hash else None


def read_evidence(raw: bytes, network_id: bytes) -> Evidence:
    """What a file of evidence shows; raises SwarmError when it shows nothing."""
    match _unpack(raw):
        case [bytes(one), bytes(other)]:
            found = contradiction(read_head(one, network_id), read_head(other, network_id))
            if found is not None:
                return found
    raise BadInput("these two heads contradict each other in nothing")


def _said(said: bytes, raw: bytes) -> Head:
    match _unpack(said):
        case [int(version), *_] if version != VERSION:
            raise BadInput(f"a head of version {version}, this node knows {VERSION}", hint="upgrade the older node")
        case [int(), bytes(network), bytes(key), int(epoch), int(index), bytes(digest)]:
            sizes = (len(network), len(key), len(digest)) == (32, 32, 32)
            if sizes and 0 <= epoch < COUNT_MAX and 0 < index < COUNT_MAX:
                return Head(network, key, epoch, index, digest, raw)
    raise _malformed()


def _unpack(raw: Any) -> Any:
    if not isinstance(raw, bytes) or len(raw) > 2 * HEAD_MAX:
        raise _malformed()
    try:
        return msgpack.unpackb(raw, raw=False, strict_map_key=True)
    except Exception:  # msgpack's own errors share no base class with its UnicodeDecodeError
        raise _malformed() from None


def _pack(obj: Any) -> bytes:
    return bytes(msgpack.packb(obj, use_bin_type=True))


def _malformed() -> BadInput:
    return BadInput("a signed head that cannot be read: its bytes are damaged, or of another version")
