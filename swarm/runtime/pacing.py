"""Pacing: a stream takes as long as it is told to, so that it is not in the way of others that have as far to go.

Used by the serving end of the data plane. TCP shares a link evenly in the end, and a round is over before that: what
its streams get depends on how each of them began. The kernel paces (SO_MAX_PACING_RATE), whatever its congestion
control; where there is no such thing, and where nodes are near each other, streams run as they like.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

SO_MAX_PACING_RATE = 47
"""Linux, asm-generic/socket.h: x86-64 and aarch64."""
UNLIMITED = 0xFFFF_FFFF
LEAST_BYTES_PER_S = 16 << 10
ROUND_TRIPS = 1000
"""What lasts longer than so many of them is shared evenly without it, and pacing costs processor time."""
_MIN_RTT = 148
"""Offset of tcpi_min_rtt, in microseconds, in Linux's struct tcp_info."""


def pace(sock: socket.socket, nbytes: int, even_s: float) -> None:
    """Have the kernel send what comes next, ``nbytes``, over so long a time; 0.0: as fast as it goes."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):  # sandboxes that only look like Linux have no such thing
        rate = bytes_per_s(nbytes, even_s, _min_rtt_s(sock))
        sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, struct.pack("=I", rate))


def bytes_per_s(nbytes: int, even_s: float, rtt_s: float) -> int:
    if not 0.0 < even_s < ROUND_TRIPS * rtt_s:
        return UNLIMITED
    return min(max(round(nbytes / even_s), LEAST_BYTES_PER_S), UNLIMITED)


def _min_rtt_s(sock: socket.socket) -> float:
    """The shortest round trip that the kernel has seen on this connection; 0.0: it does not say."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int(struct.unpack_from("=I", info, _MIN_RTT)[0]) / 1e6 if len(info) >= _MIN_RTT + 4 else 0.0
