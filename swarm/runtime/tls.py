"""The one handshake: TLS 1.3 with certificates on both sides, then Hello and Proof inside.

Used by `runtime.mesh` (libp2p's only security protocol, over memory) and by `runtime.data` (plain sockets, TLS at the
first byte). Guarantees: nobody becomes a `Peer` without a certificate of an organisation in capath that passes
`wire.certs`, and without the node key it claims; 16 KiB and 5 s at most are spent on anybody (longer only where this
process itself gets its turns late: `core/lateness`); every refusal is one sentence here, and on the other side too as
far as TLS has come.

OpenSSL requires and verifies certificates on both sides; its STRICT and CRL flags stay off, because both refuse
certificates in HPE's form, and it looks at no clock. `wire.certs` then makes the full list of checks itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Generator, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from swarm.core import names
from swarm.core.fields import FIRST_RULES
from swarm.core.lateness import Turns
from swarm.core.names import ROLES, Identity
from swarm.core.rules import UPGRADE
from swarm.errors import Doubled, IdentityError, Outdated, Replaced, SwarmError, Unreachable
from swarm.runtime.credentials import Credentials
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tlserrors import from_alert, from_verification
from swarm.wire import certs
from swarm.wire.binding import NONCE_BYTES, Binding, Hello, OtherNetwork, Side, refusal

__all__ = ["HANDSHAKE_BYTES", "HANDSHAKE_S", "Credentials", "Local", "Peer", "handshake", "handshake_socket", "judged"]

HANDSHAKE_S = 5.0
HANDSHAKE_BYTES = 16384
_PARTING_S = 1.0

_Tls = ssl.SSLSocket | ssl.SSLObject
_Want = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Peer:
    """Another process, as the handshake has proved it."""

    identity: Identity
    node_key: bytes
    uid: str
    peer_id: str
    incarnation: bytes
    network_id: bytes
    chain: tuple[bytes, ...]
    """The certificates that it has shown, its own first."""

    @property
    def starts(self) -> int:
        """The start counter of its state directory."""
        return int.from_bytes(self.incarnation[:8], "big")

    def __str__(self) -> str:
        return f"{self.identity.name} ({self.identity.organisation})"


class _OtherOutdated(IdentityError):
    """Read on the other side, this is about its own release."""

    kind = Outdated.kind


class _OtherReplaced(Doubled):
    """Read on the other side, this is about its own place; here, about nobody's but that one's."""

    kind = Replaced.kind


class Acquaintances:
    """What this process knows of node keys: whose they are, and which incarnation is the last one.

    The ledger teaches it (`learn`), and has it forget (`keep_only`); conversations do, too. Safe to use from threads:
    the data plane has many.
    """

    _DOUBLES_MAX = 256
    _SEEN_MAX = 4096  # keys that only introduced themselves; those that the ledger knows are kept

    def __init__(self) -> None:
        self._seen: dict[bytes, Identity] = {}
        self._taught: dict[bytes, Identity] = {}
        self._last: dict[bytes, bytes] = {}
        self.removed: set[bytes] = set()
        """Node keys that the ledger has ended: of whatever release, they are let in to be told."""
        self.signed: dict[bytes, bytes] = {}
        """By node key: the farthest head that it has signed, of network nodes. A process turned away may have none."""
        self.doubles: dict[bytes, tuple[bytes, bytes]] = {}
        """By node key: the incarnation that was turned away last since another one lives, and the word of that one."""
        self.rules = FIRST_RULES
        """The version of the ledger's rules that the network follows: who does not know it is not let in."""
        self.departed = 0
        """When the ledger let go of nodes last, as it counts that."""
        self._lock = threading.Lock()

    def learn(self, node_key: bytes, identity: Identity, incarnation: bytes) -> None:
        """The ledger has let this process in: other identities and earlier incarnations of the key end."""
        self._taught[node_key] = identity
        self._last[node_key] = incarnation

    def keep_only(self, node_keys: Set[bytes]) -> None:
        """The ledger has let go of all others: they are strangers again, as to a process that has just begun."""
        for gone in self._taught.keys() - node_keys:
            del self._taught[gone]
            self._last.pop(gone, None)

    def replaced(self, peer: Peer) -> None:
        """This incarnation has taken the place of all others with its node key."""
        self._last[peer.node_key] = peer.incarnation

    def turned_away(self, peer: Peer) -> bytes:
        """Another process with its node key lives; what shows that to it."""
        other, word = self.doubles.pop(peer.node_key, (b"", b""))
        self.doubles[peer.node_key] = peer.incarnation, word if other == peer.incarnation else b""
        if len(self.doubles) > self._DOUBLES_MAX:
            del self.doubles[next(iter(self.doubles))]
        return self.doubles[peer.node_key][1] or self.signed.get(peer.node_key, b"")

    def admit(self, identity: Identity, hello: Hello, who: str) -> None:
        if hello.rules < self.rules and hello.node_key not in self.removed:
            raise _OtherOutdated(
                f"{who} runs a release that knows rules version {hello.rules} of the ledger, "
                f"this network follows version {self.rules}",
                hint=UPGRADE,
            )
        known = self._taught.get(hello.node_key) or self._seen.get(hello.node_key)
        if known is not None and not known.same_as(identity):
            raise IdentityError(
                f"{who} uses a node key that is known as {known}",
                hint="a state directory belongs to one certificate's name: use another --state DIR",
            )
        last = self._last.get(hello.node_key)
        if last is not None and last != hello.incarnation and hello.incarnation[:8] <= last[:8]:
            raise _OtherReplaced(
                f"{who} has been replaced: start {_starts(hello.incarnation)} of its node key came, "
                f"start {_starts(last)} has taken its place",
                hint="only the newest process of a state directory takes part; end this one",
            ).showing(self.signed.get(hello.node_key))

    def met(self, peer: Peer) -> None:
        with self._lock:
            if len(self._seen) >= self._SEEN_MAX:
                del self._seen[oldest := next(iter(self._seen))]
                if oldest not in self._taught:
                    self._last.pop(oldest, None)
            self._seen[peer.node_key] = peer.identity


