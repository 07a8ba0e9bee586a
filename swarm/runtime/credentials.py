"""A node's own certificate, its key, and the CAs it trusts, as the command line names them.

Loaded once at start by every node. Guarantees: what is loaded passes the very checks that others will make of it, its
key is private and its own, and its role fits the command; everything else is refused in one sentence before any socket
is opened. `judge` is where this host judges anybody's certificates, by one clock (`core/walltime`): in handshakes, of
links that are there, of whoever is served weights, of who has a task run here. The TLS contexts are built once: a CA
added to capath later counts from the next start on; revocation lists are read again while the node runs
(`runtime/validity`).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from swarm.core.names import Identity
from swarm.errors import BadInput, IdentityError
from swarm.runtime.clock import CertificateClock
from swarm.wire import certs
from swarm.wire.certs import Anchor, CertificateKey, Crl

NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME, for which Python has no name: `judge` knows better what time it is, and says both."""
# PARTIAL_CHAIN: an intermediate in capath is an organisation of its own.
VERIFY_FLAGS = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True)
class Credentials:
    identity: Identity
    chain: list[bytes]
    anchors: list[Anchor]
    crls: list[Crl]
    private_key: CertificateKey
    _server: ssl.SSLContext
    _client: ssl.SSLContext
    _capath: Path | None = None
    _clock: CertificateClock = field(default_factory=CertificateClock)

    @classmethod
    def load(cls, cert: Path, key: Path, capath: Path, *, expect_roles: Sequence[str] | None = None) -> Credentials:
        chain = _load_chain(cert)
        anchors, crls = _load_capath(capath)
        clock = CertificateClock()
        try:  # before the key, whose loading takes a minute if it is far too long
            identity = certs.judge(chain, anchors, crls, *clock.read())
        except IdentityError as error:
            raise type(error)(f"{cert}: {error.message}", hint=error.hint) from None
        if expect_roles is not None and identity.role not in expect_roles:
            raise IdentityError(
                f"{cert} is the certificate of {identity}, with the role {identity.role}; "
                f"this command needs {' or '.join(expect_roles)}",
                hint="give the certificate and key of that role with --cert and --key",
            )
        private_key = _load_key(key)
        _check_pair(cert, chain[0], key, private_key)
        server, client = (
            _context(side, cert, key, anchors) for side in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
        )
        return cls(identity, chain, anchors, crls, private_key, server, client, capath, clock)

    @property
    def leaf(self) -> bytes:
        return self.chain[0]

    @property
    def private_bytes(self) -> bytes:
        """The private key itself, which never leaves this host (PKCS 8, DER)."""
        return self.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def judge(self, chain: Sequence[bytes]) -> Identity:
        """Whose these certificates are, by the lists and the time of now; raises IdentityError."""
        return certs.judge(chain, self.anchors, self.crls, *self._clock.read())

    def read_revocations(self) -> None:
        """Let the revocation lists count that capath holds by now. Raises SwarmError, and changes nothing, when one of
        them is none, or cannot be read."""
        if self._capath is not None and not self._capath.is_file():
            files = _files(self._capath, ".crl.pem")  # one that cannot be read for a moment unrevokes nobody
            self.crls[:] = [_load_crl(path, self.anchors) for path in files]

    def server_context(self) -> ssl.SSLContext:
        return self._server

    def client_context(self) -> ssl.SSLContext:
        return self._client


def _context(side: int, cert: Path, key: Path, anchors: Sequence[Anchor]) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # who answers is named by role and organisation, not by a host
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags = VERIFY_FLAGS
    if side == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # no resumption: every connection shows its certificate
    try:
        context.load_cert_chain(cert, key)
    except (ssl.SSLError, OSError) as error:
        raise IdentityError(f"OpenSSL does not take {cert} with {key}: {error}") from None
    context.load_verify_locations(cadata=b"".join(anchor.certificate for anchor in anchors))
    return context


