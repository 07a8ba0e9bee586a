"""The binding of a node key to a certificate: Hello and Proof, inside a finished TLS channel.

Driven by `runtime.tls` over any transport. Pure: nonce and keys are handed in, bytes go in and out. Guarantees: who is
`bound` holds the node key it claims, in this very conversation, from the other side of it, under the certificate that
TLS has seen; it belongs to the same network; it is another process than this one. Nothing that was recorded elsewhere
or comes from this side passes. A refusal is told to the other side before the connection ends; a listener that refuses
whom it knows by its hello signs that, else it is ``unproved``: anybody's word who answers at the address.

    dialler  ── hello ─────────▶  listener
             ◀── hello, proof ──
             ── proof ─────────▶            the dialler is connected once it has read the listener's proof
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from swarm.core import names
from swarm.core.fields import FIRST_RULES
from swarm.core.rules import KNOWN
from swarm.errors import BadInput, IdentityError, SwarmError, Unreachable, from_wire
from swarm.wire import frame
from swarm.wire.certnames import printable
from swarm.wire.nodekeys import has_signed

VERSION = 1
FRAME_MAX = 4096
NONCE_BYTES = 32

_DOMAIN = b"swarm/bind/1"
_LENGTHS = {"node_key": 32, "incarnation": 16, "nonce": NONCE_BYTES}


@dataclass(frozen=True, slots=True)
class Hello:
    """What one side says of itself."""

    network_id: bytes
    node_key: bytes
    uid: str
    incarnation: bytes
    nonce: bytes
    rules: int
    """The newest version of the ledger's rules that it knows."""
    raw: bytes


@dataclass(frozen=True, slots=True)
class Side:
    """What this side brings into the conversation."""

    node_key: Ed25519PrivateKey
    incarnation: bytes
    network_id: bytes
    nonce: bytes
    leaf: bytes
    rules: int = KNOWN


class NoNetworkYet(Unreachable):
    """One side has not reached its network yet: nothing is wrong with anybody, and another try may succeed."""


class OtherNetwork(IdentityError):
    """Each side belongs to a network of its own."""


