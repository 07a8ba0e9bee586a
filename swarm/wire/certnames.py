"""Names inside certificates: role and name of a leaf, the printed name of a CA, a subject in a sentence.

Called by `wire.certs`. Guarantees: a leaf's organisation is never believed against its anchor; where a certificate
names its holder twice, both agree; texts for people hold printable characters only.
"""

from __future__ import annotations

import hashlib
import re
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from swarm.core.names import ROLES, parse_name
from swarm.errors import BadInput, IdentityError

_CN_ROLE = re.compile(r"(swop|swci|sn|sl)-.+")
_URI = re.compile(r"swarm://([^/]+)/([^/]+)/([^/]+)")
_ANCHOR_URI = re.compile(r"swarm://([^/]+)/?")
_T = TypeVar("_T", bound=x509.ExtensionType)


def role_and_name(leaf: x509.Certificate, organisation: str) -> tuple[str, str]:
    """By the leaf's one swarm:// URI, else by its common name as HPE writes it (`SN-1`)."""
    common = [str(attribute.value) for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(common) > 1:
        raise IdentityError(f"the certificate {subject(leaf)} has {len(common)} common names, expected one")
    uris = _swarm_uris(leaf)
    if len(uris) > 1:
        raise IdentityError(f"the certificate {subject(leaf)} has {len(uris)} swarm:// names, expected one")
    from_cn = _from_common_name(common[0]) if common else None
    if not uris:
        if from_cn is None:
            raise IdentityError(
                f"the certificate {subject(leaf)} names no role: expected a SAN URI swarm://ORGANISATION/ROLE/NAME, "
                "or a common name that begins with SN- SL- SWOP- or SWCI-"
            )
        return from_cn
    claimed, role, name = _from_uri(uris[0], leaf)
    if claimed != organisation:
        raise IdentityError(
            f"the certificate {subject(leaf)} says organisation {claimed!r}, but the CA of {organisation!r} "
            "has signed it: no CA can speak for another organisation"
        )
    if common and (common[0].lower() != name or (from_cn is not None and from_cn[0] != role)):
        raise IdentityError(f"the SAN {printable(uris[0])} and {subject(leaf)} of a certificate do not agree")
    return role, name


def _from_common_name(text: str) -> tuple[str, str] | None:
    match = _CN_ROLE.fullmatch(text.lower())
    if match is None:
        return None
    return match.group(1), _name(text)


def _from_uri(uri: str, leaf: x509.Certificate) -> tuple[str, str, str]:
    match = _URI.fullmatch(uri)
    if match is None or match.group(2).lower() not in ROLES:
        raise IdentityError(
            f"the SAN {printable(uri)} of {subject(leaf)} is not swarm://ORGANISATION/ROLE/NAME "
            f"with a role of {' '.join(ROLES)}"
        )
    return _name(match.group(1)), match.group(2).lower(), _name(match.group(3))


def _name(text: str) -> str:
    try:
        return parse_name(text)
    except BadInput as error:
        raise IdentityError(f"in a certificate: {error.message}", hint=error.hint) from None


def _swarm_uris(certificate: x509.Certificate) -> list[str]:
    names = extension_of(certificate, x509.SubjectAlternativeName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []
    return [uri for uri in uris if uri.lower().startswith("swarm:")]


def anchor_name(certificate: x509.Certificate) -> str:
    """What a CA calls its organisation: its swarm:// URI, else its common name with other characters as dashes."""
    uris = _swarm_uris(certificate)
    if uris:
        match = _ANCHOR_URI.fullmatch(uris[0])
        if len(uris) > 1 or match is None:
            raise BadInput(
                f"the CA certificate {subject(certificate)} has the SAN {printable(uris[0])}, "
                "expected one swarm://ORGANISATION"
            )
        return parse_name(match.group(1))
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = re.sub(r"[^a-z0-9._-]+", "-", str(common[0].value).lower()).strip("-")[:64] if common else ""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return text or f"ca-{hashlib.sha256(spki).hexdigest()[:8]}"


def extension_of(certificate: x509.Certificate, kind: type[_T]) -> _T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def subject(certificate: x509.Certificate) -> str:
    return name_text(certificate.subject)


def name_text(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return printable(f"CN={common[0].value!s}" if common else (name.rfc4514_string() or "without a subject"))


def printable(text: str, limit: int = 120) -> str:
    """Somebody else's text for our terminal: no control characters, not too long."""
    return "".join(character if character.isprintable() else "?" for character in text[:limit])
