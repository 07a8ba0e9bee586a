"""Issuing certificates: an organisation's CA and the leaves of its nodes, in the form of HPE's `gen-cert`.

Called by `runtime.authority`, which holds the keys, and by tests. Pure: keys, serial numbers and times are handed in.
Guarantee: what is issued here passes `wire.certs`, and names its holder twice in agreement: the subject `SN-1` as HPE
writes it, and the URI `swarm://<organisation>/sn/sn-1`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509.oid import NameOID

from swarm.errors import BadInput

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey
PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey

_HOST = re.compile(r"(?!-)[A-Za-z0-9_*.-]{1,253}")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the caller's randomness and clock give to one certificate."""

    serial: int
    not_before: datetime
    not_after: datetime


def authority_certificate(key: PrivateKey, *, label: str, organisation: str, stamp: Stamp) -> x509.Certificate:
    """The self-signed certificate of an organisation's CA; `label` is its subject, as in `CA-1`."""
    public = key.public_key()
    builder = (
        _builder(public, label, stamp)
        .issuer_name(_subject(label))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        # HPE's CA has no cRLSign; without it openssl would not accept the organisation's own revocation list.
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(label), x509.UniformResourceIdentifier(f"swarm://{organisation}")]
            ),
            critical=False,
        )
    )
    return builder.sign(key, _hash_for(key))


def leaf_certificate(
    public: PublicKey,
    authority: x509.Certificate,
    authority_key: PrivateKey,
    *,
    label: str,
    uri: str,
    sans: Sequence[x509.GeneralName] = (),
    stamp: Stamp,
) -> x509.Certificate:
    """The certificate of one node; `label` is its subject as HPE writes it (`SN-1`), `uri` its name in the swarm."""
    names = [x509.DNSName(label), x509.UniformResourceIdentifier(uri), *sans]
    builder = (
        _builder(public, label, stamp)
        .issuer_name(authority.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    return builder.sign(authority_key, _hash_for(authority_key))


def general_name(text: str) -> x509.GeneralName:
    """A further name for a leaf, from the command line: an IP address or a host name.

    No URI: a leaf speaks for exactly one participant, and that URI is made from its role and name.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        if not text.isascii() or not _HOST.fullmatch(text):
            raise BadInput(
                f"{text[:80]!r} is no name for a certificate: expected a host name or an IP address",
                hint="for example --san node1.hospital-a.example --san 192.0.2.7",
            ) from None
        return x509.DNSName(text)


def _builder(public: PublicKey, label: str, stamp: Stamp) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(label))
        .public_key(public)
        .serial_number(stamp.serial)
        .not_valid_before(stamp.not_before)
        .not_valid_after(stamp.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _subject(label: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Swarm-Learning"),
            x509.NameAttribute(NameOID.COMMON_NAME, label),
        ]
    )


def _usage(*, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _hash_for(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()  # Ed25519 hashes by itself
