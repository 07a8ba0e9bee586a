"""A network switch in user space: frames between TAP devices, with delay, loss, rate and cuts, changed live.

The kernel's own (tc netem) is missing on many machines. Started by `nodes/bench/hosts` as a process of its own:

    python -m swarm.nodes.bench.switch SEED packets|bursts TAP...        ports are numbered from 1, in this order

A frame takes three links, one after the other: from its port to the middle of the switch, from this port to that one,
and from the middle to that one. The first and the last are shared by all that passes the port.

Its standard input is a socket of packets (SOCK_SEQPACKET): it says once that it is ready, answers every order, and its
end ends the switch. Guarantees: frames of one link stay in order; what a link loses, and what its jitter is, depends on
the seed, the link and the number of the frame only; a link holds no more than its queue.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from itertools import count, permutations
from typing import Any

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
TUNSETOFFLOAD, TUN_F_CSUM, TUN_F_TSO4 = 0x400454D0, 1, 2
IFF_VNET_HDR = 0x4000
BURST = struct.Struct("=BBHHHH")
"""What a TAP device puts before each frame of a burst (struct virtio_net_hdr): third and fourth are the length of the
headers and of what each packet carries behind a copy of them, 0 for a single packet."""
FRAME_MAX = 65536 + BURST.size
FRAMES_A_TURN = 64
MIDDLE = 0
"""The other end of the link that all frames of a port share."""
GROUP_BIT = 1  # of a MAC address' first byte: broadcast and multicast

Order = dict[str, Any]


@dataclass
class Link:
    """One direction between two ports, and what became of the frames that took it."""

    chance: random.Random
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Up to this much is added to the delay, anew for each frame; none overtakes another."""
    loss: float = 0.0
    rate_bps: float = 0.0
    """Bits a second; 0: as fast as it goes."""
    queue_bytes: int = 256 * 1024
    """What waits for a link with a rate; what comes on top is dropped."""
    longest_bytes: int = 0
    """A longer frame is dropped without a word, as where a tunnel takes no such packets; 0: none is too long."""
    cut: bool = False
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("passed", "lost", "dropped", "cut"), 0))
    _busy_until: float = 0.0
    _last_due: float = 0.0

    SETTABLE = ("delay_s", "jitter_s", "loss", "rate_bps", "queue_bytes", "longest_bytes", "cut")

    def carry(self, size: int, now: float) -> float | None:
        """When a frame of this size, sent now, arrives; None: never."""
        is_lost, jitter_s = self.chance.random() < self.loss, self.chance.random() * self.jitter_s
        leaves = now
        if self.rate_bps:
            leaves = max(now, self._busy_until) + size * 8 / self.rate_bps
        fits = not self._is_full(now) and not 0 < self.longest_bytes < size
        fate = "cut" if self.cut else "lost" if is_lost else "passed" if fits else "dropped"
        self.counts[fate] += 1
        if fate in ("cut", "dropped"):
            return None
        self._busy_until = leaves
        if fate == "lost":
            return None
        self._last_due = max(self._last_due, leaves + self.delay_s + jitter_s)
        return self._last_due

    def _is_full(self, now: float) -> bool:
        return self.rate_bps > 0 and (self._busy_until - now) * self.rate_bps / 8 > self.queue_bytes


