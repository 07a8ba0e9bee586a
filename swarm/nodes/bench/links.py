"""Links for `swarm bench merge --link`: hosts on this machine, each behind a link of its own, joined by a hub.

    with hosts(Links((10**9, 10**8))) as (hub, places):
        places[0].address, places[0].enter      # where its node listens, and what a command begins with to run there

Used by `nodes/bench/merge`. Each host is a network namespace with one virtual cable to the hub's, where the network
nodes run on no link at all; each end of a cable is held to the host's rate by a token bucket (tc tbf), so it is the
rate up and down. Namespaces have no names: they end with the processes that hold them, which end with who made them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from swarm.errors import BadInput
from swarm.nodes.local import Host

SUBNET = "10.79.0"
TOOLS = ("ip", "tc", "unshare", "nsenter")
BURST_BYTES = 128 << 10
"""Two of the largest packets that pass a virtual cable; at high rates what passes between two ticks of a slow clock."""
TICK_S = 1 / 250
QUEUE_MS = 250
"""What is dropped in a queue of this machine is counted as sent by its kernel, and not as sent again."""
UNITS = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}


@dataclass(frozen=True)
class Links:
    """One a peer, in bits a second each way."""

    rates_bps: tuple[int, ...]

    def optimum_s(self, nbytes: int) -> float:
        """The least time in which peers of these links can all end with the merge of all their models.

        Whoever owns a share f of d bytes moves d·(1 + (N-2)·f) each way. Nobody is faster than its own model each way;
        beyond that the k fastest share what is to be done, for the best k: T = d·(N - 2 + k) / (sum of their rates).
        """
        rates, bits = sorted(self.rates_bps, reverse=True), 8 * nbytes
        count = len(rates)
        slowest_s = bits / rates[-1]
        if count < 3:
            return slowest_s
        return max(slowest_s, min(bits * (count - 2 + k) / sum(rates[:k]) for k in range(1, count + 1)))


def parsed(text: str, peers: int) -> Links:
    """``100mbit``: all alike; ``1gbit/100mbit/…``: one a peer. Raises BadInput."""
    rates = [_rate(word) for word in text.split("/")]
    if len(rates) not in (1, peers):
        raise BadInput(f"--link names {len(rates)} rates for {peers} peers", hint="give one for all, or one for each")
    return Links(tuple(rates * peers if len(rates) == 1 else rates))


def _rate(word: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(kbit|mbit|gbit)", word.strip().lower())
    rate = float(found[1]) * UNITS[found[2]] if found else 0
    if rate < 10**5:
        hint = "such as 1gbit, or 1gbit/1gbit/100mbit for three peers"
        raise BadInput(f"--link: expected a rate of at least 100kbit, received {word!r}", hint=hint)
    return round(rate)


def check_available() -> None:
    """Raises BadInput, in one sentence, where there can be no such links."""
    if os.geteuid():
        raise BadInput("--link needs root: it makes network namespaces")
    for tool in TOOLS:
        if shutil.which(tool) is None:
            raise BadInput(f"--link needs the command {tool}, which is not installed", hint="apt-get install iproute2")
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise BadInput(f"--link needs network namespaces, which are not permitted here: {tried.stderr.strip()}")


@contextlib.contextmanager
def hosts(links: Links) -> Iterator[tuple[Host, list[Host]]]:
    """The hub, and a host for each link."""
    check_available()
    with contextlib.ExitStack() as undo:
        hub, *holders = [undo.enter_context(_holder()) for _ in (0, *links.rates_bps)]
        _run(hub, "ip", "link", "add", "hub", "type", "bridge")
        _run(hub, "ip", "address", "add", f"{SUBNET}.254/24", "dev", "hub")
        _run(hub, "ip", "link", "set", "hub", "up")
        for number, (holder, rate_bps) in enumerate(zip(holders, links.rates_bps, strict=True), start=1):
            _plug_in(hub, holder, number, rate_bps)
        yield _host(hub, 254), [_host(holder, number) for number, holder in enumerate(holders, start=1)]


def _plug_in(hub: int, holder: int, number: int, rate_bps: int) -> None:
    port = f"port{number}"
    _run(hub, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(holder))
    _run(hub, "ip", "link", "set", port, "master", "hub", "up")
    _run(holder, "ip", "address", "add", f"{SUBNET}.{number}/24", "dev", "eth0")
    burst = max(BURST_BYTES, round(rate_bps / 8 * TICK_S))
    bucket = ["tbf", "rate", f"{rate_bps}bit", "burst", str(burst), "latency", f"{QUEUE_MS}ms"]
    for where, device in ((holder, "lo"), (holder, "eth0")):
        _run(where, "ip", "link", "set", device, "up")
    for where, device in ((hub, port), (holder, "eth0")):
        _run(where, "tc", "qdisc", "add", "dev", device, "root", *bucket)


def _host(holder: int, number: int) -> Host:
    return Host(f"{SUBNET}.{number}", tuple(_entering(holder)))


def _entering(holder: int) -> Sequence[str]:
    return ("nsenter", f"--net=/proc/{holder}/ns/net", "--")


def _run(holder: int, *command: str) -> None:
    done = subprocess.run([*_entering(holder), *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BadInput(f"--link cannot be made here: {' '.join(command)}: {done.stderr.strip()}")


@contextlib.contextmanager
def _holder() -> Iterator[int]:
    """A process in a network namespace of its own, by its id; it ends with its standard input."""
    with subprocess.Popen(
        ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print("are you there?", file=process.stdin, flush=True)
        if not process.stdout.readline():
            raise BadInput("--link cannot be made here: a network namespace ended at once")
        try:
            yield process.pid
        finally:
            process.stdin.close()
