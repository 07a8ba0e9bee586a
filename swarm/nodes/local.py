"""A whole swarm on this machine: organisations with certificates of their own, network nodes, learning nodes.

Used by `swarm demo|run|up`. Guarantees: every organisation has its own CA and every node its own certificate, so what
runs here is what runs between hosts; nodes listen on 127.0.0.1 only (or on made hosts' addresses), on free ports.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from swarm.errors import SwarmError, WorkerFailed
from swarm.nodes.launch import Launch, Process, how_it_ended
from swarm.runtime.authority import CertificateTree, introduce, issue

HOST = "127.0.0.1"
READY_S = 60.0


@dataclass(frozen=True)
class Host:
    """Where nodes run and listen. ``enter``: what a command begins with to run there; nothing for here."""

    address: str = HOST
    enter: tuple[str, ...] = ()


HERE = Host()


@dataclass
class Lines:
    """A file of JSON objects, one a line, that another process is writing."""

    path: Path
    _at: int = 0

    def new(self) -> list[dict[str, Any]]:
        """The complete lines that have come since the last call."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                complete, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return []
        self._at += len(complete) + len(newline)
        return [json.loads(line) for line in complete.splitlines() if line.strip()]


@dataclass
class Peer:
    """One participant, as its learning node reports it."""

    name: str
    organisation: str
    node: Process
    report: Lines
    rounds: list[dict[str, Any]] = field(default_factory=list)
    digest: str = ""
    """Of the model it ended with."""
    waiting: str = ""
    program_pid: int | None = None
    program_code: int | None = None
    """With what its program ended, if that was not 0; negative: a signal."""
    _bytes_sent: int = 0
    _bytes_before: int = 0

    @property
    def bytes_sent(self) -> int:
        return self._bytes_before + self._bytes_sent

    def look(self) -> None:
        for line in self.report.new():
            match line.get("event"):
                case "round":
                    self.rounds.append(line)
                    self.waiting = ""
                case "waiting":
                    self.waiting = line["text"]
                case "finished":
                    self.digest = line["digest"]
                case "program_started":
                    self.program_pid = line["pid"]
                    self._bytes_before += self._bytes_sent  # of a learning node before this one, which was killed
                    self._bytes_sent = 0
                case "program_ended":
                    self.program_code = line["exit_code"] or None
            self._bytes_sent = line.get("bytes_sent", self._bytes_sent)

    def program_row(self) -> dict[str, Any]:
        """Of its program, as `Launch.table` has one for each node. A node ends with its program's exit code."""
        running = self.program_pid is not None and psutil.pid_exists(self.program_pid)
        code = None if running else self.node.exit_code
        return {"name": f"ml-{self.name[5:]}", "role": "ML", "pid": self.program_pid, "exit_code": code}


