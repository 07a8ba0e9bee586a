"""The network nodes, and one operator, that `swarm up` leaves running, and `swarm down` ends.

They live in one directory: organisations, state of each node, and `up.json`, which
says what runs. Guarantees: started again they go on with their ledger, under the same certificates and ports; `down`
ends only processes that `up` started, which it knows by pid and start time; both may be repeated.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from swarm.errors import BadInput, SwarmError, Unreachable
from swarm.nodes.launch import LOOK_EVERY_S, Launch
from swarm.nodes.local import HOST, READY_S, LocalSwarm
from swarm.nodes.ownprofile import own_profile

SENTINEL_PORTS = (30303, 30304)
STOP_S = 5.0
OPERATOR = "swop-1"
OPERATOR_STOP_S = 15.0
"""It ends its workers first."""


@dataclass(frozen=True)
class Node:
    """One SN, or the operator, as up.json keeps it."""

    name: str
    pid: int
    started: float
    """When the process began, as the system tells it: with the pid it names one process for good."""

    @property
    def is_operator(self) -> bool:
        return self.name == OPERATOR

    def process(self) -> psutil.Process | None:
        """The running process, if it is still the one that was started."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def end(nodes: Sequence[Node], grace_s: float) -> None:
    """End what runs of them, in order, after the grace at once."""
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for node in nodes:
            if process := node.process():
                with contextlib.suppress(psutil.Error):
                    ask(process)
        until = time.monotonic() + grace_s
        while any(node.process() for node in nodes) and time.monotonic() < until:
            time.sleep(LOOK_EVERY_S)


