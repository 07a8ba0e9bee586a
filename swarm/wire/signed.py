"""Proposals and entries as bytes: signed by their author, chained by the leader; verified before they are decoded.

Used by whoever proposes (`sign_proposal`), by the leader (`make_entry`) and by every node that applies (`decode_entry`,
`verify`). Guarantees: a body is decoded only after the signature over its raw bytes has been checked with the key that
the ledger knows for the author (or, where an author introduces itself, with the keys that its header brings); what
`verify` says is a function of (entry, ledger) alone; decoders yield plain data and take at most `PROPOSAL_MAX` bytes.

    proposal = [header, payload, node signature, certificate signature]
    header   = [1, network_id, uid, incarnation, seq, kind, node_key, chain]     the last two only in introductions
    payload  = the body, without what the header says
    signed   = "swarm/proposal/1" 0 | u32 length of header | header | payload    by both keys in introductions
    entry    = [1, index, term, time, prev_hash, proposal], canonical; hash = SHA-256("swarm/entry/1" 0 | entry)

Introductions are Genesis, NodeJoined and ForcedRecovery. All is msgpack; a Blank entry has an empty proposal.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NoReturn

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.claims import Anchored, Blank, Claim, EntryHeader, Unverified, Verified
from swarm.core.kinds import COUNT_MAX, INTRODUCTIONS, check_body
from swarm.core.ledger import Ledger
from swarm.core.names import Identity, uid_of
from swarm.errors import BadInput, IdentityError, SwarmError
from swarm.wire import certs, frame, shardproof, slotkey
from swarm.wire.nodekeys import has_signed
from swarm.wire.shardproof import ShardPlace

VERSION = 1
PROPOSAL_MAX = 256 * 1024
ENTRY_MAX = PROPOSAL_MAX + 256
TIME_MAX = 253_402_300_800_000
"""The year 10000, in ms."""
REMEMBERED_BYTES = 4096
"""Longer proposals are opened and checked each time: they are rare, and would fill the memory."""
HASH_BYTES = 32

_PROPOSAL_DOMAIN = b"swarm/proposal/1\0"
_ENTRY_DOMAIN = b"swarm/entry/1\0"

_holds = lru_cache(maxsize=2048)(has_signed)
"""Remembered, since a leader looks at a proposal when it comes and again when it is committed."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is read of a proposal before its signature: whose key to check it with, and which one it claims to be."""

    network_id: bytes
    uid: str
    incarnation: bytes
    seq: int
    kind: str
    node_key: bytes
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    network_id: bytes
    uid: str
    incarnation: bytes
    seq: int
    kind: str
    body: dict[str, Any]
    raw: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    index: int
    term: int
    time: int
    prev_hash: bytes
    proposal: bytes
    raw: bytes
    hash: bytes

    @property
    def header(self) -> EntryHeader:
        return EntryHeader(self.index, self.term, self.time, self.prev_hash, self.hash)


@dataclass(frozen=True, slots=True)
class _Envelope:
    header: Header
    payload: bytes
    signed: bytes
    node_signature: bytes
    certificate_signature: bytes


# ---- proposals


def sign_proposal(
    node_key: Ed25519PrivateKey,
    *,
    network_id: bytes,
    uid: str,
    incarnation: bytes,
    seq: int,
    kind: str,
    body: dict[str, Any],
    certificate_key: certs.CertificateKey | None = None,
) -> bytes:
    """A proposal's bytes. ``certificate_key`` signs too where the author introduces itself."""
    check_body(kind, body)
    introduces = kind in INTRODUCTIONS
    assert introduces == (certificate_key is not None), f"{kind} and the certificate's key"
    joined = _joined(kind, body) if introduces else {}
    assert not introduces or joined["incarnation"] == incarnation
    header = _pack(
        [VERSION, network_id, uid, incarnation, seq, kind, joined.get("node_key", b""), list(joined.get("chain", []))]
    )
    payload = _pack(_without_introduction(kind, body))
    signed = _signed(header, payload)
    certificate_signature = certs.cert_sign(certificate_key, signed) if certificate_key is not None else b""
    raw = _pack([header, payload, node_key.sign(signed), certificate_signature])
    if len(raw) > PROPOSAL_MAX:
        raise BadInput(f"the {kind} proposal has {len(raw)} bytes, at most {PROPOSAL_MAX} are accepted")
    return raw


