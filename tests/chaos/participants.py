"""A network node and participants, each on a host of its own, for situations of which the links between them are made.

Host 1 has the network node, host 2 the learning node and the program of `peers[0]`, and so on; every one is an
organisation's own. The programs train without end.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from swarm.nodes.bench.hosts import Network
from swarm.nodes.launch import Launch, Process
from swarm.nodes.local import READY_S, Lines, Peer
from swarm.runtime.authority import CertificateTree, introduce, issue
from tests.chaos.cluster import API_PORT, MARK, PROGRAM
from tests.nodes.waiting import eventually

STORM = Path(__file__).with_name("storm.py")


class Participants:
    def __init__(self, directory: Path, launch: Launch, net: Network, *, min_peers: int) -> None:
        self.net = net
        self._directory, self._launch = directory, launch
        self._trees = [CertificateTree(directory / f"org-{host.number}", str(host.number)) for host in net.hosts]
        self._environment = {"RECORDS": str(directory / "records"), "MIN_PEERS": str(min_peers), "PAUSE_S": "0.1"}
        (directory / "records").mkdir()
        self._make_organisations()
        self.network_node = self._start(1, "sn", ["--sentinel"])
        launch.wait_ready([self.network_node], READY_S)
        self.peers = [self._start_peer(host.number) for host in net.hosts[1:]]

    def look(self) -> None:
        """Raises the error of a node that has ended."""
        self._launch.check()
        for peer in self.peers:
            peer.look()

    def rounds_of(self, peer: Peer, members: int) -> list[int]:
        """In which it was merged with so many."""
        self.look()
        return [line["round"] for line in peer.rounds if line["members"] == members]

    def merge(self, rounds: int, members: int, *, of: list[Peer] | None = None, patience_s: float = 120.0) -> None:
        """Wait until each of these has been in so many more rounds of so many members."""
        peers = self.peers if of is None else of
        aims = {peer.name: len(self.rounds_of(peer, members)) + rounds for peer in peers}
        what = f"{rounds} rounds of {members} members"
        eventually(
            what, lambda: all(len(self.rounds_of(peer, members)) >= aims[peer.name] for peer in peers), patience_s
        )

    def handed(self) -> list[dict[str, Any]]:
        """What the programs have recorded of each model that they were handed."""
        files = (self._directory / "records").glob("*.jsonl")
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return [line for line in lines if "digest" in line]

    @contextlib.contextmanager
    def storm(self, number: int) -> Iterator[dict[str, Any]]:
        """Meanwhile somebody with this participant's certificate connects to the network node 200 times a second, from
        its host; afterwards, what became of it."""
        node, tree = self.network_node.ready(), self._trees[number - 1]
        assert node is not None
        place = [self.net.hosts[0].address, str(API_PORT), str(node["peer_id"])]
        files = map(str, (tree.certificate("sl"), tree.key("sl"), tree.capath, self._directory / "storm"))
        command = self.net.hosts[number - 1].command([sys.executable, str(STORM), *place, *files])
        said: dict[str, Any] = {}
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            try:
                assert process.stdout.readline() == "begun\n"
                yield said
            finally:
                process.stdin.close()
            said.update(json.loads(process.stdout.read()))

    def _make_organisations(self) -> None:
        for tree in self._trees:
            issue(tree, organisation=tree.directory.name)
        introduce(self._trees)

    def _start_peer(self, number: int) -> Peer:
        place = ["--sn-ip", self.net.hosts[0].address, "--sn-api-port", str(API_PORT)]
        node = self._start(number, "sl", place, ["--", sys.executable, str(PROGRAM)])
        name = f"peer-{number - 1}"
        return Peer(name, f"org-{number}", node, Lines(node.state / "report.jsonl"))

    def _start(self, number: int, role: str, place: list[str], program: list[str] | None = None) -> Process:
        host, tree, state = self.net.hosts[number - 1], self._trees[number - 1], self._directory / f"{role}-{number}"
        command = [
            *(sys.executable, "-m", f"swarm.cli.run_{role}", *place, "--host-ip", host.address),
            *("--key", str(tree.key(role)), "--cert", str(tree.certificate(role))),
            *("--capath", str(tree.capath), "--state", str(state), *(program or [])),
        ]
        mine = {**self._environment, MARK: str(self._directory / f"7.{number - 2}-7")}  # the program's cell is by that
        return self._launch.start(
            f"{role}-{number}", role.upper(), host.command(command), state=state, environment=mine
        )


def resident(process: Process) -> int:
    return int(psutil.Process(process.pid).memory_info().rss)


def processor_s(process: Process) -> float:
    """How long it has computed so far."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def holds(process: Process, text: str) -> bool:
    return mentions(process, text) > 0


def mentions(process: Process, text: str) -> int:
    """How often it is in its log."""
    return process.log.read_text(encoding="utf-8").count(text)
