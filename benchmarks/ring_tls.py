"""The baseline of `swarm bench merge`: a ring all-reduce over TLS sockets, as fast as plain Python makes it.

    python benchmarks/ring_tls.py --peers 4 --mb 100 --cert C --key K --ca CA --rounds 7

N processes, one blocking ssl socket to each neighbour (TLS 1.3, AES-256-GCM, certificates on both sides), one sender
thread and `recv_into`, reduce-scatter and all-gather in N-1 steps on float32, 1 MiB pieces, preallocated, no hashing.
Prints {"seconds"} a round, from the last start to the last end; without --rounds one for each line of stdin.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import queue
import socket
import ssl
import sys
import threading
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

import numpy as np

PIECE = (1 << 20) // 4
Array = np.ndarray[Any, np.dtype[np.float32]]
Outgoing = queue.SimpleQueue[Array]


def pieces(part: Array) -> list[Array]:
    return [part[at : at + PIECE] for at in range(0, len(part), PIECE)]


def receive(sock: ssl.SSLSocket, into: Array) -> None:
    view = into.data.cast("B")
    while view:
        count = sock.recv_into(view)
        assert count, "a neighbour is gone"
        view = view[count:]


def send(sock: ssl.SSLSocket, outgoing: Outgoing) -> None:
    while True:
        sock.sendall(outgoing.get().data.cast("B"))


def all_reduce(rank: int, parts: list[Array], scratch: Array, left: ssl.SSLSocket, out: Outgoing) -> None:
    """What is received goes on to the right at once, piece by piece."""
    count = len(parts)
    for piece in pieces(parts[rank]):
        out.put(piece)
    for step in range(count - 1):  # reduce-scatter
        for piece in pieces(parts[(rank - 1 - step) % count]):
            receive(left, landed := scratch[: len(piece)])
            np.add(piece, landed, out=piece)
            out.put(piece)
    for step in range(count - 1):  # all-gather
        for piece in pieces(parts[(rank - step) % count]):
            receive(left, piece)
            if step < count - 2:
                out.put(piece)


def context(side: int, options: argparse.Namespace) -> ssl.SSLContext:
    made = ssl.SSLContext(side)
    made.minimum_version, made.check_hostname, made.verify_mode = ssl.TLSVersion.TLSv1_3, False, ssl.CERT_REQUIRED
    made.load_cert_chain(options.cert, options.key)
    made.load_verify_locations(options.ca)
    return made


def peer(rank: int, listeners: list[socket.socket], orders: Connection, options: argparse.Namespace) -> None:
    right_plain = socket.create_connection(listeners[(rank + 1) % options.peers].getsockname())
    left_plain, _ = listeners[rank].accept()
    [sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) for sock in (right_plain, left_plain)]
    serving = context(ssl.PROTOCOL_TLS_SERVER, options)
    left = serving.wrap_socket(left_plain, server_side=True, do_handshake_on_connect=False)
    (answering := threading.Thread(target=left.do_handshake)).start()
    right = context(ssl.PROTOCOL_TLS_CLIENT, options).wrap_socket(right_plain)
    answering.join()
    assert (right.cipher() or ("",))[0] == "TLS_AES_256_GCM_SHA384", right.cipher()
    outgoing: Outgoing = queue.SimpleQueue()
    threading.Thread(target=send, args=(right, outgoing), daemon=True).start()
    elements = options.mb * 250_000
    data, expected = np.empty(elements, np.float32), np.zeros(1, np.float32)
    for seed in range(options.peers):
        expected = expected + np.random.default_rng(seed).standard_normal(dtype=np.float32, out=data)[:: elements // 7]
    parts, scratch = np.array_split(data, options.peers), np.empty(PIECE, np.float32)
    while orders.poll(None) and orders.recv() == "ready":
        np.random.default_rng(rank).standard_normal(dtype=np.float32, out=data)
        orders.send("ready")
        orders.recv()
        began = monotonic()
        all_reduce(rank, parts, scratch, left, outgoing)
        orders.send((began, monotonic()))
        assert np.allclose(data[:: elements // 7], expected, atol=1e-4), "the ring's sum is wrong"


def main() -> None:
    parser = argparse.ArgumentParser()
    [parser.add_argument(name, required=True) for name in ("--cert", "--key", "--ca")]
    for name, default in (("--peers", 4), ("--mb", 100), ("--rounds", None)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    fork = multiprocessing.get_context("fork")
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(options.peers)]
    pipes = [fork.Pipe() for _ in listeners]
    for rank, (_, theirs) in enumerate(pipes):
        fork.Process(target=peer, args=(rank, listeners, theirs, options), daemon=True).start()
    for _ in sys.stdin if options.rounds is None else range(options.rounds):
        for order in ("ready", "go"):
            for ours, _ in pipes:
                ours.send(order)
            told = [ours.recv() for ours, _ in pipes]
        print(json.dumps({"seconds": max(end for _, end in told) - max(begin for begin, _ in told)}), flush=True)


if __name__ == "__main__":
    main()
