"""libp2p's only security protocol here: `runtime.tls` over a raw connection.

Used by `runtime.mesh`. Guarantees: libp2p can negotiate nothing weaker, because nothing else is offered; the session's
PeerId is that of the proved node key; a frame that has begun to be written is written to its end, whoever is cancelled
meanwhile (half a frame would destroy the connection for all its streams); an end without TLS's own farewell is an
error, not an end.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import trio
from libp2p.abc import IRawConnection, ISecureConn, ISecureTransport
from libp2p.connection_types import ConnectionType
from libp2p.crypto.ed25519 import Ed25519PublicKey
from libp2p.crypto.keys import KeyPair
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.base_session import BaseSession
from libp2p.security.exceptions import HandshakeFailure
from multiaddr import Multiaddr

from swarm.core.names import ROLES
from swarm.errors import IdentityError, SwarmError, Unreachable
from swarm.runtime.tls import (
    HANDSHAKE_BYTES,
    Local,
    Peer,
    address_text,
    handshake,
    too_much,
    too_slow,
)
from swarm.wire.binding import NoNetworkYet

PROTOCOL = TProtocol("/swarm/mtls/1")

_PIECE = 1 << 18
_RECORD = 1 << 14
_FAREWELL_S = 0.5
_UNACKNOWLEDGED_MS = 10_000

log = logging.getLogger("swarm.mesh")


@dataclass
class Tally:
    """Of all connections of a mesh: the bytes handed to TCP, which are those below TLS."""

    bytes_sent: int = 0


class Raw(RawConnection):
    """A TCP connection that counts what a stranger sends, and remembers why it was refused."""

    def __init__(self, stream: trio.SocketStream, *, initiator: bool, tally: Tally | None = None) -> None:
        super().__init__(TrioTCPStream(stream), initiator, ConnectionType.DIRECT)
        self.host, port = _address(stream)
        self.who = address_text(self.host, port)
        self._tcp = stream
        self._tally = tally or Tally()
        self.refusal: SwarmError | None = None
        self.first = b""
        """How the other side began, when it was a stranger: tells what it is if it is none of us."""
        self._budget: int | None = HANDSHAKE_BYTES
        _set_keepalive(stream)

    async def write(self, data: bytes) -> None:
        """libp2p's has a lock; whoever writes here holds one."""
        self._tally.bytes_sent += len(data)
        try:
            await self._tcp.send_all(data)
        except trio.BrokenResourceError as error:
            raise ConnectionClosedError(f"{self.who} reset the connection: {error}") from error
        except trio.ClosedResourceError:
            return  # closed here, on purpose

    async def read(self, n: int | None = None) -> bytes:
        if self._budget is None:
            return await self._receive(n)
        data = await super().read(min(n or _PIECE, HANDSHAKE_BYTES))
        self.first += data[: 4 - len(self.first)]
        self._budget -= len(data)
        if self._budget < 0:
            self.refusal = too_much(self.who)
            raise self.refusal
        return data

    async def _receive(self, n: int | None) -> bytes:
        """Of one reader, so without libp2p's lock; waiting first, so without trio's try and its turn of the loop."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._tcp.socket.fileno())
                with contextlib.suppress(BlockingIOError):
                    return os.read(self._tcp.socket.fileno(), n or _PIECE)
        except trio.ClosedResourceError:
            return b""
        except (OSError, ValueError) as error:
            if self._tcp.socket.fileno() < 0:
                return b""  # closed here, on purpose
            raise ConnectionClosedError(f"{self.who} reset the connection: {error}") from error

    def write_now(self, data: bytes) -> int:
        """How much of it the system takes at once. What is wrong with the connection shows when the rest is written."""
        try:
            count = os.write(self._tcp.socket.fileno(), data)
        except OSError:
            return 0
        self._tally.bytes_sent += count
        return count

    def trust(self) -> None:
        """The handshake is over: no more counting."""
        self._budget = None

    @property
    def is_trusted(self) -> bool:
        return self._budget is None

    async def finish(self) -> None:
        """Say that nothing more comes from here, and go on reading."""
        await self._tcp.send_eof()

    def get_remote_address(self) -> tuple[str, int] | None:
        host, _, port = self.who.rpartition(":")
        return host.strip("[]"), int(port)


def _address(stream: trio.SocketStream) -> tuple[str, int]:
    try:
        name = stream.socket.getpeername()
    except OSError:  # it has gone already
        return "0.0.0.0", 0
    return str(name[0]), int(name[1])


def _set_keepalive(stream: trio.SocketStream) -> None:
    """A shielded write must not hang for ever on a host that has vanished."""
    with contextlib.suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)


class SwarmTls(ISecureTransport):
    def __init__(self, local: Local, keys: KeyPair, roles: Sequence[str] = ROLES) -> None:
        self._local, self._keys, self._roles = local, keys, roles

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        return await self._secure(conn, dialler=False, expected=None)

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        return await self._secure(conn, dialler=True, expected=str(peer_id))

    async def probe(self, conn: Raw) -> Peer:
        """The handshake of a dialler who knows the address only; the connection is closed afterwards."""
        session = await self._secure(conn, dialler=True, expected=None)
        await session.close()
        return session.peer

    async def _secure(self, conn: IRawConnection, *, dialler: bool, expected: str | None) -> Session:
        assert isinstance(conn, Raw), type(conn)
        try:
            # Whoever dials has a deadline of its own for all of it, and waits for the turns of the other side.
            with trio.fail_after(math.inf if dialler else self._local.handshake_s):
                session = await self._shake(conn, dialler=dialler, expected=expected)
            conn.trust()
            return session
        except BaseException as error:
            with trio.CancelScope(shield=True), trio.move_on_after(_FAREWELL_S):
                if isinstance(error, IdentityError | NoNetworkYet):
                    await _linger(conn)
            with trio.CancelScope(shield=True):
                await conn.close()
            if isinstance(error, trio.Cancelled) or not isinstance(error, Exception):
                raise
            conn.refusal = conn.refusal or _as_refusal(error, conn.who, self._local.handshake_s)
            # libp2p knows only its own failures; whoever dialled reads the cause from the raw connection.
            raise HandshakeFailure(conn.refusal.message) from error

    async def _shake(self, conn: Raw, *, dialler: bool, expected: str | None) -> Session:
        credentials = self._local.credentials
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = credentials.client_context() if dialler else credentials.server_context()
        tls = context.wrap_bio(incoming, outgoing, server_side=not dialler)
        steps = handshake(tls, self._local, dialler=dialler, who=conn.who, expected=expected, roles=self._roles)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                peer: Peer = stop.value
                await _flush(outgoing, conn)
                return Session(tls, incoming, outgoing, conn, peer, self._keys)
            except SwarmError:
                with trio.move_on_after(_FAREWELL_S), contextlib.suppress(Exception):
                    await _flush(outgoing, conn)
                raise
            await _flush(outgoing, conn)
            data = await conn.read(_PIECE)
            if data:
                incoming.write(data)
            else:
                incoming.write_eof()


async def _flush(outgoing: ssl.MemoryBIO, conn: Raw) -> None:
    if outgoing.pending:
        await conn.write(outgoing.read())


async def _linger(conn: Raw) -> None:
    """Closing with unread bytes would send a reset, which overtakes and destroys what we have just said."""
    with contextlib.suppress(Exception):
        await conn.finish()
        while await RawConnection.read(conn, _PIECE):
            pass


def _as_refusal(error: Exception, who: str, deadline_s: float) -> SwarmError:
    if isinstance(error, SwarmError):
        return error
    if isinstance(error, trio.TooSlowError):
        return too_slow(who, deadline_s)
    return Unreachable(f"{who} closed the connection during the handshake")


class Session(BaseSession):
    """One secured connection: TLS records over the raw connection, and who is at its other end."""

    def __init__(
        self,
        tls: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        raw: Raw,
        peer: Peer,
        keys: KeyPair,
    ) -> None:
        public = Ed25519PublicKey.from_bytes(peer.node_key)
        super().__init__(
            local_peer=ID.from_pubkey(keys.public_key),
            local_private_key=keys.private_key,
            remote_peer=ID.from_pubkey(public),
            remote_permanent_pubkey=public,
            is_initiator=raw.is_initiator,
        )
        self.peer, self.raw = peer, raw
        self._tls, self._incoming, self._outgoing = tls, incoming, outgoing
        self._write_lock = trio.Lock()
        self._unsent = b""
        self._closed = False

    @property
    def is_stuck(self) -> bool:
        """Part of what ``write_now`` took waits for ``flush``."""
        return bool(self._unsent)

    def write_now(self, data: bytes) -> bool:
        """Take all of it, without a turn of the loop; False, and nothing of it, when others write or it is much.

        What the system does not take at once goes with the next write: who is told that it ``is_stuck`` flushes.
        """
        if len(data) > _RECORD or self._closed or self._unsent or self._write_lock.locked():
            return False
        try:
            self._tls.write(data)
        except ssl.SSLError:  # the other side has vanished: who writes it with ``write`` is told
            return False
        record = self._outgoing.read()
        self._unsent = record[self.raw.write_now(record) :]
        return True

    async def flush(self) -> None:
        await self.write(b"")

    async def write(self, data: bytes) -> None:
        async with self._write_lock:
            if self._closed:
                raise ConnectionClosedError(f"the connection to {self.peer} at {self.raw.who} was closed here")
            with trio.CancelScope(shield=True):
                if unsent := self._unsent:
                    self._unsent = b""
                    await self.raw.write(unsent)
                rest = memoryview(data)
                while rest:
                    rest = rest[self._encrypt(rest[:_PIECE]) :]
                    await self.raw.write(self._outgoing.read())

    def _encrypt(self, data: memoryview) -> int:
        try:
            return self._tls.write(data)
        except ssl.SSLError as error:
            raise self._broken(error) from None

    async def read(self, n: int | None = None) -> bytes:
        """n bytes, or fewer at the end; without n what there is. libp2p gives up on many short reads."""
        if n is None:
            return await self._read_some(_RECORD)
        parts: list[bytes] = []
        missing = n
        while missing and (piece := await self._read_some(missing)):
            parts.append(piece)
            missing -= len(piece)
        return b"".join(parts)

    async def _read_some(self, n: int) -> bytes:
        data = self._decrypted(n) if self._incoming.pending or self._tls.pending() else None
        while data is None and not self._closed:
            if piece := await self.raw.read(_PIECE):
                self._incoming.write(piece)
            else:
                self._incoming.write_eof()
            data = self._decrypted(n)
        return data or b""

    def _decrypted(self, n: int) -> bytes | None:
        """At most one record; b"" after the other side's close_notify, None before a whole record is here."""
        try:
            return self._tls.read(n)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            raise self._broken(error) from None

    def _broken(self, error: ssl.SSLError) -> ConnectionClosedError:
        return ConnectionClosedError(f"TLS of {self.peer} at {self.raw.who} broke: {error}")

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with trio.CancelScope(shield=True):
            if not self._write_lock.locked():  # else the raw connection is stuck, and so would we be
                with trio.move_on_after(_FAREWELL_S), contextlib.suppress(Exception):
                    async with self._write_lock:
                        with contextlib.suppress(ssl.SSLError):
                            self._tls.unwrap()  # "no answer yet": close_notify lies in the outgoing memory
                        await _flush(self._outgoing, self.raw)
            await self.raw.close()

    async def abort(self) -> None:
        """Close without a farewell: wakes a write that hangs on a frozen peer."""
        self._closed = True
        with trio.CancelScope(shield=True):
            await self.raw.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self.raw.get_remote_address()

    def get_transport_addresses(self) -> list[Multiaddr]:
        return self.raw.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        return self.raw.get_connection_type()