class Binding:
    """Feed it what `need` asks for, send what `outgoing` returns, until `bound` is the other side's Hello.

    `expected` pins the other side's UID or PeerId. `check` may refuse its Hello by an error; it runs before this side
    proves anything.
    """

    def __init__(
        self,
        own: Side,
        *,
        dialler: bool,
        peer_leaf: bytes,
        peer_name: str,
        expected: str | None = None,
        check: Callable[[Hello], None] = lambda hello: None,
    ) -> None:
        self.bound: Hello | None = None
        self.network_id = own.network_id
        self._own, self._dialler = own, dialler
        self._leaves = (own.leaf, peer_leaf) if dialler else (peer_leaf, own.leaf)
        self._peer_name, self._expected, self._check = peer_name, expected, check
        self._hello = _own_hello(own)
        self._peer: Hello | None = None
        self._outgoing = bytearray()
        self._body: int | None = None
        if dialler:
            self._send(["hello", self._hello.raw])

    @property
    def need(self) -> int:
        """How many bytes the next `feed` takes; nothing beyond them belongs to the handshake."""
        return frame.HEADER.size if self._body is None else self._body

    def outgoing(self) -> bytes:
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def feed(self, data: bytes) -> None:
        assert len(data) == self.need, (len(data), self.need)
        try:
            if self._body is None:
                self._body = frame.body_length(data, FRAME_MAX)
                return
            self._body = None
            message = frame.unpack_body(data)
        except BadInput as error:
            raise IdentityError(f"{self._peer_name} does not follow the handshake: {error.message}") from None
        self._take(message)

    def _take(self, message: Any) -> None:
        match message:
            case ["hello", bytes(raw)] if self._peer is None:
                self._greeted(raw)
            case ["proof", bytes(signature)] if self._peer is not None:
                self._proved(self._peer, signature)
            case ["refused", dict(fields)]:
                raise self._refused_by_peer(fields)
            case _:
                raise IdentityError(f"{self._peer_name} sent something else than the next step of the handshake")

    def _send(self, message: list[Any]) -> None:
        self._outgoing += frame.pack(message, FRAME_MAX)

    # ---- Hello

    def _greeted(self, raw: bytes) -> None:
        hello = _decode_hello(raw, self._peer_name)
        if hello.node_key == self._hello.node_key:
            raise IdentityError(
                f"{self._peer_name} came with this node's own key: a connection to itself, or its messages reflected",
                hint="give each process a state directory of its own; a copied directory is no second node",
            )
        if hello.nonce == self._hello.nonce:
            raise IdentityError(f"{self._peer_name} sent this node's own nonce back: its messages were reflected")
        if hello.uid != names.uid_of(hello.node_key):
            raise IdentityError(f"{self._peer_name} claims uid {printable(hello.uid)}, not that of its node key")
        if self._expected not in (None, hello.uid, names.peer_id(hello.node_key)):
            raise IdentityError(
                f"{self._peer_name} is node {names.peer_id(hello.node_key)} (uid {hello.uid}), "
                f"expected {self._expected}",
                hint="another process answers at this address now",
            )
        self.network_id = self._agree(hello.network_id)
        self._peer = hello
        if not self._dialler:
            self._send(["hello", self._hello.raw])
        self._check(hello)
        if not self._dialler:
            self._send(["proof", self._own.node_key.sign(self._transcript("listener"))])

    def _agree(self, theirs: bytes) -> bytes:
        own = self._own.network_id
        if not own and not theirs:
            raise NoNetworkYet(
                f"neither this node nor {self._peer_name} belongs to a network yet",
                hint="one node starts as --sentinel and founds the network; the others contact it first",
            )
        if not own and not self._dialler:
            raise NoNetworkYet(
                f"this node belongs to no network yet and cannot take that of {self._peer_name}, who called it",
                hint="wait until it has reached its sentinel",
            )
        if not theirs and self._dialler:
            raise NoNetworkYet(
                f"{self._peer_name} belongs to no network yet", hint="wait until it has reached its sentinel"
            )
        if own and theirs and own != theirs:
            raise OtherNetwork(
                f"{self._peer_name} belongs to network {theirs.hex()[:16]}, this node to {own.hex()[:16]}",
                hint="a state directory belongs to one network: use another --state DIR for another network",
            )
        return own or theirs

    # ---- Proof

    def _proved(self, peer: Hello, signature: bytes) -> None:
        signed = self._transcript("listener" if self._dialler else "dialler")
        if not has_signed(peer.node_key, signature, signed):
            raise IdentityError(
                f"{self._peer_name} did not prove that it holds its node key in this conversation "
                "(a false, replayed or reflected proof)"
            )
        if self._dialler:
            self._send(["proof", self._own.node_key.sign(self._transcript("dialler"))])
        self.bound = peer

    def _transcript(self, side: str) -> bytes:
        assert self._peer is not None, "nothing is signed before both hellos are known"
        hellos = (self._hello, self._peer) if self._dialler else (self._peer, self._hello)
        parts = [hello.raw for hello in hellos] + list(self._leaves)
        return _DOMAIN + side.encode() + b"".join(hashlib.sha256(part).digest() for part in parts)

    # ---- refusals

    def refusal(self, error: SwarmError) -> bytes:
        """What the other side is told before the connection ends, behind what was to be sent to it."""
        fields = _told(error)
        if not self._dialler and self._peer is not None:
            fields["signature"] = self._own.node_key.sign(self._signed_refusal(fields))
        return self.outgoing() + frame.pack(["refused", fields], FRAME_MAX)

    def _signed_refusal(self, fields: dict[str, Any]) -> bytes:
        said: bytes = msgpack.packb({name: each for name, each in fields.items() if name != "signature"})
        return self._transcript("refusal") + hashlib.sha256(said).digest()

    def _refused_by_peer(self, fields: dict[Any, Any]) -> SwarmError:
        try:
            fields = {str(key): value for key, value in fields.items()}
            error = from_wire(fields)
        except (TypeError, ValueError):
            return IdentityError(f"{self._peer_name} refused this node without a reason")
        said = printable(error.message, 600)
        error = error.retold(f"{self._peer_name} refused this node: {said}", hint=printable(error.hint, 600))
        if isinstance(error, IdentityError):
            error.unproved = not self._has_signed(fields)
            error.said_by = self._peer.uid if self._peer is not None and not error.unproved else ""
        return error

    def _has_signed(self, fields: dict[str, Any]) -> bool:
        match fields.get("signature"):
            case bytes(signature) if self._peer is not None and self._dialler:
                return has_signed(self._peer.node_key, signature, self._signed_refusal(fields))
        return False


def refusal(error: SwarmError) -> bytes:
    """The same of who has not come to the binding."""
    return frame.pack(["refused", _told(error)], FRAME_MAX)


def _told(error: SwarmError) -> dict[str, Any]:
    return {**error.to_wire(), "message": error.message[:1000], "hint": error.hint[:1000]}


def _own_hello(own: Side) -> Hello:
    public = own.node_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    fields = {
        "version": VERSION,
        "network_id": own.network_id,
        "node_key": public,
        "uid": names.uid_of(public),
        "incarnation": own.incarnation,
        "nonce": own.nonce,
        "rules": own.rules,
    }
    raw: bytes = msgpack.packb(fields, use_bin_type=True)
    return Hello(own.network_id, public, str(fields["uid"]), own.incarnation, own.nonce, own.rules, raw)


def _decode_hello(raw: bytes, peer_name: str) -> Hello:
    try:
        fields = frame.unpack_body(raw)
    except BadInput:
        fields = None
    malformed = IdentityError(f"{peer_name} sent a malformed hello")
    if not isinstance(fields, dict):
        raise malformed
    version = fields.get("version")
    if version != VERSION:
        raise IdentityError(
            f"{peer_name} speaks protocol {printable(str(version))}, this node speaks protocol {VERSION}",
            hint="run the same release on both, or the one before on one of them",
        )
    network_id, uid, rules = fields.get("network_id"), fields.get("uid"), fields.get("rules", FIRST_RULES)
    if not isinstance(network_id, bytes) or len(network_id) not in (0, 32) or not isinstance(uid, str):
        raise malformed
    if type(rules) is not int or rules < FIRST_RULES:
        raise malformed
    for name, length in _LENGTHS.items():
        value = fields.get(name)
        if not isinstance(value, bytes) or len(value) != length:
            raise malformed
    return Hello(network_id, fields["node_key"], uid, fields["incarnation"], fields["nonce"], rules, raw)