class Switch:
    """What it does with frames; ports, clock and orders are its caller's."""

    def __init__(self, ports: int, seed: int, *, bursts: bool = False) -> None:
        pairs = permutations(range(MIDDLE, ports + 1), 2)
        self.links = {pair: Link(random.Random(f"{seed} {pair[0]} {pair[1]}")) for pair in pairs}
        self._ports = range(1, ports + 1)
        self._header = BURST.size if bursts else 0
        self._behind: dict[bytes, int] = {}  # MAC address → port
        self._under_way: list[tuple[float, int, int, bytes, tuple[Link, ...]]] = []
        self._number = count()

    def take(self, port: int, frame: bytes, now: float) -> None:
        """A frame has come in at a port."""
        at = self._header
        to, sender = frame[at : at + 6], frame[at + 6 : at + 12]
        self._behind[sender] = port
        known = None if to[0] & GROUP_BIT else self._behind.get(to)
        for target in self._ports if known is None else (known,):
            if target != port:
                way = ((port, MIDDLE), (port, target), (MIDDLE, target))
                self._pass(now, target, frame, tuple(self.links[pair] for pair in way))

    def _pass(self, now: float, target: int, frame: bytes, way: tuple[Link, ...]) -> None:
        """On to the next link of its way; through those that take no time, at once."""
        size = length_of(frame) if self._header else len(frame)
        while way and (due := way[0].carry(size, now)) is not None:
            way = way[1:]
            if due > now or not way:
                heapq.heappush(self._under_way, (due, next(self._number), target, frame, way))
                return

    @property
    def next_due(self) -> float | None:
        return self._under_way[0][0] if self._under_way else None

    def arrived(self, now: float) -> list[tuple[int, bytes]]:
        """(port, frame) of all that are due, in their order."""
        frames = []
        while self._under_way and self._under_way[0][0] <= now:
            due, _, port, frame, way = heapq.heappop(self._under_way)
            if way:
                self._pass(due, port, frame, way)
            else:
                frames.append((port, frame))
        return frames

    def obey(self, order: Order) -> Order:
        """{"set": {…}, "links": [[from, to]…]} changes these links; {"count": [[from, to]…]} tells of them."""
        for pair in order.get("links", ()):
            for name, value in order["set"].items():
                assert name in Link.SETTABLE, name
                setattr(self.links[tuple(pair)], name, value)
        return {"counts": [self.links[tuple(pair)].counts for pair in order.get("count", ())]}


def length_of(burst: bytes) -> int:
    """Bytes on the wire: every packet of a burst but the first repeats the headers."""
    carried: int = BURST.unpack_from(burst)[3]
    length = len(burst) - BURST.size
    if not carried:
        return length
    internet = BURST.size + 14
    transport = internet + (burst[internet] & 15) * 4
    headers = transport + (burst[transport + 12] >> 4) * 4 - BURST.size
    return length + ((length - headers - 1) // carried) * headers


def open_tap(name: str, *, bursts: bool) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if bursts else 0)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", name.encode(), flags))
    if bursts:
        fcntl.ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
    return tap


def serve(switch: Switch, taps: list[int], orders: socket.socket) -> None:
    """Until nobody can give orders any more."""
    poll = select.epoll()
    poll.register(orders.fileno(), select.EPOLLIN)
    for tap in taps:
        poll.register(tap, select.EPOLLIN)
    while True:
        due, now = switch.next_due, time.monotonic()
        ready = poll.poll(None if due is None else max(0.0, due - now))
        for descriptor, _ in ready:
            if descriptor != orders.fileno():
                _drain(switch, taps, descriptor, poll)
            elif order := orders.recv(FRAME_MAX):
                orders.send(json.dumps(switch.obey(json.loads(order))).encode())
            else:
                return
        for port, frame in switch.arrived(time.monotonic()):
            try:
                os.write(taps[port - 1], frame)
            except OSError:
                continue  # its host's queue is full, or the host is gone: a lost frame, as on any network


def _drain(switch: Switch, taps: list[int], tap: int, poll: select.epoll) -> None:
    port = taps.index(tap) + 1
    for _ in range(FRAMES_A_TURN):
        try:
            frame = os.read(tap, FRAME_MAX)
        except BlockingIOError:
            return
        except OSError:  # its host is gone
            poll.unregister(tap)
            return
        switch.take(port, frame, time.monotonic())


def main() -> None:
    seed, kind, *names = sys.argv[1:]
    if kind == "bursts":  # to measure by: what waits for a processor here would be taken for a slower link
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    orders, bursts = socket.socket(fileno=0), kind == "bursts"
    taps = [open_tap(name, bursts=bursts) for name in names]
    orders.send(b"ready")
    serve(Switch(len(names), int(seed), bursts=bursts), taps, orders)


if __name__ == "__main__":
    main()
