"""Nodes for tests of the handshake: good ones, and ones that present what no honest node would.

`CASES` lists everybody who must be refused, each with the sentence; `tests/runtime/test_tls.py` plays them over plain
sockets, `tests/runtime/test_mesh_refusals.py` over libp2p.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarm.core.names import Identity
from swarm.runtime.credentials import NO_CHECK_TIME
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Credentials, Local
from swarm.wire.certs import anchors_from_der, crl_from_pem
from tests.certificates import CODE_SIGNING, DAY, NOW, Pair, authority, crl, leaf, write

NETWORK = b"\1" * 32


def node(
    directory: Path,
    pair: Pair,
    trusted: Sequence[Pair],
    *,
    network: bytes = NETWORK,
    crls: Sequence[bytes] = (),
    state: str = "",
) -> Local:
    """A node whose own certificate nobody has checked; its state directory is closed with the test's process."""
    where = directory / (state or f"state-{len(list(directory.iterdir()))}")
    files = write(pair, directory / f"files-{len(list(directory.iterdir()))}")
    anchors = anchors_from_der(ca.der for ca in trusted)
    identity = Identity("unchecked", b"\0" * 32, "sn", "unchecked")
    contexts = [_unchecked(side, files, trusted) for side in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)]
    lists = [crl_from_pem(each) for each in crls]
    credentials = Credentials(identity, pair.chain, anchors, lists, pair.key, *contexts)
    opened = StateDirectory(where)
    if network:
        opened.set_network_id(network)
    return Local(credentials, opened)


def _unchecked(side: int, files: tuple[Path, Path], trusted: Sequence[Pair]) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_ciphers("DEFAULT@SECLEVEL=0")  # to present keys that are too short
    context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | NO_CHECK_TIME
    if side == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    context.load_cert_chain(*files)
    context.load_verify_locations(cadata=b"".join(ca.der for ca in trusted))
    return context


A = authority("CA-A", uri="swarm://a")
B = authority("CA-B", uri="swarm://b")
FOREIGN = authority("CA-X", uri="swarm://x")
GOOD = leaf(A, "SN-1", uris=["swarm://a/sn/sn-1"])


@dataclass(frozen=True)
class Case:
    """Who comes, what the honest node says of it, and what the other one is told."""

    present: Callable[[], Pair]
    sentence: str
    told: str
    crls: Callable[[Pair], Sequence[bytes]] = lambda pair: ()


def _too_deep() -> Pair:
    return leaf(authority("low", signed_by=authority("between", signed_by=A)))


CASES: dict[str, Case] = {
    "foreign anchor": Case(
        lambda: leaf(FOREIGN),
        r"presented a certificate which no CA in capath is or has signed",
        r"refused this node's certificate CN=SN-1: it does not know the CA that signed it",
    ),
    "cross-organisation SAN": Case(
        lambda: leaf(B, uris=["swarm://a/sn/sn-1"]),
        r"says organisation 'a', but the CA of 'b' has signed it: no CA can speak for another organisation",
        r"refused this node: .*no CA can speak for another organisation",
    ),
    "SAN and CN disagree": Case(
        lambda: leaf(A, "SN-1", uris=["swarm://a/sn/sn-2"]),
        r"the SAN swarm://a/sn/sn-2 and CN=SN-1 of a certificate do not agree",
        r"refused this node: .*do not agree",
    ),
    "expired": Case(
        lambda: leaf(A, start=NOW - 9 * DAY, end=NOW - DAY),
        r"the certificate CN=SN-1 expired on .* UTC, it is .* UTC",
        r"refused this node: .*the certificate CN=SN-1 expired on .* UTC, it is .* UTC",
    ),
    "not yet valid": Case(
        lambda: leaf(A, start=NOW + DAY),
        r"the certificate CN=SN-1 is not valid before .* UTC, it is .* UTC",
        r"refused this node: .*the certificate CN=SN-1 is not valid before .* UTC, it is .* UTC",
    ),
    "wrong role": Case(
        lambda: leaf(A, "SWCI-1", uris=["swarm://a/swci/swci-1"]),
        r"has the role swci, expected sn or sl",
        r"refused this node: .*has the role swci, expected sn or sl",
    ),
    "CA as leaf": Case(
        lambda: leaf(A, ca_flag=True),
        r"CN=SN-1 is a CA certificate, expected that of a node",
        r"refused this node: .*is a CA certificate",
    ),
    "no digitalSignature": Case(
        lambda: leaf(A, usage=("key_encipherment",)),
        r"whose key usage or extended key usage is not for a node|the key usage of CN=SN-1 lacks digitalSignature",
        r"refused this node",
    ),
    "wrong extended usage": Case(
        lambda: leaf(A, purposes=[CODE_SIGNING]),
        r"presented a certificate whose key usage or extended key usage is not for a node",
        r"refused this node's certificate CN=SN-1: it says that its usage is not that of a node",
    ),
    "unknown critical extension": Case(
        lambda: leaf(A, critical="1.2.3.4"),
        r"presented a certificate with a critical extension that is not known here",
        r"refused this node's certificate CN=SN-1",
    ),
    "oversized": Case(
        lambda: leaf(A, padding=8192),
        r"a certificate of \d{4} bytes was presented, at most 8192 are accepted",
        r"refused this node: .*at most 8192 are accepted",
    ),
    "100 KiB": Case(
        lambda: leaf(A, padding=100 * 1024),
        r"sent more than 16384 bytes in the handshake|certificates that are too large",
        r"refused this node|closed the connection|broke the (connection|TLS)",
    ),
    "chain too deep": Case(
        _too_deep,
        r"the chain of CN=SN-1 is too deep: expected at most one intermediate",
        r"refused this node: .*is too deep",
    ),
    "RSA 1024": Case(
        lambda: leaf(A, key="rsa1024"),
        r"a key that is too short|an RSA key of 1024 bits, expected 2048 to 4096",
        r"refused this node",
    ),
    "RSA 4104": Case(
        lambda: leaf(A, key="rsa4104"),
        r"has an RSA key of 4104 bits, expected 2048 to 4096",
        r"refused this node: .*an RSA key of 4104 bits",
    ),
    "RSA 16384": Case(
        lambda: leaf(A, key="rsa16384"),
        r"has an RSA key of 16384 bits, expected 2048 to 4096",
        r"refused this node: .*an RSA key of 16384 bits",
    ),
    "another curve": Case(
        lambda: leaf(A, key="p384"),
        r"has a key on curve secp384r1, expected P-256",
        r"refused this node: .*on curve secp384r1",
    ),
    "revoked": Case(
        lambda: leaf(A),
        r"the certificate CN=SN-1 was revoked by its CA on ",
        r"refused this node: .*was revoked by its CA",
        crls=lambda pair: (crl(A, pair),),
    ),
}
