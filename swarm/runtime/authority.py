"""An organisation's certificates on disk: its CA, and a key and certificate for each role on one host.

Called by `gen-cert` and by `swarm demo|up|run`, which make organisations of their own. The tree is that of HPE's
`gen-cert`, so scripts written for it find every file:

    ca/ca-1-key.pem  ca/ca-1-srl.srl  ca/capath/ca-1-cert.pem   {sn,sl,swci,swop}-1-{key,cert}.pem

Guarantees: keys are readable by their owner only from the first byte on; every file appears whole or not at all; no
file is replaced unless `force` is given, and a CA never is: other organisations hold copies of it, and a new one under
the old name would end their trust in everything it signed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from swarm.core.names import ROLES, parse_name
from swarm.errors import BadInput, IdentityError
from swarm.wire.certnames import anchor_name
from swarm.wire.issuing import PrivateKey, Stamp, authority_certificate, leaf_certificate

AUTHORITY_DAYS = 3650
_BACKDATED = timedelta(minutes=5)  # hosts' clocks differ; a certificate made a second ago must hold everywhere


@dataclass(frozen=True, slots=True)
class CertificateTree:
    """The places of one host's certificates; `host` is HPE's host index."""

    directory: Path
    host: str

    @property
    def authority_key(self) -> Path:
        return self.directory / "ca" / f"ca-{self.host}-key.pem"

    @property
    def serials(self) -> Path:
        """The last serial number used, in openssl's form, so that `openssl x509 -CAserial` can go on with this CA."""
        return self.directory / "ca" / f"ca-{self.host}-srl.srl"

    @property
    def capath(self) -> Path:
        return self.directory / "ca" / "capath"

    @property
    def authority(self) -> Path:
        return self.capath / f"ca-{self.host}-cert.pem"

    def key(self, role: str) -> Path:
        return self.directory / f"{role}-{self.host}-key.pem"

    def certificate(self, role: str) -> Path:
        return self.directory / f"{role}-{self.host}-cert.pem"


@dataclass(frozen=True, slots=True)
class Issued:
    """What one call of `issue` left on disk."""

    organisation: str
    authority_made: bool  # False: the CA was there already and has been kept
    authority: x509.Certificate
    leaves: dict[str, x509.Certificate]  # by role
    replaced: tuple[Path, ...]


def new_key(key_type: str) -> PrivateKey:
    """A fresh private key: ed25519, p256 or rsa."""
    if key_type == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if key_type == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    assert key_type == "rsa", key_type
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def issue(
    tree: CertificateTree,
    *,
    organisation: str | None = None,
    key_type: str = "ed25519",
    days: int = 365,
    sans: Sequence[x509.GeneralName] = (),
    force: bool = False,
) -> Issued:
    """Make the CA if there is none, then a key and a certificate for each role; `force` replaces these (not the CA).

    `organisation` defaults to that of the CA on disk, or to `org-<host>` for a new one.

    Raises:
        BadInput: files are in the way, or the CA on disk is of another organisation.
        IdentityError: the CA on disk cannot sign: key missing, not its own, or expired.
    """
    parse_name(f"swop-{tree.host}")  # the longest name made of it
    if organisation is not None:
        organisation = parse_name(organisation)
    leaf_files = [path for role in ROLES for path in (tree.key(role), tree.certificate(role))]
    in_the_way = tuple(path for path in leaf_files if path.exists())
    if in_the_way and not force:
        raise BadInput(
            f"{in_the_way[0]} exists{_and_more(len(in_the_way) - 1)}, nothing has been written",
            hint=f"--force replaces the keys and certificates of {', '.join(ROLES)} and keeps the CA that signs them",
        )
    now = datetime.now(UTC).replace(microsecond=0)
    authority_made = not tree.authority.exists()
    if authority_made:
        organisation = organisation or f"org-{tree.host}".lower()
        authority, authority_key = _make_authority(tree, organisation, key_type, days, now)
    else:
        authority, authority_key, organisation = _existing_authority(tree, organisation, now)
    until = min(now + timedelta(days=days), authority.not_valid_after_utc)  # a leaf cannot outlive its CA
    leaves = {}
    serial = _last_serial(tree)
    for role in ROLES:
        serial += 1
        name = f"{role}-{tree.host}".lower()
        key = new_key(key_type)
        leaves[role] = leaf_certificate(
            key.public_key(),
            authority,
            authority_key,
            label=name.upper(),
            uri=f"swarm://{organisation}/{role}/{name}",
            sans=sans,
            stamp=Stamp(serial, now - _BACKDATED, until),
        )
        _write(tree.serials, f"{serial:X}\n".encode(), mode=0o600)  # before the certificate: no serial is used twice
        _write(tree.key(role), _key_pem(key), mode=0o600)
        _write(tree.certificate(role), _certificate_pem(leaves[role]), mode=0o644)
    return Issued(organisation, authority_made, authority, leaves, in_the_way)


