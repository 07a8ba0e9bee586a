"""etcd on this machine, for comparison: as many members as the swarm has network nodes, and one client.

Used by `swarm bench ledger`. The members are Debian's `etcd-server` on loopback ports; the client puts one key after
the other through the leader's JSON gateway, over one HTTP connection that is kept.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from swarm.errors import Unreachable
from swarm.nodes.launch import LOOK_EVERY_S, Launch
from swarm.nodes.local import HOST

READY_S = 30.0
ANSWER_S = 10.0


def is_installed() -> bool:
    return shutil.which("etcd") is not None


class Etcd:
    """Its members, started and with a leader. They end with ``launch``."""

    def __init__(self, directory: Path, launch: Launch, members: int) -> None:
        ports = _free_ports(2 * members)
        names = [f"etcd-{number}" for number in range(1, members + 1)]
        clients, peers = ([f"http://{HOST}:{port}" for port in ports[at::2]] for at in (0, 1))
        cluster = ",".join(f"{name}={peer}" for name, peer in zip(names, peers, strict=True))
        for name, client, peer in zip(names, clients, peers, strict=True):
            command = [
                *("etcd", "--name", name, "--data-dir", str(directory / name / "data")),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *("--initial-cluster", cluster, "--initial-cluster-state", "new", "--log-level", "error"),
            ]
            launch.start(name, "etcd", command, state=directory / name)
        self._launch = launch
        self._connection = self._leader(ports[0::2])
        self._number = 0

    def put(self, value: bytes) -> None:
        """One key more; returns when it is committed."""
        self._number += 1
        _ask(self._connection, "kv/put", key=f"bench-{self._number}".encode(), value=value)

    def _leader(self, ports: list[int]) -> http.client.HTTPConnection:
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            self._launch.check()
            for port in ports:
                connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_S)
                try:
                    said = _ask(connection, "maintenance/status")
                except (OSError, http.client.HTTPException, Unreachable):
                    continue
                if said.get("leader") == said["header"]["member_id"]:
                    return connection
            time.sleep(LOOK_EVERY_S)
        raise Unreachable(f"no member of etcd leads after {READY_S:g} s")


def _ask(connection: http.client.HTTPConnection, what: str, **fields: bytes) -> dict[str, Any]:
    body = json.dumps({name: base64.b64encode(value).decode() for name, value in fields.items()})
    connection.request("POST", f"/v3/{what}", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said: dict[str, Any] = json.loads(answer.read())
    if answer.status != http.HTTPStatus.OK:
        raise Unreachable(f"etcd answers {what} with {answer.status}: {said.get('error', '')}")
    return said


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
