"""The asking end of the data plane.

Used by the exchange of a round and by whoever needs a model by its digest, from any thread. Guarantees: bytes are
received straight into the caller's memory; a connection carries one transfer at a time and is used again for the next
one of its (peer, lane), as long as its peer's certificate counts; a transfer that breaks is resumed where it stopped
until the peer has been silent for ``stall_s`` or cannot be dialled; a cancelled one costs its own connection and no
other.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from swarm.errors import IdentityError, Refused, Unreachable, from_wire
from swarm.runtime import tls
from swarm.runtime.data_protocol import (
    END,
    FRAME_CAP,
    PIECE,
    POLL_S,
    ROLES,
    VERSION,
    Broken,
    Gone,
    Meter,
    Traffic,
    Want,
    prepare,
    receive_frame,
    receive_header,
    receive_into,
    send_all,
    wake,
)
from swarm.runtime.dialling import Dialling
from swarm.runtime.validity import objection
from swarm.wire import frame

STALL_S = 8.0
SLICE = 64 << 10
TELL_S = 0.02
"""What slow peers send is told so finely, or so often: of a shard the next part may be merged."""
DIAL_S = 5.0
TRIES = 4
GONE_TRIES = 2
"""Nobody listens at the address: the process is gone, and others wait for somebody to say so."""
FIRST_PAUSE_S = 0.1
SWEEP_S = 5.0
UNUSED_S = 120.0
"""What no transfer has needed for so long was dialled for more at once than there are now."""
PATIENCE_S = 120.0
SLOWEST_BYTES_PER_S = 16 * 1024
"""A committed model lies ready: who sends signs of life instead of it, or a byte now and then, is given up. The parts
of a round may have to be waited for, and the ledger ends that."""

Progress = Callable[[int], None]


class FetchStopped(Exception):
    """The caller's own stop ended the transfer."""


class Stop:
    """Ends a transfer from another thread, at once wherever it is blocked, and tells when its last byte is written."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._set = False
        self._sock: ssl.SSLSocket | None = None

    def set(self) -> None:
        with self._changed:
            self._set = True
            if self._sock is not None:
                wake(self._sock)
            self._changed.notify_all()

    def check(self) -> None:
        if self._set:
            raise FetchStopped

    def wait(self, timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._set, timeout_s)

    def settle(self) -> None:
        """Wait, after `set`, until nothing is received any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._sock is None)

    @contextlib.contextmanager
    def receiving(self, sock: ssl.SSLSocket) -> Iterator[None]:
        with self._changed:
            self.check()
            self._sock = sock
        try:
            yield
        finally:
            with self._changed:
                self._sock = None
                self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class Line:
    """One open connection, after the handshake."""

    sock: ssl.SSLSocket
    peer: tls.Peer


