"""Links for `swarm bench merge --link`: hosts on this machine, each behind a link of its own, joined by a hub.

    with hosts(Links((10**9, 10**8), 0.0)) as (hub, places):
        places[0].address, places[0].enter      # where its node listens, and what a command begins with to run there

Used by `nodes/bench/merge`. Each host is a network namespace, and so is the hub, where the network nodes run on no link
at all. Without a delay hosts have a virtual cable to the hub, each end held to the host's rate by a token bucket (tc
tbf): the kernel is fast enough for any rate. With one, a switch in user space joins them all, the hub too
(`nodes/bench/switch`), which copies each byte twice and so is for slower links. Either way the rate is up and down.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from swarm.errors import BadInput
from swarm.nodes.bench.hosts import check_available, holder, network
from swarm.nodes.local import Host

SUBNET = "10.79.0"
BURST_BYTES = 128 << 10
"""Two of the largest packets that pass a virtual cable; at high rates what passes between two ticks of a slow clock."""
TICK_S = 1 / 250
QUEUE_S = 0.25
"""What is dropped in a queue of this machine is counted as sent by its kernel, and not as sent again."""
DELAY_MAX_S = 2.0
RATES = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
TIMES = {"ms": 10**-3, "s": 1.0}
NUMBER = r"(\d+(?:\.\d+)?)"


@dataclass(frozen=True)
class Links:
    """One a peer, in bits a second each way; ``delay_s`` from any of them to any other, one way."""

    rates_bps: tuple[int, ...]
    delay_s: float = 0.0

    def optimum_s(self, nbytes: int) -> float:
        """The least time in which peers of these links can all end with the merge of all their models.

        Whoever owns a share f of d bytes moves d·(1 + (N-2)·f) each way. Nobody is faster than its own model each way;
        beyond that the k fastest share what is to be done, for the best k: T = d·(N - 2 + k) / (sum of their rates).
        And a byte that comes back merged has been under way twice.
        """
        rates, bits = sorted(self.rates_bps, reverse=True), 8 * nbytes
        count = len(rates)
        slowest_s = bits / rates[-1]
        shared_s = min(bits * (count - 2 + k) / sum(rates[:k]) for k in range(1, count + 1)) if count > 2 else 0.0
        return max(slowest_s, shared_s) + 2 * self.delay_s


def parsed(text: str, peers: int) -> Links:
    """``100mbit``: all alike; ``1gbit/100mbit/…``: one a peer; ``100mbit,25ms``: with a delay. Raises BadInput."""
    words, comma, delay = text.partition(",")
    rates = [_rate(word) for word in words.split("/")]
    if len(rates) not in (1, peers):
        raise BadInput(f"--link names {len(rates)} rates for {peers} peers", hint="give one for all, or one for each")
    return Links(tuple(rates * peers if len(rates) == 1 else rates), _delay(delay) if comma else 0.0)


def _rate(word: str) -> int:
    rate = _quantity(word, RATES)
    if rate is None or rate < 10**5:
        hint = "such as 1gbit, or 1gbit/1gbit/100mbit for three peers"
        raise BadInput(f"--link: expected a rate of at least 100kbit, received {word!r}", hint=hint)
    return round(rate)


def _delay(word: str) -> float:
    delay_s = _quantity(word, TIMES)
    if delay_s is None or delay_s > DELAY_MAX_S:
        hint = "from one host to the other, one way, such as 25ms"
        raise BadInput(f"--link: expected a delay of at most {DELAY_MAX_S:g}s, received {word!r}", hint=hint)
    return delay_s


def _quantity(word: str, units: dict[str, float] | dict[str, int]) -> float | None:
    found = re.fullmatch(f"{NUMBER}({'|'.join(units)})", word.strip().lower())
    return float(found[1]) * units[found[2]] if found else None


@contextlib.contextmanager
def hosts(links: Links) -> Iterator[tuple[Host, list[Host]]]:
    """The hub, and a host for each link."""
    with _switched(links) if links.delay_s else _cabled(links) as (hub, places):
        yield hub, places


# ---- a switch in user space


@contextlib.contextmanager
def _switched(links: Links) -> Iterator[tuple[Host, list[Host]]]:
    with network(len(links.rates_bps) + 1, seed=0, bursts=True) as net:
        net.set(net.pairs(), delay_s=links.delay_s)
        for host, rate_bps in zip(net.hosts, links.rates_bps, strict=False):
            net.behind(host.number, rate_bps=rate_bps, queue_bytes=max(BURST_BYTES, round(rate_bps / 8 * QUEUE_S)))
        *places, hub = [Host(host.address, tuple(host.command([]))) for host in net.hosts]
        yield hub, places


# ---- virtual cables


def check_cables() -> None:
    """Raises BadInput, in one sentence, where there can be no such links."""
    check_available(taps=False)
    if shutil.which("tc") is None:
        raise BadInput("--link needs the command tc, which is not installed", hint="apt-get install iproute2")


@contextlib.contextmanager
def _cabled(links: Links) -> Iterator[tuple[Host, list[Host]]]:
    check_cables()
    with contextlib.ExitStack() as undo:
        hub, *holders = [undo.enter_context(holder()) for _ in (0, *links.rates_bps)]
        _run(hub, "ip", "link", "add", "hub", "type", "bridge")
        _run(hub, "ip", "address", "add", f"{SUBNET}.254/24", "dev", "hub")
        _run(hub, "ip", "link", "set", "hub", "up")
        for number, (place, rate_bps) in enumerate(zip(holders, links.rates_bps, strict=True), start=1):
            _plug_in(hub, place, number, rate_bps)
        yield _host(hub, 254), [_host(place, number) for number, place in enumerate(holders, start=1)]


def _plug_in(hub: int, place: int, number: int, rate_bps: int) -> None:
    port = f"port{number}"
    _run(hub, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(place))
    _run(hub, "ip", "link", "set", port, "master", "hub", "up")
    _run(place, "ip", "address", "add", f"{SUBNET}.{number}/24", "dev", "eth0")
    burst = max(BURST_BYTES, round(rate_bps / 8 * TICK_S))
    bucket = ["tbf", "rate", f"{rate_bps}bit", "burst", str(burst), "latency", f"{round(QUEUE_S * 1000)}ms"]
    for where, device in ((place, "lo"), (place, "eth0")):
        _run(where, "ip", "link", "set", device, "up")
    for where, device in ((hub, port), (place, "eth0")):
        _run(where, "tc", "qdisc", "add", "dev", device, "root", *bucket)


def _host(place: int, number: int) -> Host:
    return Host(f"{SUBNET}.{number}", tuple(_entering(place)))


def _entering(place: int) -> Sequence[str]:
    return ("nsenter", f"--net=/proc/{place}/ns/net", "--")


def _run(place: int, *command: str) -> None:
    done = subprocess.run([*_entering(place), *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BadInput(f"--link cannot be made here: {' '.join(command)}: {done.stderr.strip()}")