class LocalSwarm:
    """Made in `directory`: org-N for the certificates, and one state directory a node.

    ``hub``: where the network nodes run; ``hosts``: where peers do, in their order; here where none is named.
    """

    def __init__(
        self, directory: Path, launch: Launch, *, organisations: int, hub: Host = HERE, hosts: Sequence[Host] = ()
    ) -> None:
        self.hub = hub
        self.hosts = list(hosts)
        self.directory = directory
        self.launch = launch
        self.trees = [CertificateTree(directory / f"org-{n}", str(n)) for n in range(1, organisations + 1)]
        self.network: list[Process] = []
        self.operators: list[Process] = []
        self.peers: list[Peer] = []

    def make_organisations(self) -> None:
        """A CA and certificates for each that has none; every one gets the CA certificates of all the others."""
        for tree in self.trees:
            if not tree.certificate("sn").exists():
                issue(tree, force=True)
        introduce(self.trees)

    def start_network_node(
        self,
        number: int,
        *,
        sentinel_port: int | None = None,
        p2p_port: int = 0,
        api_port: int = 0,
        program: Sequence[str] = ("-m", "swarm.cli.run_sn"),
    ) -> Process:
        """SN `number`, from 1; without the sentinel's API port it is the sentinel itself."""
        place = ["--sentinel"]
        if sentinel_port is not None:
            place = ["--sentinel-ip", self.hub.address, "--sentinel-api-port", str(sentinel_port)]
        command = [
            *(*self.hub.enter, sys.executable, *program, *place, "--host-ip", self.hub.address),
            *("--sn-p2p-port", str(p2p_port), "--sn-api-port", str(api_port)),
        ]
        process = self._start("sn", self.trees[number - 1], command)
        self.network.append(process)
        return process

    def start_peer(
        self, program: Sequence[str], *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Peer:
        """The next SL with its program, at its own organisation's SN if that has one."""
        number = len(self.peers)
        tree, host = self.trees[number], self.hosts[number] if self.hosts else HERE
        command = [
            *(*host.enter, sys.executable, "-m", "swarm.cli.run_sl", "--host-ip", host.address, "--sl-fs-port", "0"),
            *("--sn-ip", self.hub.address, "--sn-api-port", str(self.api_port(number % len(self.network)))),
        ]
        return self.add_peer(self._start("sl", tree, command, ["--", *program], environment, cwd))

    def add_peer(self, node: Process) -> Peer:
        """The next one, by its learning node."""
        number = len(self.peers) + 1
        peer = Peer(f"peer-{number}", f"org-{number}", node, Lines(node.state / "report.jsonl"))
        self.peers.append(peer)
        return peer

    def start_operator(
        self, number: int, profile: Path, *, accepted: Sequence[str], tethered: bool = True, port: int = 0
    ) -> Process:
        """SWOP `number`, from 1, at its own organisation's SN if that has one; tethered: its workers end with it.

        ``port``: the SN's, where it is not one that this process started.
        """
        command = [
            *(sys.executable, "-m", "swarm.cli.run_swop", *(["--tethered"] if tethered else [])),
            *("--usr-dir", str(profile.parent), "--profile-file-name", profile.name),
            *("--sn-ip", HOST, "--sn-api-port", str(port or self.api_port((number - 1) % len(self.network)))),
            *(word for organisation in accepted for word in ("--accept-org", organisation)),
        ]
        process = self._start("swop", self.trees[number - 1], command)
        self.operators.append(process)
        return process

    def start_commander(self, script: Path) -> Process:
        """The SWCI of the first organisation, which runs the script and ends."""
        place = ["--usr-dir", str(script.parent), "--init-script-name", script.name]
        return self._start("swci", self.trees[0], [sys.executable, "-m", "swarm.cli.run_swci", *place])

    def api_port(self, number: int) -> int:
        ready = self.network[number].ready()
        assert ready is not None, f"{self.network[number].name} is not ready"
        return int(ready["api_port"])

    def look(self) -> None:
        for peer in self.peers:
            peer.look()

    def failure(self, error: SwarmError) -> SwarmError:
        """What to say when a process has ended: if a training program ended first, that one is named."""
        self.look()
        for peer in self.peers:
            if peer.program_code:
                code = peer.program_code if peer.program_code > 0 else 128 - peer.program_code
                lines = "".join(f"\n  {line}" for line in peer.node.last_lines()) or " (none)"
                return WorkerFailed(f"the program of {peer.name} {how_it_ended(code)}; its last lines:{lines}")
        return error

    def _start(
        self,
        role: str,
        tree: CertificateTree,
        command: Sequence[str],
        program: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        name = f"{role}-{tree.host}"
        state = self.directory / name
        identity = [
            *("--key", str(tree.key(role)), "--cert", str(tree.certificate(role))),
            *("--capath", str(tree.capath), "--state", str(state)),
        ]
        return self.launch.start(
            name, role.upper(), [*command, *identity, *program], state=state, environment=environment, cwd=cwd
        )
