"""Certificates: which organisation, role and name a chain proves, and why another one is refused.

Called by the handshake (with this host's clock, capath and CRLs) and by the ledger (with the entry's time and the
ledger's anchors). Guarantees: pure; an `Identity` is returned only for a leaf that one of the given anchors signed
(over at most one intermediate) and that passes every check of the list; each refusal is an IdentityError with a
sentence of its own. Certificates in HPE's form (RSA, CN=SN-1, keyCertSign on a leaf that is no CA) pass: the surplus
usage has no effect, since a leaf never counts as an issuer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from swarm.core.names import Identity
from swarm.errors import BadInput, IdentityError
from swarm.wire.certnames import anchor_name, extension_of, name_text, role_and_name, subject

CERTIFICATE_MAX = 8192
CHAIN_MAX = 3  # leaf, one intermediate, and the anchor that some servers send along
RSA_BITS = range(2048, 4097)

CertificateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_LAZY = (
    "version", "serial_number", "issuer", "subject", "not_valid_before_utc", "not_valid_after_utc", "extensions",
    "signature", "signature_hash_algorithm", "tbs_certificate_bytes",
)  # fmt: skip
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_HANDLED: tuple[type[x509.ExtensionType], ...] = (
    x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName,
)  # fmt: skip
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)


class UnknownAnchor(IdentityError):
    """The chain leads to no anchor at hand: the one refusal that admitting an organisation cures."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A CA that stands for an organisation; `name` is what it calls itself, `label` is unique in its set."""

    certificate: bytes
    spki_sha256: bytes
    name: str
    label: str


_Path = tuple[x509.Certificate, tuple[x509.Certificate, ...], Anchor]


@dataclass(frozen=True, slots=True)
class Crl:
    """A revocation list; it counts only for certificates of the issuer whose key has signed it."""

    content: x509.CertificateRevocationList

    def is_of(self, issuer: x509.Certificate) -> bool:
        key = issuer.public_key()
        assert isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        return self.content.issuer == issuer.subject and self.content.is_signature_valid(key)


def anchors_from_pem(texts: Iterable[str | bytes]) -> list[Anchor]:
    """The anchors of several PEM files, in their order."""
    ders: list[bytes] = []
    for text in texts:
        try:
            found = x509.load_pem_x509_certificates(text.encode() if isinstance(text, str) else text)
        except ValueError:
            raise BadInput(
                "a CA file is not a PEM certificate",
                hint="capath holds the CA certificates of the organisations, one PEM file each, and nothing else",
            ) from None
        ders += [certificate.public_bytes(Encoding.DER) for certificate in found]
    return anchors_from_der(ders)


def anchors_from_der(ders: Iterable[bytes]) -> list[Anchor]:
    """The anchors, each once; organisations that share a printed name are told apart by their key's hash."""
    found: dict[bytes, tuple[bytes, str]] = {}
    for der in ders:
        certificate = _parse(der, "a CA certificate")
        if not _is_ca(certificate):
            raise BadInput(
                f"{subject(certificate)} in capath is not a CA certificate: expected CA:TRUE",
                hint="capath holds the CA certificates of the organisations, not those of nodes",
            )
        if problem := _weak_key(certificate):
            raise BadInput(
                f"the CA certificate {subject(certificate)} has {problem}",
                hint="its organisation needs a new CA, and its nodes new certificates: `gen-cert` makes ones that fit",
            )
        found.setdefault(der, (spki_sha256(certificate), anchor_name(certificate)))
    keys_of: dict[str, set[bytes]] = {}
    for spki, name in found.values():
        keys_of.setdefault(name, set()).add(spki)
    return [
        Anchor(der, spki, name, name if len(keys_of[name]) == 1 else f"{name}#{spki.hex()[:8]}")
        for der, (spki, name) in found.items()
    ]


def crl_from_pem(text: str | bytes) -> Crl:
    try:
        return Crl(x509.load_pem_x509_crl(text.encode() if isinstance(text, str) else text))
    except ValueError:
        raise BadInput(
            "not a revocation list in PEM form",
            hint="`openssl crl -inform DER -out X.crl.pem` turns one from DER to PEM",
        ) from None


def judge(
    chain: Sequence[bytes],
    anchors: Sequence[Anchor],
    crls: Sequence[Crl],
    now: datetime,
    reached: datetime | None = None,
) -> Identity:
    """Whom the leaf (first in the chain, DER) belongs to; raises IdentityError with the sentence of the case.

    ``reached``: what had begun by then has begun, if the clock that says ``now`` was set back (`core/walltime`).
    """
    try:
        return _judge(chain, anchors, crls, now, reached or now)
    except IdentityError as error:
        error.hint = error.hint or "the certificate has to be issued anew; `gen-cert` makes ones that fit"
        raise