class Standing:
    """A context manager: no second `up` or `down` works in the directory meanwhile."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._record = self.directory / "up.json"

    def __enter__(self) -> Standing:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.directory / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise BadInput(f"another swarm up or down is at work in {self.directory}") from None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def nodes(self) -> list[Node]:
        """All that were started and not purged, running or not."""
        try:
            return [Node(**row) for row in json.loads(self._record.read_text(encoding="utf-8"))["nodes"]]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{self._record} is damaged: {error}", hint="swarm down --purge begins anew") from error

    def up(self, sns: int, cpu: int, gpu: int) -> list[Node]:
        """Have so many SNs running, and those that were started before, and the first organisation's operator.

        What runs stays as it is; the operator takes up a new ``cpu`` and ``gpu`` (its room for jobs) as it runs.

        Raises what kept one from being ready; then those started by this call are ended.
        """
        known = {node.name: node for node in self.nodes()}
        operator = known.pop(OPERATOR, None)
        with contextlib.ExitStack() as undo:
            launch = undo.enter_context(Launch(tethered=False))
            swarm = LocalSwarm(self.directory, launch, organisations=max(sns, len(known)))
            swarm.make_organisations()
            for number in range(1, len(swarm.trees) + 1):
                name = f"sn-{number}"
                if name not in known or known[name].process() is None:
                    founds = not self._ready(name) and number == 1
                    known[name] = self._start(swarm, number)
                    # before it is ready: `down` must know of it in any case
                    self._write([*known.values(), *([operator] if operator else [])])
                    if founds and not self._founded(known[name], launch):
                        known[name] = self._start(swarm, number)
                        self._write([*known.values(), *([operator] if operator else [])])
                        self._await(known[name], launch)
            for node in known.values():  # together: a majority has to be up before any of them is ready
                self._await(node, launch)
            profile = self._write_profile(swarm, cpu, gpu)
            if operator is None or operator.process() is None:
                process = swarm.start_operator(1, profile, accepted=(), tethered=False, port=self.api_port("sn-1"))
                operator = Node(process.name, process.pid, psutil.Process(process.pid).create_time())
                self._write([*known.values(), operator])
            self._await(operator, launch, {"cpu": cpu, "gpu": gpu})
            undo.pop_all()  # from here on they stay
        return [*known.values(), operator]

    def _write_profile(self, swarm: LocalSwarm, cpu: int, gpu: int) -> Path:
        place = self.directory / "work-1"
        place.mkdir(mode=0o700, exist_ok=True)
        path = self.directory / "swop-1.yaml"
        text = own_profile(swarm.trees[0], 1, "up", place) + f"capacity: {{cpu: {cpu}, gpu: {gpu}}}\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            part = path.with_suffix(".part")
            part.write_text(text, encoding="utf-8")
            os.replace(part, path)  # the operator may be reading it
        return path

    def down(self) -> list[Node]:
        """End what runs; says what that was."""
        running = [node for node in self.nodes() if node.process()]
        operators = [node for node in running if node.is_operator]
        end(operators, OPERATOR_STOP_S)
        end([node for node in running if not node.is_operator], STOP_S)
        return running

    def purge(self) -> None:
        """Forget everything: ledger, node keys, certificates. Only after `down`."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def api_port(self, name: str) -> int:
        return self._ports(name)[1]

    def serves(self, node: Node) -> bool:
        """Whether it takes connections: one that runs may be starting, or coming back as a learner."""
        process, port = node.process(), self.api_port(node.name)
        with contextlib.suppress(psutil.Error):
            ours = process.net_connections("tcp") if process and port else ()
            return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in ours)
        return False

    def _start(self, swarm: LocalSwarm, number: int) -> Node:
        p2p_port, api_port = self._ports(f"sn-{number}")
        if not api_port:
            p2p_port, api_port = _free_ports(number)
        sentinel_port = self.api_port("sn-1") if number > 1 else None
        process = swarm.start_network_node(number, sentinel_port=sentinel_port, p2p_port=p2p_port, api_port=api_port)
        return Node(process.name, process.pid, psutil.Process(process.pid).create_time())

    def _founded(self, node: Node, launch: Launch) -> bool:
        """The sentinel is there for others to join; False if it has ended and the usual ports are taken by now.

        They were free when it was started: another `swarm up`, in another directory, may have begun just then.
        """
        try:
            self._await(node, launch)
        except SwarmError:
            if node.process() is not None or _free_ports(1) == SENTINEL_PORTS:
                raise
            launch.processes[:] = [process for process in launch.processes if process.pid != node.pid]
            return False
        return True

    def _ready(self, name: str) -> dict[str, Any]:
        """What the node, or its predecessor in the same state directory, wrote when it was ready."""
        try:
            ready: dict[str, Any] = json.loads((self.directory / name / "ready.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return ready

    def _ports(self, name: str) -> tuple[int, int]:
        ready = self._ready(name)
        return int(ready.get("p2p_port", 0)), int(ready.get("api_port", 0))

    def _await(self, node: Node, launch: Launch, room: dict[str, int] | None = None) -> None:
        """``room``: what the ledger has to know of an operator, too, since who is told that it is done submits jobs."""
        until = time.monotonic() + READY_S
        while (ready := self._ready(node.name)).get("pid") != node.pid or ready.get("room", room) != room:
            launch.check()
            if time.monotonic() > until or node.process() is None:
                raise Unreachable(f"{node.name} (process {node.pid}) did not become ready within {READY_S:g} s")
            time.sleep(LOOK_EVERY_S)

    def _write(self, nodes: list[Node]) -> None:
        part = self._record.with_suffix(".part")
        part.write_text(json.dumps({"version": 1, "nodes": [asdict(node) for node in nodes]}), encoding="utf-8")
        os.replace(part, self._record)


@contextlib.contextmanager
def _reserved(port: int) -> Iterator[bool]:
    """Whether the port is free, kept while the context lasts."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            yield False
        else:
            yield True


def _free_ports(number: int) -> tuple[int, int]:
    """The usual ones for the sentinel if they are free, else any."""
    if number == 1:
        with _reserved(SENTINEL_PORTS[0]) as first, _reserved(SENTINEL_PORTS[1]) as second:
            if first and second:
                return SENTINEL_PORTS
    return 0, 0
