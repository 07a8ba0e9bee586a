"""How the two ends of a data connection speak, and what both do with a socket.

Used by `data_client` and `data_server` alone, after the handshake of `runtime/tls`. The client asks and then only
reads; the server reads one request and then only writes: one thread a side is enough, and none waits for its own end.

    request   frame {"version", "want"}
    reply     items, each with a u32 header:
                0              nothing yet, but this end lives
                1 … PIECE      so many bytes of the range, in order
                END            a frame follows: {"trailer"} = all bytes were sent, or {"error"} = they will not come
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from swarm.core.tensors import NBYTES_MAX
from swarm.errors import BadInput, Unreachable
from swarm.wire import frame

VERSION = 1
HEADER = struct.Struct(">I")
ALIVE = HEADER.pack(0)
END = 0xFFFF_FFFF
PIECE = 1 << 20
FRAME_CAP = 16 << 10
SLICE = 256 << 10
"""Handed to TLS at once. A call that POLL_S ends may have moved some of it, but counts as having moved nothing."""
POLL_S = 0.25
"""How often a blocked call looks up: for a cancelled transfer, a failed region, a stall."""

ROLES = ("sl",)
"""Whose certificates are taken here; which of them may have what is the serving node's matter."""

KINDS = ("offer", "leaves", "distances", "shard", "model")


@dataclass(frozen=True, slots=True)
class Want:
    """Bytes ``start`` to ``stop`` of an offer (by round and digest), a shard (round, attempt) or a model (digest).

    "distances": of what the owners of shards say about them, one after the other (`core/exchanging_places`).
    "leaves": of the hashes of an offer's leaves, which stand one after the other; what shows that they belong to its
    Merkle root comes with them.
    """

    contract: str
    round: int
    what: str
    attempt: int
    digest: str
    start: int
    stop: int

    def to_wire(self) -> list[Any]:
        return [self.contract, self.round, self.what, self.attempt, self.digest, self.start, self.stop]

    @classmethod
    def from_wire(cls, wire: Any) -> Want:
        """Raises BadInput on anything that is no request for a range."""
        match wire:
            case [str(contract), int(round_), str(what), int(attempt), str(digest), int(start), int(stop)]:
                if what in KINDS and 0 <= start <= stop <= NBYTES_MAX and max(len(contract), len(digest)) <= 256:
                    return cls(contract, round_, what, attempt, digest, start, stop)
        raise BadInput("a request for data that is none was received: expected a contract, a kind and a range of bytes")

    def __str__(self) -> str:
        return f"the {self.what} of round {self.round} of contract {self.contract}"


class Broken(Unreachable):
    """The connection ended or fell silent in mid-transfer."""


class Gone(Broken):
    """Nobody listens at the address."""


Check = Callable[[float], None]
"""Called every POLL_S while a socket call is blocked, with the seconds since it last moved a byte; raises to end it.
Who receives calls it also when less came than was waited for: no trickle keeps a limit from being looked at."""


def prepare(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def wake(sock: socket.socket) -> None:
    """Let a thread that is blocked on the socket find it ended."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def send_all(sock: ssl.SSLSocket, data: bytes | memoryview, check: Check) -> None:
    view, quiet_s = memoryview(data), 0.0
    while view:
        try:
            view, quiet_s = view[sock.send(view[:SLICE]) :], 0.0
        except TimeoutError:  # nothing of the rest was taken: the same bytes are offered again
            quiet_s += POLL_S
            check(quiet_s)
        except OSError as error:
            raise Broken(f"the connection broke while sending: {error.strerror or error}") from error


def receive_into(sock: ssl.SSLSocket, view: memoryview, check: Check) -> None:
    """Fill the view. An end of the stream before that is an error, however clean it looks."""
    quiet_s = 0.0
    while view:
        try:
            count = sock.recv_into(view)
        except TimeoutError:
            quiet_s += POLL_S
            check(quiet_s)
            continue
        except OSError as error:
            raise Broken(f"the connection broke while receiving: {error.strerror or error}") from error
        if not count:
            raise Broken("the connection ended before all bytes were here")
        view, quiet_s = view[count:], 0.0
        if view:
            check(quiet_s)


def receive_header(sock: ssl.SSLSocket, check: Check) -> int:
    header = bytearray(HEADER.size)
    receive_into(sock, memoryview(header), check)
    return int(HEADER.unpack(header)[0])


def receive_frame(sock: ssl.SSLSocket, check: Check) -> Any:
    header = bytearray(frame.HEADER.size)
    receive_into(sock, memoryview(header), check)
    body = bytearray(frame.body_length(bytes(header), FRAME_CAP))
    receive_into(sock, memoryview(body), check)
    return frame.unpack_body(bytes(body))


# ---- bytes on the wire

_ACKED, _RECEIVED, _BUSY, _NO_WINDOW, _NO_BUFFER, _SENT, _RESENT = 120, 128, 168, 176, 184, 200, 208
"""Offsets of tcpi_bytes_acked, _received, _busy_time, _rwnd_limited, _sndbuf_limited, _bytes_sent and _retrans in
Linux's struct tcp_info."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes on the wire, below TLS. ``arrived``: of those sent, so many are known to be there; others are in queues.

    ``waited_us``: how long streams had something under way and neither end's processor in their way, each for itself.
    """

    sent: int = 0
    received: int = 0
    arrived: int = 0
    waited_us: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        sent, received, arrived = self.sent + other.sent, self.received + other.received, self.arrived + other.arrived
        return Traffic(sent, received, arrived, self.waited_us + other.waited_us)


class Meter:
    """Counts what a set of connections has moved, below TLS where the kernel tells (Linux), else as handed to TLS."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[ssl.SSLSocket] = set()
        self._closed = Traffic()
        self._handed_bytes = 0

    def opened(self, sock: ssl.SSLSocket) -> None:
        with self._lock:
            self._open.add(sock)

    def handed(self, nbytes: int) -> None:
        with self._lock:
            self._handed_bytes += nbytes

    def close(self, sock: ssl.SSLSocket) -> None:
        """Take the last reading and close the socket."""
        with self._lock:
            if sock in self._open:
                self._open.discard(sock)
                self._closed += _below_tls(sock)
        sock.close()

    @property
    def traffic(self) -> Traffic:
        with self._lock:
            return sum(map(_below_tls, self._open), start=self._closed)

    @property
    def bytes_sent(self) -> int:
        return self.traffic.sent or self._handed_bytes


def _below_tls(sock: ssl.SSLSocket) -> Traffic:
    if not hasattr(socket, "TCP_INFO"):
        return Traffic()
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return Traffic()
    if len(info) < _RESENT + 8:
        return Traffic()
    offsets = (_ACKED, _RECEIVED, _SENT, _RESENT, _BUSY, _NO_WINDOW, _NO_BUFFER)
    arrived, received, sent, resent, busy_us, *limited_us = (
        int.from_bytes(info[at : at + 8], "little") for at in offsets
    )
    return Traffic(sent - resent, received, arrived, busy_us - sum(limited_us))