class DataClient:
    """Connections are kept from one transfer to the next, while their peers live and they are used, until `close`."""

    def __init__(self, local: tls.Local) -> None:
        self._local = local
        self._meter = Meter()
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str, str], list[tuple[float, Line]]] = {}
        """Since when each is unused; the one that was used last at the end."""
        self._swept_s = monotonic()
        self._closed = threading.Event()
        self.dialling = Dialling(local.lateness)
        self.rtt_s: dict[str, float] = {}
        """Round trips to nodes, by uid, as measured when they were last dialled."""

    @property
    def traffic(self) -> Traffic:
        """Over all connections so far."""
        return self._meter.traffic

    @property
    def bytes_sent(self) -> int:
        """Requests and handshakes so far, below TLS."""
        return self._meter.bytes_sent

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            lines = [line for idle in self._idle.values() for _, line in idle]
            self._idle.clear()
        for line in lines:
            self._meter.close(line.sock)

    def fetch(
        self,
        address: str,
        uid: str,
        want: Want,
        into: memoryview,
        on_progress: Progress | None = None,
        stop: Stop | None = None,
        stall_s: float = STALL_S,
    ) -> bytes:
        """Fill ``into`` with what is wanted from the node ``uid``; returns the trailer that came with it.

        ``on_progress`` is called in this thread with the end of the bytes that are here, piece by piece, and with the
        same end again when the peer has no more yet, but lives. Raises Refused with the peer's sentence, IdentityError
        when it is another one, Unreachable when it is silent or gone, and FetchStopped after ``stop``.
        """
        assert into.nbytes == want.stop - want.start, (into.nbytes, want)
        return Transfer(self, address, uid, want, into.cast("B"), on_progress, stop, stall_s).run()

    # ---- connections, for transfers

    def check_open(self) -> None:
        if self._closed.is_set():
            raise FetchStopped

    def take(self, address: str, uid: str, lane: str) -> Line | None:
        """One that is kept, and whose peer would be let in again: else the next handshake says why not."""
        while True:
            with self._lock:
                idle = self._idle.get((address, uid, lane))
                line = idle.pop()[1] if idle else None
            if line is None or objection(self._local.credentials, line.peer) is None:
                return line
            self.drop(line)

    def give_back(self, address: str, lane: str, line: Line) -> None:
        now_s = monotonic()
        with self._lock:
            if self._closed.is_set():
                over = [line]
            else:
                self._idle.setdefault((address, line.peer.uid, lane), []).append((now_s, line))
                over = self._swept(now_s)
        for each in over:
            self.drop(each)

    def _swept(self, now_s: float) -> list[Line]:
        """Now and then: those that have ended (a peer says nothing unasked), or that nothing needed for a while.

        A swarm whose members come and go would have ever more of them."""
        if now_s - self._swept_s < SWEEP_S:
            return []
        self._swept_s = now_s
        ended = select.poll()
        for idle in self._idle.values():
            for _, line in idle:
                ended.register(line.sock, select.POLLIN)
        speaking = {fd for fd, _ in ended.poll(0)}
        over = []
        for key, idle in list(self._idle.items()):
            kept = []
            for since_s, line in idle:
                if line.sock.fileno() in speaking or now_s - since_s >= UNUSED_S:
                    over.append(line)
                else:
                    kept.append((since_s, line))
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]
        return over

    def drop(self, line: Line) -> None:
        self._meter.close(line.sock)

    def dial(self, address: str, uid: str) -> Line:
        host, _, port = address.rpartition(":")
        began_s = monotonic()
        try:
            sock = socket.create_connection((host.strip("[]"), int(port)), timeout=DIAL_S)
            self.rtt_s[uid] = monotonic() - began_s
        except ConnectionRefusedError as error:
            raise Gone(f"no connection to {address}: {error.strerror}") from error
        except (OSError, ValueError, OverflowError) as error:
            raise Broken(f"no connection to {address}: {getattr(error, 'strerror', None) or error}") from error
        prepare(sock)
        try:
            secured, peer = tls.handshake_socket(sock, self._local, dialler=True, expected_uid=uid, roles=ROLES)
        except Unreachable as error:
            raise Broken(error.message) from error
        secured.settimeout(POLL_S)
        self._meter.opened(secured)
        return Line(secured, peer)

    def sent(self, nbytes: int) -> None:
        self._meter.handed(nbytes)


