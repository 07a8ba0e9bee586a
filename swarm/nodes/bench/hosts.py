"""Hosts on one machine, each with a network of its own, joined by a switch whose links can be made as bad as needed.

    with network(3, seed=1) as net:
        net.hosts[0].command(["run-sn", …])              # the command line that runs it on that host
        net.both_ways(1, 2, delay_s=0.025, loss=0.01)    # hosts are numbered from 1, here and in their addresses
        net.set([(1, 3)], cut=True)                      # one direction only

With ``desk`` the caller itself gets a place in the network, as its last host; for a caller that has a network namespace
of its own. Network namespaces that have no name: they end with the processes that hold them, which end with who made
them, however that ends. Network devices carry names that no other run has. Raises BadInput, in one sentence, where the
machine cannot do this.

Used by `nodes/bench/links`, and by the tests in which links fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

from swarm.errors import BadInput
from swarm.nodes.bench import switch

SUBNET = "10.78.0"
READY_S = 20.0

Pair = tuple[int, int]


@dataclass(frozen=True)
class Host:
    number: int
    pid: int
    """Of the process that holds its network."""

    @property
    def address(self) -> str:
        return f"{SUBNET}.{self.number}"

    def command(self, command: Sequence[str]) -> list[str]:
        """What runs the command on this host; its process is the one that is started."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *command]


class Network:
    """``ports``: how many hosts, the desk among them."""

    def __init__(self, hosts: list[Host], ports: int, orders: socket.socket) -> None:
        self.hosts = hosts
        self._ports = ports
        self._orders = orders

    def set(self, links: Iterable[Pair], **values: float | bool) -> None:
        """Change these one-way links at once. The names are those of `switch.Link`."""
        self._order({"links": list(links), "set": values})

    def behind(self, number: int, **values: float | bool) -> None:
        """Change what joins this host to the switch, both ways: all that it sends and gets passes there."""
        self.set([(number, switch.MIDDLE), (switch.MIDDLE, number)], **values)

    def both_ways(self, one: int, other: int, **values: float | bool) -> None:
        self.set([(one, other), (other, one)], **values)

    def counts(self, one: int, other: int) -> dict[str, int]:
        """What became of the frames from one to the other: passed, lost, dropped, cut."""
        counts: dict[str, int] = self._order({"count": [(one, other)]})["counts"][0]
        return counts

    def pairs(self) -> list[Pair]:
        """All one-way links."""
        return list(permutations(range(1, self._ports + 1), 2))

    def of_host(self, number: int) -> tuple[list[Pair], list[Pair]]:
        """(links from it, links to it)"""
        pairs = self.pairs()
        return [pair for pair in pairs if pair[0] == number], [pair for pair in pairs if pair[1] == number]

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        self._orders.send(json.dumps(order).encode())
        answer = self._orders.recv(1 << 16)
        assert answer, "the switch has ended"
        decoded: dict[str, Any] = json.loads(answer)
        return decoded


def check_available(*, taps: bool = True) -> None:
    """Raises BadInput where there can be no hosts of their own, or no ``taps`` by which the switch joins them."""
    if os.geteuid():
        raise BadInput("hosts of their own need root")
    for tool in ("ip", "unshare", "nsenter"):
        if shutil.which(tool) is None:
            raise BadInput(f"hosts of their own need {tool}, which is not installed")
    if taps and not Path("/dev/net/tun").exists():
        raise BadInput("hosts of their own need TAP devices, and there is no /dev/net/tun")
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    if tried.returncode:
        raise BadInput(f"network namespaces are not permitted here: {tried.stderr.strip()}")


@contextlib.contextmanager
def network(count: int, seed: int, *, desk: bool = False, bursts: bool = False) -> Iterator[Network]:
    """``bursts``: packets that a host sends in one go pass the switch as one frame, which costs far less at high rates;
    what is lost or dropped is all of them."""
    check_available()
    prefix, ports = f"sw{secrets.token_hex(3)}", count + desk
    with contextlib.ExitStack() as undo:
        holders = [undo.enter_context(holder()) for _ in range(count)]
        orders = undo.enter_context(_switch([f"{prefix}-{n}" for n in range(1, ports + 1)], seed, bursts))
        hosts = [Host(number, pid) for number, pid in enumerate(holders, start=1)]
        for host in hosts:
            _run("ip", "link", "set", f"{prefix}-{host.number}", "netns", str(host.pid), "name", "eth0")
            _plug_in(host, "eth0")
        if desk:
            _plug_in(Host(ports, os.getpid()), f"{prefix}-{ports}")
        yield Network(hosts, ports, orders)


@contextlib.contextmanager
def holder() -> Iterator[int]:
    """The id of a process in a network namespace of its own. It ends with its standard input, so with its maker."""
    with subprocess.Popen(
        ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print("are you there?", file=process.stdin, flush=True)
        if not process.stdout.readline():
            raise BadInput("a network namespace cannot be made here")
        try:
            yield process.pid
        finally:
            process.stdin.close()


@contextlib.contextmanager
def _switch(taps: list[str], seed: int, bursts: bool) -> Iterator[socket.socket]:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with (
        ours,
        subprocess.Popen(
            [sys.executable, "-m", switch.__name__, str(seed), "bursts" if bursts else "packets", *taps],
            stdin=its.fileno(),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        its.close()
        ours.settimeout(READY_S)
        if ours.recv(16) != b"ready":
            assert process.stderr is not None
            why = (process.stderr.read().strip().splitlines() or ["it does not say why"])[-1]
            raise BadInput(f"TAP devices cannot be made here: {why}")
        try:
            yield ours
        finally:
            ours.close()  # by that it ends


def _plug_in(host: Host, device: str) -> None:
    for line in (
        f"link set {device} address 02:00:00:00:00:{host.number:02x}",
        f"addr add {host.address}/24 dev {device}",
        "link set lo up",
        f"link set {device} up",
    ):
        _run(*host.command(["ip", *line.split()]))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