def decode_proposal(raw: bytes) -> Proposal:
    """What a proposal says, whoever says it: for display and for tests. Nothing may be done on its word."""
    envelope = _open(raw)
    head = envelope.header
    return Proposal(head.network_id, head.uid, head.incarnation, head.seq, head.kind, _body(envelope), raw)


def proposal_header(raw: bytes) -> Header:
    """Author, incarnation and seq that a proposal claims: to look its outcome up. Raises BadInput."""
    return _open(raw).header


# ---- entries


def make_entry(index: int, term: int, time: int, prev_hash: bytes, proposal: bytes) -> Entry:
    raw = _pack([VERSION, index, term, time, prev_hash, proposal])
    return Entry(index, term, time, prev_hash, proposal, raw, hashlib.sha256(_ENTRY_DOMAIN + raw).digest())


def decode_entry(raw: bytes) -> Entry:
    """An entry from its bytes; raises BadInput unless they are its one spelling."""
    match _unpack(raw, "an entry", ENTRY_MAX):
        case [int(version), int(index), int(term), int(time), bytes(prev_hash), bytes(proposal)]:
            if version != VERSION:
                raise BadInput(f"an entry of version {version}, this node knows {VERSION}", hint="upgrade this node")
            if not (0 < index < COUNT_MAX and 0 <= term < COUNT_MAX and 0 <= time < TIME_MAX):
                raise BadInput("an entry with an index, term or time out of range")
            if len(prev_hash) != HASH_BYTES or len(proposal) > PROPOSAL_MAX:
                raise BadInput(f"an entry with a field of the wrong size at index {index}")
            entry = make_entry(index, term, time, prev_hash, proposal)
            if entry.raw != raw:
                raise BadInput(f"the entry at index {index} is not in its canonical form")
            return entry
    raise _malformed("an entry")


# ---- who says so


def verify(entry: Entry, ledger: Ledger) -> Claim:
    """Whose proposal the entry holds, by the keys and anchors that the ledger has before it."""
    return verify_proposal(entry.proposal, ledger, entry.time)


def verify_proposal(raw: bytes, ledger: Ledger, time_ms: int) -> Claim:
    """The same for a proposal that is not yet an entry: a leader refuses bad ones before they cost space."""
    if not raw:
        return Blank()
    try:
        envelope = _open(raw)
        if envelope.header.kind in INTRODUCTIONS:
            return _verify_introduction(envelope, ledger, time_ms)
        return _verify_known(envelope, ledger)
    except SwarmError as error:
        return Unverified(error.message, error.hint, error.code)


def _verify_known(envelope: _Envelope, ledger: Ledger) -> Verified:
    head = envelope.header
    node = ledger.nodes.get(head.uid)
    if node is None:
        raise IdentityError(f"{head.uid} proposes {head.kind} and has not joined this network")
    if head.node_key or head.chain or envelope.certificate_signature:
        raise IdentityError(f"this {head.kind} introduces its author {node.identity} again")
    _check_node_signature(envelope, node.node_key)
    body = _body(envelope)
    anchors = _anchored([body["ca"]]) if head.kind == "OrganisationAdmitted" and _fits(head.kind, body, ledger) else ()
    if head.kind == "Evidence" and _fits(head.kind, body, ledger):
        _check_proofs(head.network_id, body, ledger)
    if head.kind == "SlotJoined" and _fits(head.kind, body, ledger):
        place = slotkey.Place(head.network_id, body["task"], body["role"], head.uid, head.incarnation)
        if not slotkey.holds(body["key"], place, body["proof"]):
            raise IdentityError(f"this SlotJoined names a key that its author, {node.identity}, does not hold")
    return _verified(envelope, body, anchors=anchors)


