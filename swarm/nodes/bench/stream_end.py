"""One end of a measured transfer, as a process of its own: `python -m swarm.nodes.bench.stream_end …`.

Started by `bench.stream`, which speaks to it in lines over its standard input and output; ends when that closes. The
stack `swarm` is the product's data plane, the very classes that learning nodes use; `ssl` is the baseline: a blocking
Python SSLSocket, TLS 1.3, mutual certificates. Everything but the transfer itself happens before ``go``.
"""

from __future__ import annotations

import hashlib
import json
import resource
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from swarm.core.tensors import NBYTES_MAX
from swarm.runtime.authority import CertificateTree
from swarm.runtime.credentials import Credentials
from swarm.runtime.data import DataClient, DataServer, Region, Want
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local

HOST = "127.0.0.1"
CALL = 1 << 20
NETWORK = b"swarm bench stream".ljust(32, b".")
FIRST = Want("bench", 0, "model", 0, "", 0, 1)
"""Opens the connection before the clock runs, as the rounds before this one would have."""

Transfer = Callable[[], None]


def content(nbytes: int, seed: int) -> memoryview:
    return memoryview(np.random.default_rng(seed).bytes(nbytes))


def room(nbytes: int) -> memoryview:
    """Memory to receive into, every page of it there."""
    return np.full(nbytes, 0xFF, np.uint8).data


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


# ---- the product


def local_of(directory: Path, name: str) -> Local:
    tree = CertificateTree(directory, "1")
    state = StateDirectory(directory / name)
    state.set_network_id(NETWORK)
    return Local(Credentials.load(tree.certificate("sl"), tree.key("sl"), tree.capath), state)


def serve_by_swarm(directory: Path, data: memoryview) -> dict[str, Any]:
    local, region = local_of(directory, "sender"), Region.complete(data)
    server = DataServer(local, lambda peer, want: region, HOST, 0)
    server.start()
    return {"address": f"{HOST}:{server.port}", "uid": local.state.uid}


def receive_by_swarm(directory: Path, address: str, uid: str, into: memoryview) -> Transfer:
    client = DataClient(local_of(directory, "receiver"))
    client.fetch(address, uid, FIRST, into[:1])
    want = Want("bench", 0, "model", 0, "", 0, len(into))
    return lambda: (client.fetch(address, uid, want, into), None)[1]


# ---- the baseline


def context_of(directory: Path, side: int) -> ssl.SSLContext:
    tree = CertificateTree(directory, "1")
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tree.certificate("sl"), tree.key("sl"))
    context.load_verify_locations(tree.authority)
    return context


def serve_by_ssl(directory: Path, data: memoryview) -> dict[str, Any]:
    listener = socket.create_server((HOST, 0))
    context = context_of(directory, ssl.PROTOCOL_TLS_SERVER)

    def serve() -> None:
        plain, _ = listener.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_side=True) as sock:
            sock.sendall(data[:1])
            sock.recv(1)
            for at in range(0, len(data), CALL):
                sock.sendall(data[at : at + CALL])
            sock.recv(1)  # until the other end is gone

    threading.Thread(target=serve, daemon=True).start()
    return {"address": f"{HOST}:{listener.getsockname()[1]}", "uid": ""}


def receive_by_ssl(directory: Path, address: str, uid: str, into: memoryview) -> Transfer:
    plain = socket.create_connection((HOST, int(address.rpartition(":")[2])))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock = context_of(directory, ssl.PROTOCOL_TLS_CLIENT).wrap_socket(plain)
    sock.recv(1)
    cipher = sock.cipher()
    assert cipher is not None
    assert cipher[:2] == ("TLS_AES_256_GCM_SHA384", "TLSv1.3"), cipher

    def transfer() -> None:
        sock.sendall(b"g")
        view = into
        while view:
            count = sock.recv_into(view)
            assert count, "the sender is gone"
            view = view[count:]

    return transfer


# ---- the process


def main(stack: str, end: str, directory: str, nbytes: str, seed: str, address: str = "", uid: str = "") -> None:
    size = int(nbytes)
    assert 0 < size <= NBYTES_MAX, size
    data = content(size, int(seed)) if end == "send" else room(size)
    if end == "send":
        say((serve_by_swarm if stack == "swarm" else serve_by_ssl)(Path(directory), data))
    else:
        receive = receive_by_swarm if stack == "swarm" else receive_by_ssl
        transfer = receive(Path(directory), address, uid, data)
        say({"ready": True})
    for line in sys.stdin:
        match line.strip():
            case "cpu":
                say({"cpu_s": cpu_s()})
            case "go":
                say(timed(transfer))
            case "digest":
                say({"sha256": hashlib.sha256(data).hexdigest()})


def timed(transfer: Transfer) -> dict[str, Any]:
    cpu, began = cpu_s(), perf_counter()
    transfer()
    return {"seconds": perf_counter() - began, "cpu_s": cpu_s() - cpu}


def say(fields: dict[str, Any]) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