def _judge(
    chain: Sequence[bytes], anchors: Sequence[Anchor], crls: Sequence[Crl], now: datetime, reached: datetime
) -> Identity:
    leaf, issuers, anchor = _in_time(_traced(tuple(chain), tuple(anchors)), now, reached)
    _check_usage(leaf)
    for certificate in [leaf, *issuers[:-1]]:
        _check_extensions(certificate)
    _check_revocation([leaf, *issuers], crls)
    role, name = role_and_name(leaf, anchor.name)
    return Identity(anchor.label, anchor.spki_sha256, role, name)


def _in_time(paths: tuple[_Path, ...], now: datetime, reached: datetime) -> _Path:
    """The first whose certificates are valid. Raises what stands against the first where none is."""
    refusals: list[IdentityError] = []
    for path in paths:
        try:
            _check_validity([path[0], *path[1]], now, reached)
        except IdentityError as error:
            refusals.append(error)
        else:
            return path
    raise refusals[0]


@lru_cache(maxsize=1024)
def _traced(chain: tuple[bytes, ...], anchors: tuple[Anchor, ...]) -> tuple[_Path, ...]:
    """The leaf, the issuers above it and its anchor: what time does not change, and is asked for at every request. A CA
    that was renewed with its key has several certificates."""
    for der in chain[: CHAIN_MAX + 1]:
        if len(der) > CERTIFICATE_MAX:
            raise IdentityError(
                f"a certificate of {len(der)} bytes was presented, at most {CERTIFICATE_MAX} are accepted"
            )
    certificates = [_parse(der, "the presented certificate") for der in chain[: CHAIN_MAX + 1]]
    assert certificates, "a chain has a leaf"
    for certificate in certificates:
        if problem := _weak_key(certificate):
            raise IdentityError(f"the certificate {subject(certificate)} has {problem}")
    return tuple((certificates[0], tuple(issuers), anchor) for issuers, anchor in _paths(certificates, anchors))


def spki_sha256(certificate: x509.Certificate) -> bytes:
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def fingerprint(der: bytes) -> str:
    return "sha256:" + hashlib.sha256(der).hexdigest()


def describe(der: bytes) -> str:
    """A certificate in a sentence: its subject, or its fingerprint where it cannot be read."""
    try:
        return subject(_parse(der, "a certificate"))
    except IdentityError:
        return fingerprint(der)


def cert_sign(key: CertificateKey, data: bytes) -> bytes:
    """Sign with a certificate's key: Ed25519, ECDSA-SHA256 or RSA-PSS-SHA256, by its type."""
    match key:
        case ed25519.Ed25519PrivateKey():
            return key.sign(data)
        case ec.EllipticCurvePrivateKey():
            return key.sign(data, ec.ECDSA(hashes.SHA256()))
        case rsa.RSAPrivateKey():
            return key.sign(data, _PSS, hashes.SHA256())


def cert_verify(leaf: bytes, data: bytes, signature: bytes) -> bool:
    """Whether the key of this certificate has signed the data."""
    key = _parse(leaf, "the signer's certificate").public_key()
    try:
        match key:
            case ed25519.Ed25519PublicKey():
                key.verify(signature, data)
            case ec.EllipticCurvePublicKey():
                key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            case rsa.RSAPublicKey() if key.key_size in RSA_BITS:
                key.verify(signature, data, _PSS, hashes.SHA256())
            case _:
                return False
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


# ---- the checks of `judge`


def _parse(der: bytes, what: str) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        _touch_every_field(certificate)
        _check_one_writing(der, certificate)
    except Exception as error:  # ValueError, UnsupportedAlgorithm, DuplicateExtension, …: the parser has no one class
        raise IdentityError(f"{what} cannot be read: {str(error)[:120]}") from None
    return certificate


def _touch_every_field(certificate: x509.Certificate) -> None:
    """The parser is lazy: what is malformed must show here, not in the middle of a check."""
    certificate.public_key()
    for field in _LAZY:
        getattr(certificate, field)


def _check_one_writing(der: bytes, certificate: x509.Certificate) -> None:
    """The signature covers neither its own header nor the count of its unused bits, which the parser lets be more
    than 0 where those bits happen to be 0: a second certificate of the same content with another fingerprint."""
    if not der.endswith(b"\x00" + certificate.signature):
        raise ValueError("its signature is not whole bytes")


def _weak_key(certificate: x509.Certificate) -> str:
    match certificate.public_key():
        case ed25519.Ed25519PublicKey():
            return ""
        case ec.EllipticCurvePublicKey() as key:
            return "" if isinstance(key.curve, ec.SECP256R1) else f"a key on curve {key.curve.name}, expected P-256"
        case rsa.RSAPublicKey() as key:
            return "" if key.key_size in RSA_BITS else f"an RSA key of {key.key_size} bits, expected 2048 to 4096"
        case other:
            return f"a key of type {type(other).__name__}, expected Ed25519, P-256 or RSA"


