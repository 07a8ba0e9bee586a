"""Names: who a participant is, and the texts that stand for a node key.

Used by every room. Guarantees: an `Identity` that exists is well formed; the same key always gives the same PeerId and
the same UID, on every machine, without libp2p.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from swarm.errors import BadInput

ROLES = ("sn", "sl", "swop", "swci")
METRIC_MAX = 200
"""Characters in the name of a metric that a job logs."""

_NAME = re.compile(r"(?!\.{1,2}$)[a-z0-9._-]{1,64}")  # a name may name a directory: no . and ..
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# libp2p: protobuf PublicKey{type: Ed25519, data: 32 bytes}, then the identity multihash of these 36 bytes.
_ED25519_PROTOBUF = bytes.fromhex("08011220")
_IDENTITY_MULTIHASH = bytes.fromhex("0024")


def parse_name(text: str) -> str:
    """The name in its one spelling: lower case; raises BadInput for anything that is no name."""
    name = text.lower()
    if not text.isascii() or not _NAME.fullmatch(name):  # the Kelvin sign, too, lowers to a k
        raise BadInput(
            f"{text[:80]!r} is not a name: expected 1 to 64 of the characters a-z 0-9 . _ -",
            hint="letters are written in lower case; spaces, slashes and umlauts are not possible",
        )
    return name


@dataclass(frozen=True, slots=True)
class Identity:
    """Organisation, role and name, as a certificate proves them.

    Two identities are the same when their anchor (SHA-256 of the public key of the organisation's CA), role and name
    are: the organisation's printed name is for people.
    """

    organisation: str
    anchor: bytes
    role: str
    name: str

    def __post_init__(self) -> None:
        assert self.role in ROLES, self.role
        assert len(self.anchor) == 32, len(self.anchor)

    def same_as(self, other: Identity) -> bool:
        return (self.anchor, self.role, self.name) == (other.anchor, other.role, other.name)

    def __str__(self) -> str:
        return f"swarm://{self.organisation}/{self.role}/{self.name}"


def peer_id(node_public_key: bytes) -> str:
    """The libp2p PeerId of an Ed25519 public key (32 bytes), as text."""
    assert len(node_public_key) == 32, len(node_public_key)
    return _base58(_IDENTITY_MULTIHASH + _ED25519_PROTOBUF + node_public_key)


def uid_of(node_public_key: bytes) -> str:
    """The UID of a node: the UUIDv5 of its PeerId."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"swarm:{peer_id(node_public_key)}"))


def told_apart(printed: Mapping[str, str]) -> dict[str, str]:
    """By uid, how each is printed: with the beginning of its uid where two would read alike, as of one certificate."""
    alike = Counter(printed.values())
    return {uid: f"{text} {uid[:8]}" if alike[text] > 1 else text for uid, text in printed.items()}


def _base58(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return _BASE58[0] * (len(data) - len(data.lstrip(b"\0"))) + digits