def _check_proofs(network_id: bytes, body: dict[str, Any], ledger: Ledger) -> None:
    """What an Evidence shows was signed by the owner that it names: whoever shows it is believed nothing else."""
    owner = ledger.nodes.get(body["uid"])
    place = ShardPlace(network_id, body["contract"], body["round"], body["attempt"], body["snap"], body["shard"])
    for shown in (body[name] for name in ("first", "second") if name in body):
        if owner is None or not shardproof.verify(owner.node_key, place, shown["digest"], shown["signature"]):
            raise IdentityError(
                f"this Evidence shows a shard that {owner.identity if owner else body['uid']} never signed"
            )


def introduced(raw: bytes, ledger: Ledger) -> Proposal:
    """What an introduction says whose signatures are good, by the key and the certificate that it brings itself: of
    which organisation that is, and whether the ledger knows it, is not judged. Raises SwarmError."""
    envelope = _open(raw)
    head = envelope.header
    if head.kind not in INTRODUCTIONS:
        raise BadInput(f"a {head.kind} introduces nobody")
    body = _introduced(envelope, ledger)
    return Proposal(head.network_id, head.uid, head.incarnation, head.seq, head.kind, body, raw)


def _introduced(envelope: _Envelope, ledger: Ledger) -> dict[str, Any]:
    head = envelope.header
    if not head.chain or len(head.node_key) != 32 or uid_of(head.node_key) != head.uid:
        raise IdentityError(f"this {head.kind} lacks the certificate or the node key of {head.uid}, which it names")
    _check_node_signature(envelope, head.node_key)
    if not certs.cert_verify(head.chain[0], envelope.signed, envelope.certificate_signature):
        who = certs.describe(head.chain[0])
        raise IdentityError(f"this {head.kind} is not signed with the key of the certificate {who} that it brings")
    body = _body(envelope)
    check_body(head.kind, body, ledger.rules.judging(head.kind, body))
    return body


def _verify_introduction(envelope: _Envelope, ledger: Ledger, time_ms: int) -> Verified:
    head, body = envelope.header, _introduced(envelope, ledger)
    brought = _anchored(body["anchors"]) if head.kind == "Genesis" else ()
    anchors = brought or tuple(ledger.anchors.values())
    identity = _judge(head.chain, tuple(anchor.certificate for anchor in anchors), time_ms)
    return _verified(envelope, body, identity=identity, node_key=head.node_key, anchors=brought)


def _judge(chain: tuple[bytes, ...], anchors: tuple[bytes, ...], time_ms: int) -> Identity:
    try:
        return certs.judge(chain, _parsed(anchors), (), datetime.fromtimestamp(time_ms / 1000, UTC))
    except certs.UnknownAnchor as error:
        raise IdentityError(
            f"{certs.describe(chain[0])} belongs to no organisation that this network has admitted",
            hint="a SWCI of the sentinel's organisation admits it: swarm org admit CA.pem",
        ) from error


@lru_cache(maxsize=16)
def _parsed(ders: tuple[bytes, ...]) -> tuple[certs.Anchor, ...]:
    return tuple(certs.anchors_from_der(ders))


def _anchored(ders: list[bytes]) -> tuple[Anchored, ...]:
    return tuple(Anchored(anchor.certificate, anchor.spki_sha256, anchor.name) for anchor in _parsed(tuple(ders)))


def _fits(kind: str, body: dict[str, Any], ledger: Ledger) -> bool:
    try:
        check_body(kind, body, ledger.rules.active)
    except BadInput:
        return False  # the ledger refuses it, and records that
    return True


def _verified(
    envelope: _Envelope,
    body: dict[str, Any],
    *,
    identity: Identity | None = None,
    node_key: bytes = b"",
    anchors: tuple[Anchored, ...] = (),
) -> Verified:
    head = envelope.header
    digest = hashlib.sha256(envelope.signed).digest()
    return Verified(
        head.uid, head.incarnation, head.seq, head.kind, body, head.network_id, digest, identity, node_key, anchors
    )


