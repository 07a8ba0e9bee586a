"""Certificates of every shape, good and bad, for tests of who is let in.

`authority()` and `leaf()` make one certificate each; a good one by default, in HPE's form with `hpe=True`.
`write()` puts a leaf on disk as a node's files, `make_organisation()` a whole organisation.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
CODE_SIGNING = ExtendedKeyUsageOID.CODE_SIGNING
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)

_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A certificate, its private key, and the intermediates that go with it."""

    certificate: x509.Certificate
    key: Any
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    @property
    def chain(self) -> list[bytes]:
        return [self.der, *(each.public_bytes(DER) for each in self.intermediates)]

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def new_key(kind: str = "ed25519") -> Any:
    """`ed25519`, `p256`, `p384`, or `rsa<bits>`; RSA keys are made once in a run."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("p"):
        return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}[kind])
    return rsa_16384() if kind == "rsa16384" else _rsa(int(kind.removeprefix("rsa")))


@functools.cache
def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@functools.cache
def rsa_16384() -> rsa.RSAPrivateKey:
    """A valid RSA key of 16384 bits without minutes of search: its primes are those of RFC 3526 and RFC 7919."""
    p = 2**8192 - 2**8128 - 1 + 2**64 * ((_pi(8300) >> (8300 - 8062)) + 4743158)
    q = 2**8192 - 2**8128 - 1 + 2**64 * ((_e(8300) >> (8300 - 8062)) + 10965728)
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _e(bits: int) -> int:
    total, term, n = 0, 1 << (bits + 64), 0
    while term:
        total, n = total + term, n + 1
        term //= n
    return total >> 64


def _pi(bits: int) -> int:
    def arctan_of_inverse(x: int) -> int:
        total, term, n, sign = 0, (1 << (bits + 64)) // x, 1, 1
        while term:
            total, term, n, sign = total + sign * (term // n), term // (x * x), n + 2, -sign
        return total

    return 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239)) >> 64


def authority(
    common: str | None = "CA-1",
    *,
    uri: str | None = None,
    key: Any = "ed25519",
    signed_by: Pair | None = None,
    start: datetime = NOW - DAY,
    end: datetime = NOW + 30 * DAY,
    path_length: int | None = None,
    usage: Sequence[str] = ("digital_signature", "key_cert_sign", "crl_sign"),
) -> Pair:
    """A CA; self-signed, or an intermediate below `signed_by`."""
    key = new_key(key) if isinstance(key, str) else key
    names = [x509.UniformResourceIdentifier(uri)] if uri else []
    certificate = _certificate(
        common,
        key.public_key(),
        signed_by or Pair(None, key),  # type: ignore[arg-type]
        ca=True,
        path_length=path_length,
        names=names,
        usage=usage,
        start=start,
        end=end,
    )
    return Pair(certificate, key, (certificate, *signed_by.intermediates) if signed_by else ())


def leaf(
    ca: Pair,
    common: str | None = "SN-1",
    *,
    uris: Sequence[str] = (),
    key: Any = "ed25519",
    hpe: bool = False,
    ca_flag: bool = False,
    usage: Sequence[str] | None = ("digital_signature",),
    purposes: Sequence[x509.ObjectIdentifier] | None = None,
    start: datetime = NOW - DAY,
    end: datetime = NOW + 30 * DAY,
    critical: str | None = None,
    padding: int = 0,
) -> Pair:
    """A node's certificate. `critical`: the OID of one more critical extension; `padding`: bytes to make it large."""
    if hpe:
        key, usage = "rsa2048", ("digital_signature", "key_cert_sign")
    key = new_key(key) if isinstance(key, str) else key
    extras: list[tuple[x509.ExtensionType, bool]] = []
    if purposes is not None:
        extras.append((x509.ExtendedKeyUsage(purposes), False))
    if critical:
        extras.append((x509.UnrecognizedExtension(x509.ObjectIdentifier(critical), b"\x05\x00"), True))
    if padding:
        extras.append(
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\0" * padding), False)
        )
    names: list[x509.GeneralName] = [x509.DNSName(common)] if common else []
    names += [x509.UniformResourceIdentifier(uri) for uri in uris]
    certificate = _certificate(
        common, key.public_key(), ca, ca=ca_flag, names=names, usage=usage, start=start, end=end, extras=extras
    )
    return Pair(certificate, key, ca.intermediates)


def _certificate(
    common: str | None,
    public: Any,
    issuer: Pair,
    *,
    ca: bool,
    names: Sequence[x509.GeneralName],
    usage: Sequence[str] | None,
    start: datetime,
    end: datetime,
    path_length: int | None = None,
    extras: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> x509.Certificate:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Swarm-Learning")]
    attributes += [x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else []
    subject = x509.Name(attributes)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer.certificate else subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(x509.KeyUsage(**{name: name in usage for name in _USAGES}), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension, critical in extras:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.key, None if isinstance(issuer.key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def crl(ca: Pair, *revoked: Pair, signed_by: Pair | None = None) -> bytes:
    """A revocation list (PEM) that claims to be of `ca`."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(NOW - DAY)
        .next_update(NOW + DAY)
    )
    for pair in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(pair.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(NOW - timedelta(hours=1)).build())
    key = (signed_by or ca).key
    signed = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return signed.public_bytes(PEM)


def write(pair: Pair, directory: Path, stem: str = "node") -> tuple[Path, Path]:
    """(certificate, key) files; the certificate file holds the intermediates too, the key is 0600."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = directory / f"{stem}-cert.pem", directory / f"{stem}-key.pem"
    certificate.write_bytes(pair.pem + b"".join(each.public_bytes(PEM) for each in pair.intermediates))
    key.touch(mode=0o600)
    key.write_bytes(pair.key_pem)
    return certificate, key


@dataclass(frozen=True)
class OrganisationFiles:
    """One organisation on disk: its CA in its own capath, and one pair of files for each role."""

    name: str
    directory: Path
    ca: Pair

    @property
    def capath(self) -> Path:
        return self.directory / "capath"

    def cert(self, role: str) -> Path:
        return self.directory / f"{role}-cert.pem"

    def key(self, role: str) -> Path:
        return self.directory / f"{role}-key.pem"

    def trust(self, *others: OrganisationFiles) -> None:
        for other in others:
            (self.capath / f"{other.name}.pem").write_bytes(other.ca.pem)
            (other.capath / f"{self.name}.pem").write_bytes(self.ca.pem)


def make_organisation(
    tmp_path: Path, name: str, roles: Sequence[str] = ("sn", "sl", "swop", "swci"), *, key: str = "ed25519"
) -> OrganisationFiles:
    """CA and certificates below tmp_path/name; the names are sn-1, sl-1 and so on."""
    directory = tmp_path / name
    ca = authority(f"CA-{name}", uri=f"swarm://{name}", key=key)
    for role in roles:
        write(leaf(ca, f"{role}-1".upper(), uris=[f"swarm://{name}/{role}/{role}-1"], key=key), directory, role)
    (directory / "capath").mkdir()
    (directory / "capath" / f"{name}.pem").write_bytes(ca.pem)
    return OrganisationFiles(name, directory, ca)