@dataclass(slots=True)
class Local:
    """Everything of this process that a handshake needs."""

    credentials: Credentials
    state: StateDirectory
    acquaintances: Acquaintances = field(default_factory=Acquaintances)
    other_network: Callable[[Identity, OtherNetwork], None] = lambda identity, error: None
    """Hears of who calls and belongs to another network."""
    lateness: Turns = field(default_factory=Turns)

    @property
    def handshake_s(self) -> float:
        """How long one may take now: `HANDSHAKE_S`, and what this process adds to it by coming late itself."""
        return self.lateness.allows_s(HANDSHAKE_S)


def handshake(
    tls: _Tls, local: Local, *, dialler: bool, who: str, expected: str | None = None, roles: Sequence[str] = ROLES
) -> Generator[_Want, None, Peer]:
    """The whole handshake over a socket or memory that does not block: yields what it waits for, returns the peer.

    `expected` pins the other side's UID or PeerId. Raises IdentityError or Unreachable; the other side has been told
    why as far as it could be (what is written must still be sent by who drives this).
    """
    try:
        yield from _waiting(tls.do_handshake)
    except ssl.SSLCertVerificationError as error:
        raise from_verification(error, who) from None
    except (ssl.SSLError, OSError) as error:
        raise from_alert(error, who, local.credentials.leaf) from None
    binding: Binding | None = None
    try:
        identity, chain = judged(tls, local.credentials, who, roles)
        binding = Binding(
            _own_side(local),
            dialler=dialler,
            peer_leaf=chain[0],
            peer_name=f"{identity} at {who}",
            expected=expected,
            check=lambda hello: local.acquaintances.admit(identity, hello, f"{identity} at {who}"),
        )
        hello = yield from _bind(tls, binding)
    except (ssl.SSLError, OSError) as error:
        raise from_alert(error, who, local.credentials.leaf) from None
    except SwarmError as error:
        with contextlib.suppress(OSError):
            tls.write(binding.refusal(error) if binding is not None else refusal(error))
        if isinstance(error, OtherNetwork) and not dialler:
            local.other_network(identity, error)
        raise
    if not local.state.network_id:
        local.state.set_network_id(binding.network_id)
    peer = Peer(
        identity, hello.node_key, hello.uid, names.peer_id(hello.node_key), hello.incarnation, binding.network_id, chain
    )
    local.acquaintances.met(peer)
    return peer


def handshake_socket(
    sock: socket.socket,
    local: Local,
    *,
    dialler: bool,
    expected_uid: str | None = None,
    roles: Sequence[str] = ROLES,
    deadline_s: float | None = None,
) -> tuple[ssl.SSLSocket, Peer]:
    """The handshake on a connected TCP socket, TLS at the first byte; takes the socket over and closes it on failure.

    The returned socket blocks, without a timeout. The peer's network and node key are proved; what it may do is not.
    """
    deadline_s = local.handshake_s if deadline_s is None else deadline_s
    who, end = _address(sock), time.monotonic() + deadline_s
    context = local.credentials.client_context() if dialler else local.credentials.server_context()
    tls: ssl.SSLSocket | None = None
    try:
        sock.setblocking(False)
        tls = context.wrap_socket(
            sock, server_side=not dialler, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        steps = handshake(tls, local, dialler=dialler, who=who, expected=expected_uid, roles=roles)
        peer = _drive(tls, steps, who, end, deadline_s)
        tls.settimeout(None)
        return tls, peer
    except BaseException as error:
        if tls is None:
            sock.close()
        else:
            _part(tls, politely=isinstance(error, IdentityError))
        if isinstance(error, OSError):
            raise Unreachable(f"{who} broke the connection during the handshake: {error.strerror or error}") from None
        raise


# ---- the steps


def _waiting(step: Callable[[], Any]) -> Generator[_Want, None, Any]:
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            yield "read"
        except ssl.SSLWantWriteError:
            yield "write"


def _bind(tls: _Tls, binding: Binding) -> Generator[_Want, None, Hello]:
    while True:
        data = memoryview(binding.outgoing())
        while data:
            data = data[(yield from _waiting(partial(tls.write, data))) :]
        if binding.bound is not None:
            return binding.bound
        received = b""
        while len(received) < binding.need:
            piece = yield from _waiting(partial(tls.read, binding.need - len(received)))
            if not piece:
                raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "closed")
            received += piece
        binding.feed(received)