def _check_node_signature(envelope: _Envelope, node_key: bytes) -> None:
    holds = _holds if len(envelope.signed) <= REMEMBERED_BYTES else has_signed
    if not holds(node_key, envelope.node_signature, envelope.signed):
        head = envelope.header
        raise IdentityError(f"this {head.kind} is not signed with the node key of {head.uid}, which it names")


# ---- bytes


def _signed(header: bytes, payload: bytes) -> bytes:
    return _PROPOSAL_DOMAIN + len(header).to_bytes(4, "big") + header + payload


def _open(raw: bytes) -> _Envelope:
    return _opened(raw) if len(raw) <= REMEMBERED_BYTES else _opened.__wrapped__(raw)


@lru_cache(maxsize=2048)
def _opened(raw: bytes) -> _Envelope:
    match _unpack(raw, "a proposal", PROPOSAL_MAX):
        case [bytes(header), bytes(payload), bytes(node_signature), bytes(certificate_signature)]:
            signed = _signed(header, payload)
            return _Envelope(_header(header), payload, signed, node_signature, certificate_signature)
    raise _malformed("a proposal")


def _header(raw: bytes) -> Header:
    match _unpack(raw, "a proposal's header", PROPOSAL_MAX):
        case [int(version), bytes(), str(), bytes(), int(), str(), bytes(), list()] if version != VERSION:
            raise BadInput(f"a proposal of version {version}, this node knows {VERSION}", hint="upgrade the older node")
        case [int(), bytes(network), str(uid), bytes(incarnation), int(seq), str(kind), bytes(key), list(chain)]:
            sizes = len(network) in (0, HASH_BYTES) and len(uid) == 36 and len(incarnation) == 16 and len(kind) <= 40
            texts = uid.isascii() and uid.isprintable() and kind.isascii() and kind.isprintable()
            if sizes and texts and 0 < seq < COUNT_MAX and len(chain) <= 3 and all(isinstance(c, bytes) for c in chain):
                return Header(network, uid, incarnation, seq, kind, key, tuple(chain))
    raise _malformed("a proposal's header")


def _joined(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    joined: dict[str, Any] = body["joined"] if kind == "Genesis" else body
    return joined


def _without_introduction(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    if kind not in INTRODUCTIONS:
        return body
    rest = {
        name: value for name, value in _joined(kind, body).items() if name not in ("node_key", "chain", "incarnation")
    }
    return {**body, "joined": rest} if kind == "Genesis" else rest


def _body(envelope: _Envelope) -> dict[str, Any]:
    """The whole body. Called once the signature is known to be good (or by `decode_proposal`, which says so)."""
    head = envelope.header
    body = _unpack(envelope.payload, f"the body of a {head.kind}", PROPOSAL_MAX)
    if not isinstance(body, dict):
        raise _malformed(f"the body of a {head.kind}")
    if head.kind not in INTRODUCTIONS:
        return body
    introduction = {"node_key": head.node_key, "chain": list(head.chain), "incarnation": head.incarnation}
    if head.kind != "Genesis":
        return {**body, **introduction}
    joined = body.get("joined")
    return {**body, "joined": {**(joined if isinstance(joined, dict) else {}), **introduction}}


def _pack(obj: Any) -> bytes:
    return bytes(msgpack.packb(obj, use_bin_type=True))


def _unpack(raw: bytes, what: str, cap: int) -> Any:
    if len(raw) > cap:
        raise BadInput(f"{what} of {len(raw)} bytes, at most {cap} are accepted")
    try:
        obj = msgpack.unpackb(raw, raw=False, strict_map_key=True, ext_hook=_no_extensions)
    except Exception:  # msgpack's own errors share no base class with its UnicodeDecodeError
        raise _malformed(what) from None
    if frame.is_too_deep(obj):  # no rule of the ledger may depend on how deep this Python recurses
        raise _malformed(what)
    return obj


def _malformed(what: str) -> BadInput:
    return BadInput(f"{what} that cannot be read: its bytes are damaged, or of another version")


def _no_extensions(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code} is not used here")
