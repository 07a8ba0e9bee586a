"""OpenSSL's verdicts and alerts as sentences.

Called by `runtime.tls` only. Guarantee: a refusal by certificate is an IdentityError with a sentence of its own, a
connection that merely broke is Unreachable; both name the address they are about.
"""

from __future__ import annotations

import ssl

from swarm.errors import IdentityError, SwarmError, Unreachable
from swarm.wire.certnames import printable
from swarm.wire.certs import UnknownAnchor, describe

_EXCHANGE = (
    "exchange CA certificates first: put each organisation's CA into the other's capath; "
    "in a running network `swarm org admit CA.pem` admits it"
)
_CLOCKS = "compare the clocks of both machines"
_RENEW = "issue a new certificate for the same name; the node keeps its state directory"

# X509_V_ERR_… of openssl/x509_vfy.h: what our side found in the other side's chain.
_VERIFICATION: dict[int, tuple[type[IdentityError], str, str]] = {
    18: (UnknownAnchor, "presented a self-signed certificate, which no CA in capath is or has signed", _EXCHANGE),
    19: (UnknownAnchor, "presented a chain that ends in a CA which is not in capath", _EXCHANGE),
    20: (UnknownAnchor, "presented a certificate which no CA in capath is or has signed", _EXCHANGE),
    21: (UnknownAnchor, "presented a certificate which no CA in capath is or has signed", _EXCHANGE),
    22: (IdentityError, "presented a chain that is too deep: expected at most one intermediate", ""),
    24: (IdentityError, "presented a chain with an issuer that is no CA", ""),
    25: (IdentityError, "presented a chain that is too deep for the path length of its CA", ""),
    26: (
        IdentityError,
        "presented a certificate whose key usage or extended key usage is not for a node",
        "it needs digitalSignature, and serverAuth and clientAuth if it names extended usages",
    ),
    34: (IdentityError, "presented a certificate with a critical extension that is not known here", ""),
    66: (IdentityError, "presented a certificate with a key that is too short, expected RSA of 2048 to 4096 bits", ""),
    67: (IdentityError, "presented a chain whose CA has a key that is too short", ""),
    68: (IdentityError, "presented a certificate signed with a hash that is too weak, expected SHA-256", ""),
}

# The alert by which the other side ended the handshake: what it found in our chain. Earlier releases say by one what
# this one says within TLS, with both times.
_ALERTS: dict[str, tuple[type[IdentityError], str, str]] = {
    "TLSV1_ALERT_UNKNOWN_CA": (UnknownAnchor, "does not know the CA that signed it", _EXCHANGE),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": (IdentityError, "says that it has expired", _RENEW),
    "SSLV3_ALERT_BAD_CERTIFICATE": (IdentityError, "says that it is bad: not valid yet, or damaged", _CLOCKS),
    "SSLV3_ALERT_CERTIFICATE_REVOKED": (IdentityError, "says that it was revoked", ""),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": (IdentityError, "says that its usage is not that of a node", ""),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": (IdentityError, "does not accept it", ""),
    "TLSV1_ALERT_DECRYPT_ERROR": (IdentityError, "says that its signature is wrong", ""),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (IdentityError, "says that none was presented", ""),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (IdentityError, "found no common algorithm for it", ""),
}

_NOT_OURS = {
    "WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "HTTP_REQUEST",
    "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE",
    "UNEXPECTED_MESSAGE", "BAD_RECORD_TYPE",
}  # fmt: skip


def from_verification(error: ssl.SSLCertVerificationError, who: str) -> IdentityError:
    kind, text, hint = _VERIFICATION.get(
        error.verify_code,
        (IdentityError, f"presented a certificate that does not verify: {printable(error.verify_message)}", ""),
    )
    return kind(f"{who} {text}", hint=hint)


def from_alert(error: OSError, who: str, own_leaf: bytes) -> SwarmError:
    reason = (getattr(error, "reason", None) or "").upper()
    if reason in _ALERTS:
        kind, text, hint = _ALERTS[reason]
        return kind(f"{who} refused this node's certificate {describe(own_leaf)}: it {text}", hint=hint)
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return IdentityError(f"{who} presented no certificate", hint="every node needs --cert, --key and --capath")
    if reason == "EXCESSIVE_MESSAGE_SIZE":
        return IdentityError(f"{who} presented certificates that are too large, at most 8192 bytes are accepted each")
    if reason in _NOT_OURS:
        return IdentityError(
            f"{who} does not speak TLS 1.3 here ({reason.lower().replace('_', ' ')})",
            hint="is it a swarm node, and is this the right one of its ports?",
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) or not isinstance(error, ssl.SSLError):
        return Unreachable(f"{who} closed the connection during the handshake")
    return IdentityError(f"{who} broke the TLS handshake: {printable(str(error.reason or error))}")