def introduce(trees: Sequence[CertificateTree]) -> None:
    """Give each the CA certificates of all others, as their people would who know each other."""
    for tree, other in permutations(trees, 2):
        shutil.copy(other.authority, tree.capath)


def _make_authority(
    tree: CertificateTree, organisation: str, key_type: str, days: int, now: datetime
) -> tuple[x509.Certificate, PrivateKey]:
    if tree.authority_key.exists():
        raise BadInput(
            f"{tree.authority_key} exists but {tree.authority} does not, nothing has been written",
            hint="put the CA's certificate back, or remove its key to make a new CA",
        )
    key = new_key(key_type)
    until = now + timedelta(days=max(days, AUTHORITY_DAYS))
    stamp = Stamp(x509.random_serial_number(), now - _BACKDATED, until)
    authority = authority_certificate(key, label=f"CA-{tree.host}".upper(), organisation=organisation, stamp=stamp)
    tree.capath.mkdir(parents=True, exist_ok=True)
    # HPE's counter starts at a random number too. Half as long as openssl's: it never reaches the limit of 20 bytes.
    _write(tree.serials, f"{x509.random_serial_number() >> 80:X}\n".encode(), mode=0o600)
    _write(tree.authority_key, _key_pem(key), mode=0o600)
    _write(tree.authority, _certificate_pem(authority), mode=0o644)
    return authority, key


def _existing_authority(
    tree: CertificateTree, organisation: str | None, now: datetime
) -> tuple[x509.Certificate, PrivateKey, str]:
    new_ca = f"a new CA needs another --out, -e or -i, or {tree.directory} out of the way"
    if not tree.authority_key.exists():
        raise IdentityError(f"{tree.authority_key} is missing, so the CA {tree.authority} cannot sign", hint=new_ca)
    try:
        authority = x509.load_pem_x509_certificate(tree.authority.read_bytes())
        key = serialization.load_pem_private_key(tree.authority_key.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise IdentityError(f"{tree.authority} or its key {tree.authority_key} cannot be read: {error}") from error
    if not isinstance(key, PrivateKey) or key.public_key() != authority.public_key():
        raise IdentityError(f"{tree.authority_key} is not the key of the CA {tree.authority}", hint=new_ca)
    if authority.not_valid_after_utc <= now:
        raise IdentityError(f"the CA {tree.authority} expired on {authority.not_valid_after_utc:%Y-%m-%d}", hint=new_ca)
    its_organisation = anchor_name(authority)
    if organisation not in (None, its_organisation):
        raise BadInput(
            f"the CA {tree.authority} speaks for the organisation {its_organisation}, not for {organisation}",
            hint=new_ca,
        )
    return authority, key, its_organisation


def _last_serial(tree: CertificateTree) -> int:
    """Raises IdentityError when the counter is gone or damaged: guessing could give one serial to two certificates."""
    try:
        return int(tree.serials.read_text(encoding="ascii"), 16)
    except (OSError, ValueError) as error:
        raise IdentityError(
            f"{tree.serials} does not hold the CA's last serial number: {error}",
            hint=f"write one by hand: openssl rand -hex 10 > {tree.serials}",
        ) from error


def _and_more(count: int) -> str:
    return f" (and {count} more)" if count else ""


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """Write `path` whole or not at all; the temporary file is 0600 from its creation."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                os.fchmod(descriptor, mode)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from error
