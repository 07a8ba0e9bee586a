"""The serving end of the data plane: port 30305 of a learning node.

Opened by ``nodes/sl`` with a function that authorises a request and finds its region. Guarantees: one thread a
connection, so a slow or dead reader holds up nobody else; connections, request sizes and idle time are bounded; every
request is answered with bytes and an end, or with a sentence.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import select
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic

from swarm.errors import BadInput, InternalError, Refused, SwarmError
from swarm.runtime import tls
from swarm.runtime.data_protocol import (
    ALIVE,
    END,
    FRAME_CAP,
    HEADER,
    PIECE,
    POLL_S,
    ROLES,
    VERSION,
    Broken,
    Check,
    Meter,
    Traffic,
    Want,
    prepare,
    receive_frame,
    send_all,
    wake,
)
from swarm.runtime.data_region import NotYet, Region, Stranger
from swarm.runtime.door import Door
from swarm.runtime.doorstep import Doorstep
from swarm.runtime.pacing import pace
from swarm.runtime.turnstile import Turnstile
from swarm.runtime.validity import objection
from swarm.wire import frame

Find = Callable[[tls.Peer, Want], Region]
"""Authorises the peer and finds what it wants; raises Refused, or NotYet (of a stranger: Stranger) when the peer's view
may be ahead."""

CONNECTIONS_MAX = 1024
PER_PEER_MAX = 16
PER_ORGANISATION_MAX = 768
"""However many node keys it has: the rest of the places is for the others."""
ALIVE_EVERY_S = 1.0
LAG_S = 30.0
"""How long a peer may be ahead of this node with what it asks for."""
FIND_AGAIN_S = (0.02, 0.25)
"""The shortest and the longest pause between two looks for what is not there yet: an eighth of what was waited."""
TOGETHER = (16 << 10) - HEADER.size
"""So much of a piece goes with its header, as one TLS record. After a pause a packet with no more than a header in it
would have TCP (BBR) take its late answer for a reason to send next to nothing for a fifth of a second."""
READER_STALL_S = 30.0
"""How long a reader may take nothing at all before its connection is closed."""
IDLE_S = 240.0
"""How long a peer that was served may keep its connection until the next request is here: twice as long as a client
keeps a connection that it does not use (`data_client.UNUSED_S`). What a dead one has left half open is gone then."""
FIRST_S = 15.0
"""The same for one that was not, and is answered once."""
UNSERVED_MAX = 128
"""So many may be silent before their first request, or wait as strangers for what may come: who comes then takes the
place of whoever has been for longest. So who has a certificate, but is no member, keeps nobody out, and neither does
who comes too often."""

log = logging.getLogger("swarm.data")


class DataServer:
    """Listens from `start` to `close`."""

    def __init__(self, local: tls.Local, find: Find, host: str, port: int) -> None:
        self._local = local
        self._find = find
        self._address = (host, port)
        self._meter = Meter()
        self._doorstep = Doorstep()
        self._unserved = Doorstep(UNSERVED_MAX)
        self._turnstile = Turnstile()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._per_peer: Counter[str] = Counter()
        self._per_organisation: Counter[bytes] = Counter()
        self._acceptor: threading.Thread | None = None

    def start(self) -> None:
        host, port = self._address
        try:
            self._listener = socket.create_server((host, port), backlog=256)
        except OSError as error:
            hint = "choose another with --sl-fs-port, or 0 for any free one; is the node running already?"
            if error.errno == errno.EADDRINUSE:
                raise BadInput(f"port {port} of {host} is in use by another process", hint=hint) from None
            why = error.strerror or error
            raise BadInput(f"cannot listen on {tls.address_text(host, port)} for data: {why}", hint=hint) from None
        self._listener.settimeout(POLL_S)
        self._acceptor = threading.Thread(target=self._accept, name="data-accept", daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def traffic(self) -> Traffic:
        """Over all connections so far."""
        return self._meter.traffic

    @property
    def bytes_sent(self) -> int:
        """Over all connections so far, below TLS."""
        return self._meter.bytes_sent

    def close(self) -> None:
        """Ends all connections; their readers see a broken transfer."""
        self._closing.set()
        if self._acceptor is None:
            return
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            connections = dict(self._connections)
        for sock in connections.values():
            wake(sock)
        deadline = monotonic() + 2.0
        for thread in connections:
            thread.join(max(0.0, deadline - monotonic()))

    # ---- connections

    def _accept(self) -> None:
        with Door(log) as door:
            while not self._closing.is_set():
                with contextlib.suppress(TimeoutError):
                    self._let_in(*door.take(self._listener))

    def _let_in(self, sock: socket.socket, host: str) -> None:
        wait_s = self._turnstile.wait_s(host)
        if wait_s is None:
            sock.close()
            return
        thread = threading.Thread(target=self._run, args=(sock, wait_s), name="data-serve", daemon=True)
        with self._lock:
            full = len(self._connections) >= CONNECTIONS_MAX
            if not full:
                self._connections[thread] = sock
        if full:
            log.warning("a data connection was turned away: %d are open", CONNECTIONS_MAX)
            sock.close()
            return
        try:
            thread.start()
        except RuntimeError as error:  # the system has none left, for a moment or for long
            log.warning("a data connection was turned away: %s", error)
            sock.close()
            with self._lock:
                del self._connections[thread]

    def _run(self, sock: socket.socket, wait_s: float) -> None:
        try:
            self._closing.wait(wait_s)
            prepare(sock)
            with contextlib.closing(sock.dup()) as handle, self._doorstep.place(lambda: wake(handle)):
                secured, peer = tls.handshake_socket(sock, self._local, dialler=False, roles=ROLES)
            with self._lock:
                self._connections[threading.current_thread()] = secured
            self._meter.opened(secured)
            try:
                self._serve(secured, peer)
            finally:
                self._meter.close(secured)
        except (SwarmError, OSError) as error:
            log.debug("a data connection ended: %s", error)
        except Exception:
            log.exception("a data connection ended by a mistake of ours")
        finally:
            sock.close()
            with self._lock:
                del self._connections[threading.current_thread()]

    def _serve(self, sock: ssl.SSLSocket, peer: tls.Peer) -> None:
        sock.settimeout(POLL_S)
        crowded = self._count(peer, 1)
        try:
            with contextlib.ExitStack() as unserved:
                unserved.enter_context(self._unserved.place(lambda: wake(sock)))
                self._replies(sock, peer, crowded, unserved.close)
        finally:
            self._count(peer, -1)

    def _count(self, peer: tls.Peer, change: int) -> str:
        """Of whom there are too many connections now, if there are."""
        with self._lock:
            self._per_peer[peer.uid] += change
            self._per_organisation[peer.identity.anchor] += change
            if self._per_peer[peer.uid] > PER_PEER_MAX:
                return f"more than {PER_PEER_MAX} data connections of one node"
            if self._per_organisation[peer.identity.anchor] > PER_ORGANISATION_MAX:
                return f"more than {PER_ORGANISATION_MAX} data connections of {peer.identity.organisation}"
            return ""

    def _replies(self, sock: ssl.SSLSocket, peer: tls.Peer, crowded: str, known: Callable[[], None]) -> None:
        want = self._request(sock, FIRST_S)
        if crowded:
            self._end(sock, {"error": Refused(crowded).to_wire()})
            return
        while not self._closing.is_set():
            reply = Reply(sock, peer, self._find, self._meter, self._closing, known)
            if (why := objection(self._local.credentials, peer)) is not None:
                self._end(sock, {"error": why.to_wire()})
                return
            reply.run(want)
            if not reply.served:
                return
            want = self._request(sock, IDLE_S)

    def _request(self, sock: ssl.SSLSocket, within_s: float) -> Want:
        until_s = monotonic() + within_s

        def check(quiet_s: float) -> None:
            _check_open(self._closing)
            if monotonic() >= until_s:
                raise Broken(f"no whole request came in {within_s:.0f} s")

        request = receive_frame(sock, check)
        if not isinstance(request, dict) or request.get("version") != VERSION:
            error = BadInput(f"this node speaks version {VERSION} of the data protocol")
            self._end(sock, {"error": error.to_wire()})
            raise error
        try:
            return Want.from_wire(request.get("want"))
        except BadInput as error:
            self._end(sock, {"error": error.to_wire()})
            raise

    def _end(self, sock: ssl.SSLSocket, body: dict[str, object]) -> None:
        send_all(sock, HEADER.pack(END) + frame.pack(body, FRAME_CAP), _reading(self._closing))


class Reply:
    """The answer to one request. ``known`` is called once the peer is no stranger."""

    def __init__(
        self,
        sock: ssl.SSLSocket,
        peer: tls.Peer,
        find: Find,
        meter: Meter,
        closing: threading.Event,
        known: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._peer = peer
        self._find = find
        self._meter = meter
        self._closing = closing
        self._known = known
        self._region: Region | None = None
        self.served = False
        """The peer may have what it asked for."""

    def run(self, want: Want) -> None:
        try:
            self._region = region = self._await_region(want)
            self._known()
            self.served = True
            if not region.start <= want.start <= want.stop <= region.stop:
                raise Refused(
                    f"bytes {want.start} to {want.stop} of {want} were asked for, "
                    f"this node has {region.start} to {region.stop}"
                )
            body: dict[str, object] = {"trailer": self._stream(region, want)}
        except Broken:
            raise
        except SwarmError as error:
            body = {"error": error.to_wire()}
        except Exception:
            log.exception("a request for data failed by a mistake of ours")
            body = {"error": InternalError(f"{want} could not be served").to_wire()}
        self._region = None
        self._send(HEADER.pack(END) + frame.pack(body, FRAME_CAP))

    def _await_region(self, want: Want) -> Region:
        began_s = monotonic()
        shortest_s, longest_s = FIND_AGAIN_S
        while True:
            alive_at = monotonic() + ALIVE_EVERY_S
            while monotonic() < alive_at:
                try:
                    return self._find(self._peer, want)
                except NotYet as error:
                    if not isinstance(error, Stranger):
                        self._known()
                    waited_s = monotonic() - began_s
                    if waited_s >= LAG_S:
                        raise
                self._pause(min(max(shortest_s, waited_s / 8), longest_s))
            self._send(ALIVE)

    def _pause(self, pause_s: float) -> None:
        """Ended at once where the peer or this node ends the connection: who waits for an answer says nothing more."""
        line = select.poll()
        line.register(self._sock, select.POLLIN)
        if line.poll(pause_s * 1000):
            raise Broken("the connection ended while what was asked for was not there yet")

    def _stream(self, region: Region, want: Want) -> bytes:
        at = want.start
        pace(self._sock, want.stop - at, region.even_s)
        while at < want.stop:
            piece = region.piece(at, min(at + PIECE, want.stop), ALIVE_EVERY_S)
            self._send(HEADER.pack(len(piece)) + piece[:TOGETHER])
            self._send(piece[TOGETHER:])
            at += len(piece)
        if want.stop < region.stop:
            region.check()  # else what was sent may be something else already
            return b""  # what is said about all of the bytes goes with the last of them
        while (trailer := region.trailer(ALIVE_EVERY_S)) is None:
            self._send(ALIVE)
        return trailer

    def _send(self, data: bytes | memoryview) -> None:
        reading = _reading(self._closing)

        def check(quiet_s: float) -> None:
            reading(quiet_s)
            if self._region is not None:
                try:
                    self._region.check()
                except Refused as error:  # amid a piece there is no way to say so: the connection ends
                    raise Broken(error.message) from error

        send_all(self._sock, data, check)
        self._meter.handed(len(data))


def _check_open(closing: threading.Event) -> None:
    if closing.is_set():
        raise Broken("this node is closing")


def _reading(closing: threading.Event) -> Check:
    def check(quiet_s: float) -> None:
        _check_open(closing)
        if quiet_s >= READER_STALL_S:
            raise Broken(f"nothing was read for {READER_STALL_S:.0f} s")

    return check
