"""What TCP leaves of `swarm bench merge --link`: as many bytes over the same links, with nothing of the project's.

    python -m benchmarks.plain_links --link 20mbit,25ms [--peers 4] [--mb 10] [--rounds 5] [--json]

Each peer sends every other one 2/N of the model on a connection of their own, which is what a merge moves, all at once
and without a wait for anything but the bytes. Prints the median of the rounds and what it is of the least time of these
links. As root. Used for docs/BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from time import monotonic

from swarm.errors import SwarmError
from swarm.nodes.bench.links import hosts, parsed
from swarm.nodes.local import Host

PORT = 7070
PIECE = 1 << 16
PATIENCE_S = 300.0


def send(sock: socket.socket, count: int) -> None:
    piece = bytes(PIECE)
    while count:
        count -= sock.send(piece[:count])


def receive(sock: socket.socket, count: int) -> None:
    piece = bytearray(PIECE)
    while count:
        got = sock.recv_into(piece, min(count, PIECE))
        assert got, "a peer is gone"
        count -= got


def peer(own: str, others: list[str], count: int) -> None:
    """At each line of stdin, send ``count`` bytes to each of the others and receive as many; says when it was done."""
    with ExitStack() as undo:
        listener = undo.enter_context(socket.create_server((own, PORT), backlog=len(others)))
        print("listening", flush=True)
        sys.stdin.readline()
        out = [undo.enter_context(socket.create_connection((other, PORT), PATIENCE_S)) for other in others]
        into = [undo.enter_context(listener.accept()[0]) for _ in others]
        print("connected", flush=True)
        for _ in sys.stdin:
            work = [threading.Thread(target=send, args=(sock, count)) for sock in out]
            work += [threading.Thread(target=receive, args=(sock, count)) for sock in into]
            for one in work:
                one.start()
            for one in work:
                one.join()
            print(monotonic(), flush=True)


@contextmanager
def started(place: Host, others: list[str], count: int) -> Iterator[subprocess.Popen[str]]:
    command = [*place.enter, sys.executable, "-m", "benchmarks.plain_links", "peer", place.address, str(count), *others]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(peers: list[subprocess.Popen[str]]) -> None:
    for one in peers:
        assert one.stdin is not None
        print(file=one.stdin, flush=True)


def said(peers: list[subprocess.Popen[str]]) -> list[str]:
    lines = [one.stdout.readline() for one in peers if one.stdout is not None]
    assert all(lines), "a peer has ended"
    return lines


def measure(options: argparse.Namespace) -> dict[str, object]:
    links, nbytes = parsed(options.link, options.peers), options.mb * 10**6
    with ExitStack() as undo:
        _, places = undo.enter_context(hosts(links))
        peers = []
        for place in places:
            others = [other.address for other in places if other is not place]
            peers.append(undo.enter_context(started(place, others, 2 * nbytes // options.peers)))
        said(peers)
        tell(peers)
        said(peers)
        seconds = []
        for _ in range(options.rounds):
            began = monotonic()
            tell(peers)
            seconds.append(max(float(line) for line in said(peers)) - began)
    least_s = links.optimum_s(nbytes)
    return {
        "link": options.link,
        "seconds": [round(one, 3) for one in seconds],
        "median_s": round(median(seconds), 3),
        "ratio_to_link_optimum": round(median(seconds) / least_s, 3),
    }


def main() -> int:
    if sys.argv[1:2] == ["peer"]:
        own, count, *others = sys.argv[2:]
        peer(own, others, int(count))
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_links", description=__doc__.partition("\n")[0])
    parser.add_argument("--link", required=True, help="as of swarm bench merge")
    for name, default in (("--peers", 4), ("--mb", 10), ("--rounds", 5)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    try:
        measured = measure(options)
    except SwarmError as error:
        print(error.message, file=sys.stderr)
        return error.code
    if options.json:
        print(json.dumps(measured))
    else:
        print(f"{measured['median_s']} s, {measured['ratio_to_link_optimum']} times the least of these links")
    return 0


if __name__ == "__main__":
    sys.exit(main())