class Transfer:
    """One fetch: as many connections, one after the other, as it takes."""

    def __init__(
        self,
        client: DataClient,
        address: str,
        uid: str,
        want: Want,
        into: memoryview,
        on_progress: Progress | None,
        stop: Stop | None,
        stall_s: float,
    ) -> None:
        self._client = client
        self._address = address
        self._uid = uid
        self._want = want
        self._into = into
        self._on_progress = on_progress
        self._stop = stop or Stop()
        self._stall_s = stall_s
        self._at = want.start
        self._began = self._told_s = monotonic()
        self._whom = f"node {uid[:8]} at {address}"

    def run(self) -> bytes:
        tries, pause_s, reached, began = 0, FIRST_PAUSE_S, self._at, monotonic()
        while True:
            line = self._client.take(self._address, self._uid, self._want.what)
            fresh = line is None
            try:
                line = line or self._dial()
                return self._over(line)
            except Broken as error:
                self._check(0.0)  # a stop looks like a break
                if self._at > reached:
                    tries, pause_s, reached, began = 0, FIRST_PAUSE_S, self._at, monotonic()
                if not fresh:  # an idle connection may have ended long ago
                    continue
                tries += 1
                enough = GONE_TRIES if isinstance(error, Gone) else TRIES
                if tries >= enough or monotonic() - began >= self._stall_s:
                    raise Unreachable(
                        f"{self._want} did not come from {self._whom}: {error.message} (tried {tries} times, "
                        f"{self._at - self._want.start} of {self._want.stop - self._want.start} bytes are here)"
                    ) from error
            except IdentityError as error:
                raise IdentityError(f"{self._want} was not taken from {self._whom}: {error.message}") from error
            self._stop.wait(pause_s)
            pause_s *= 2
            self._check(0.0)

    def _dial(self) -> Line:
        with self._client.dialling.turn(lambda: self._check(0.0)):
            return self._client.dial(self._address, self._uid)

    def _over(self, line: Line) -> bytes:
        """The rest of the bytes over one connection, which is kept when all went well and closed otherwise."""
        self._whom = f"{line.peer} at {self._address}"
        kept = False
        try:
            with self._stop.receiving(line.sock):
                self._ask(line.sock)
                while (length := receive_header(line.sock, self._check)) != END:
                    self._check(0.0)
                    self._receive(line.sock, length)
                body = receive_frame(line.sock, self._check)
            trailer = self._ended(body)
            kept = True
            return trailer
        finally:
            if kept:
                self._client.give_back(self._address, self._want.what, line)
            else:
                self._client.drop(line)

    def _ask(self, sock: ssl.SSLSocket) -> None:
        rest = replace(self._want, start=self._at)
        request = frame.pack({"version": VERSION, "want": rest.to_wire()}, FRAME_CAP)
        send_all(sock, request, self._check)
        self._client.sent(len(request))

    def _receive(self, sock: ssl.SSLSocket, length: int) -> None:
        if length > min(PIECE, self._want.stop - self._at):
            raise Refused(f"{self._whom} sent {length} bytes more of {self._want} than were asked for")
        upto = self._at + length
        while True:
            first = self._at - self._want.start
            count = min(upto - self._at, SLICE)
            receive_into(sock, self._into[first : first + count], self._check)
            self._at += count
            if (count and self._at == upto) or monotonic() - self._told_s >= TELL_S:  # signs of life come at any rate
                self._tell()
            if self._at == upto:
                return

    def _tell(self) -> None:
        self._told_s = monotonic()
        if self._on_progress is not None:
            self._on_progress(self._at)

    def _ended(self, body: Any) -> bytes:
        match body:
            case {"trailer": bytes(trailer)} if self._at == self._want.stop:
                return trailer
            case {"error": {"message": str()} as error}:
                refusal = from_wire(error)
                raise type(refusal)(f"{self._whom} does not serve {self._want}: {refusal.message}", hint=refusal.hint)
        raise Refused(f"{self._whom} ended {self._want} early, with {self._want.stop - self._at} bytes to come")

    def _check(self, quiet_s: float) -> None:
        self._client.check_open()
        self._stop.check()
        patience_s = PATIENCE_S + (self._at - self._want.start) / SLOWEST_BYTES_PER_S
        if self._want.what == "model" and monotonic() - self._began >= patience_s:
            raise Unreachable(
                f"{self._whom} sent {self._at - self._want.start} bytes of {self._want} in {patience_s:.0f} s"
            )
        if quiet_s >= self._stall_s:
            raise Unreachable(f"{self._whom} fell silent in {self._want}: no byte for {self._stall_s:.0f} s")