def _load_chain(path: Path) -> list[bytes]:
    try:
        found = x509.load_pem_x509_certificates(_read(path, "certificate"))
    except ValueError:
        raise BadInput(
            f"certificate file {path} is not a PEM certificate", hint="`gen-cert -e EXAMPLE -i 1` makes certificates"
        ) from None
    return [certificate.public_bytes(Encoding.DER) for certificate in found]


def _load_key(path: Path) -> CertificateKey:
    data = _read(path, "key")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise IdentityError(
            f"private key file {path} can be read by others (mode {mode:04o}), expected 0600", hint=f"chmod 600 {path}"
        )
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise BadInput(
            f"private key file {path} is encrypted; a node has nobody to ask for the passphrase",
            hint="store it unencrypted with mode 0600, on an encrypted disk if need be",
        ) from None
    except Exception:  # ValueError and UnsupportedAlgorithm share no base class
        raise BadInput(
            f"private key file {path} is not a PEM private key", hint="`gen-cert -e EXAMPLE -i 1` makes keys"
        ) from None
    if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise IdentityError(
            f"private key file {path} holds a {type(key).__name__}, expected Ed25519, P-256 or RSA",
            hint="`gen-cert --key-type ed25519|p256|rsa` makes keys that fit",
        )
    return key


def _check_pair(cert: Path, leaf: bytes, key: Path, private_key: CertificateKey) -> None:
    in_certificate = x509.load_der_x509_certificate(leaf).public_key()
    in_key = private_key.public_key()
    spki = [each.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for each in (in_certificate, in_key)]
    if spki[0] != spki[1]:
        raise IdentityError(
            f"{key} is not the key of {cert}: the certificate's public key is {certs.fingerprint(spki[0])}, "
            f"that of the key file is {certs.fingerprint(spki[1])}",
            hint="give the pair that was issued together",
        )


def _load_capath(capath: Path) -> tuple[list[Anchor], list[Crl]]:
    """Of a directory every PEM file counts, and its revocation lists; one file holds CAs and nothing else."""
    if capath.is_file():
        anchors = _naming(capath, certs.anchors_from_pem, [_read(capath, "CA")])
        return certs.anchors_from_der([anchor.certificate for anchor in anchors]), []
    files = _files(capath, ".pem")
    crl_files = [path for path in files if path.name.endswith(".crl.pem")]
    ders: list[bytes] = []
    for path in files:
        if path not in crl_files:
            ders += [anchor.certificate for anchor in _naming(path, certs.anchors_from_pem, [_read(path, "CA")])]
    if not ders:
        raise BadInput(
            f"capath {capath} holds no CA certificate (*.pem)",
            hint="copy the CA certificates of your own and of the other organisations there",
        )
    anchors = certs.anchors_from_der(ders)
    return anchors, [_load_crl(path, anchors) for path in crl_files]


def _files(capath: Path, ending: str) -> list[Path]:
    hint = "it holds one PEM file for each organisation's CA"
    if not capath.is_dir():
        raise BadInput(f"capath {capath} is not a directory", hint=hint)
    try:
        names = sorted(os.listdir(capath))
    except OSError as error:  # a glob would say that there is nothing
        raise BadInput(f"capath {capath} cannot be read: {error.strerror or error}", hint=hint) from None
    return [capath / name for name in names if name.endswith(ending) and (capath / name).is_file()]


def _load_crl(path: Path, anchors: Sequence[Anchor]) -> Crl:
    crl = _naming(path, certs.crl_from_pem, _read(path, "revocation list"))
    if not any(crl.is_of(x509.load_der_x509_certificate(anchor.certificate)) for anchor in anchors):
        raise IdentityError(
            f"revocation list {path} was signed by no CA in capath", hint="put it beside the CA that issued it"
        )
    return crl


def _naming(path: Path, load: Callable[[_In], _Out], argument: _In) -> _Out:
    try:
        return load(argument)
    except (BadInput, IdentityError) as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{what} file {path} cannot be read: {error.strerror or error}",
            hint="`gen-cert -e EXAMPLE -i 1` makes keys and certificates"
            if isinstance(error, FileNotFoundError)
            else "",
        ) from None