def _paths(
    certificates: list[x509.Certificate], anchors: Sequence[Anchor]
) -> list[tuple[list[x509.Certificate], Anchor]]:
    """The issuers above the leaf, anchor last; one for each anchor that has signed the last one below."""
    leaf, current, issuers = certificates[0], certificates[0], list[x509.Certificate]()
    rest = [c for c in certificates[1:] if _may_issue(c)]
    while True:
        roots = [(x509.load_der_x509_certificate(anchor.certificate), anchor) for anchor in anchors]
        if signers := [(root, anchor) for root, anchor in roots if _issued(current, root)]:
            fit = [each for each in signers if not issuers or (len(issuers) == 1 and _path_length(each[0]) != 0)]
            return [([*issuers, root], anchor) for root, anchor in fit] or _too_deep(leaf)
        above = next((c for c in rest if c != current and _issued(current, c)), None)
        if above is None:
            break
        rest.remove(above)
        issuers.append(above)
        current = above
    if len(certificates) > CHAIN_MAX:
        _too_deep(leaf)
    raise UnknownAnchor(
        f"the certificate {subject(leaf)} was issued by {name_text(leaf.issuer)}, "
        "which no CA in capath is or has signed",
        hint="exchange CA certificates first: put the other organisation's CA into capath; "
        "in a running network `swarm org admit CA.pem` admits it",
    )


def _too_deep(leaf: x509.Certificate) -> NoReturn:
    raise IdentityError(
        f"the chain of {subject(leaf)} is too deep: expected at most one intermediate between it and the CA in capath",
        hint="put the intermediate CA into capath, or issue the certificate nearer to the CA",
    )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and not isinstance(algorithm, _HASHES):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _check_validity(path: list[x509.Certificate], now: datetime, reached: datetime) -> None:
    for certificate in path:
        if reached < certificate.not_valid_before_utc:
            raise IdentityError(
                f"the certificate {subject(certificate)} is not valid before "
                f"{_when(certificate.not_valid_before_utc)}, it is {_when(now)}{_later(now, reached)}",
                hint="compare the clocks of both machines",
            )
        if now > certificate.not_valid_after_utc:
            raise IdentityError(
                f"the certificate {subject(certificate)} expired on {_when(certificate.not_valid_after_utc)}, "
                f"it is {_when(now)}",
                hint="issue a new one for the same name; the node keeps its state directory",
            )


def _check_usage(leaf: x509.Certificate) -> None:
    if _is_ca(leaf):
        raise IdentityError(f"the certificate {subject(leaf)} is a CA certificate, expected that of a node (CA:FALSE)")
    usage = extension_of(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise IdentityError(f"the key usage of {subject(leaf)} lacks digitalSignature")
    purposes = extension_of(leaf, x509.ExtendedKeyUsage)
    if purposes is None:
        return
    for purpose, text in (
        (ExtendedKeyUsageOID.SERVER_AUTH, "serverAuth"),
        (ExtendedKeyUsageOID.CLIENT_AUTH, "clientAuth"),
    ):
        if purpose not in purposes:
            raise IdentityError(
                f"the extended key usage of {subject(leaf)} lacks {text}",
                hint="a node is client and server: name both serverAuth and clientAuth, or leave the extension out",
            )


def _check_extensions(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, _HANDLED):
            raise IdentityError(
                f"the certificate {subject(certificate)} has the critical extension {extension.oid.dotted_string}, "
                "which is not known here"
            )


def _check_revocation(path: list[x509.Certificate], crls: Sequence[Crl]) -> None:
    for certificate, issuer in pairwise(path):
        for crl in crls:
            entry = crl.content.get_revoked_certificate_by_serial_number(certificate.serial_number)
            if entry is not None and crl.is_of(issuer):
                raise IdentityError(
                    f"the certificate {subject(certificate)} was revoked by its CA "
                    f"on {_when(entry.revocation_date_utc)}",
                    hint="its organisation can issue a new one",
                )


def _is_ca(certificate: x509.Certificate) -> bool:
    constraints = extension_of(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _may_issue(certificate: x509.Certificate) -> bool:
    usage = extension_of(certificate, x509.KeyUsage)
    return _is_ca(certificate) and (usage is None or usage.key_cert_sign)


def _path_length(root: x509.Certificate) -> int | None:
    constraints = extension_of(root, x509.BasicConstraints)
    return None if constraints is None else constraints.path_length


def _later(now: datetime, reached: datetime) -> str:
    """What else is true in a process whose host's clock was set back; less than a minute confuses nobody."""
    return f", and this process has seen {_when(reached)}" if reached - now >= timedelta(minutes=1) else ""


def _when(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