def judged(tls: _Tls, credentials: Credentials, who: str, roles: Sequence[str]) -> tuple[Identity, tuple[bytes, ...]]:
    """Whose certificate the other side of a finished TLS handshake has shown, and its chain; raises IdentityError."""
    chain = tuple(_chain(tls))
    try:
        identity = credentials.judge(chain)
    except IdentityError as error:
        raise type(error)(f"{who}: {error.message}", hint=error.hint) from None
    if identity.role not in roles:
        raise IdentityError(
            f"{identity} at {who} has the role {identity.role}, expected {' or '.join(roles)}",
            hint="the address belongs to another kind of node, or the node was started with another certificate",
        )
    return identity, chain


def _chain(tls: _Tls) -> list[bytes]:
    """What the other side has presented, leaf first."""
    if hasattr(tls, "get_unverified_chain"):  # Python 3.13
        return list(tls.get_unverified_chain())
    private: Any = tls._sslobj  # type: ignore[union-attr] # before 3.13 the method is there, but has no public name
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in private.get_unverified_chain()]


def _own_side(local: Local) -> Side:
    state = local.state
    return Side(
        node_key=state.node_key,
        incarnation=state.incarnation,
        network_id=state.network_id,
        nonce=os.urandom(NONCE_BYTES),
        leaf=local.credentials.leaf,
    )


def _starts(incarnation: bytes) -> int:
    return int.from_bytes(incarnation[:8], "big")


# ---- plain sockets


def _drive(tls: ssl.SSLSocket, steps: Generator[_Want, None, Peer], who: str, end: float, deadline_s: float) -> Peer:
    poll = select.poll()
    poll.register(tls, select.POLLIN)
    while True:
        try:
            wanted = next(steps)
        except StopIteration as stop:
            peer: Peer = stop.value
            return peer
        if _bytes_received(tls) > HANDSHAKE_BYTES:
            raise too_much(who)
        poll.modify(tls, select.POLLIN if wanted == "read" else select.POLLOUT)
        left_s = end - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise too_slow(who, deadline_s)


def too_much(who: str) -> IdentityError:
    return IdentityError(
        f"{who} sent more than {HANDSHAKE_BYTES} bytes in the handshake "
        f"(a certificate may have {certs.CERTIFICATE_MAX} bytes, a chain one intermediate)"
    )


def too_slow(who: str, deadline_s: float) -> Unreachable:
    return Unreachable(f"{who} did not finish the handshake within {deadline_s:.3g} s")


def _bytes_received(tls: socket.socket) -> int:
    """What the other side has sent so far, by the kernel's count; 0 where the kernel does not say.

    Without it OpenSSL's own limit (100 KiB of certificates) bounds the handshake. A dialler sends nothing of its own
    before it has read the listener's Proof, so nothing but handshake is counted here.
    """
    if not hasattr(socket, "TCP_INFO"):
        return 0
    info = tls.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int(struct.unpack_from("=Q", info, 128)[0]) if len(info) >= 136 else 0


def _part(tls: ssl.SSLSocket, *, politely: bool) -> None:
    """Close; when the other side was told why, only after it had the time to read it."""
    with contextlib.suppress(OSError, ValueError):
        if politely:
            # Closing with unread bytes would send a reset, which overtakes and destroys what we have just said.
            end = time.monotonic() + _PARTING_S
            socket.socket.shutdown(tls, socket.SHUT_WR)
            tls.setblocking(True)
            received = 0
            while received < 4 * HANDSHAKE_BYTES and (left_s := end - time.monotonic()) > 0:
                tls.settimeout(left_s)
                piece = socket.socket.recv(tls, 4096)
                if not piece:
                    break
                received += len(piece)
    tls.close()


def _address(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return "an address that is gone"
    return address_text(name[0], name[1]) if isinstance(name, tuple) else "a local socket"


def address_text(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
