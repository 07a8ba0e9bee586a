"""The swarm that chaos breaks: network nodes, operators and their workers, each on its host, as real processes.

Three network nodes (hosts 1 to 3) of three organisations, and two operators (hosts 4 and 5) of the first two, which
start the learning nodes with their programs. Every node's state directory is a small disk of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from swarm.nodes.bench.hosts import Host, Network
from swarm.nodes.launch import Launch, Process
from swarm.runtime.authority import CertificateTree, introduce, issue

SNS, SWOPS = 3, 2
RUNNER = "defaulttaskbb.taskdb.sml.hpe"
DISK = "256m"
MARK = "SWARM_SLOT_DIRECTORY"
API_PORT = 30304
PROGRAM = Path(__file__).with_name("program.py")


@dataclass
class Node:
    """A network node or an operator, which chaos starts, and starts again with its directory."""

    name: str
    host: Host
    command: list[str]
    state: Path
    process: Process | None = None

    @property
    def role(self) -> str:
        return self.name.partition("-")[0]

    @property
    def uid(self) -> str:
        ready = self.process.ready() if self.process else None
        return str((ready or {}).get("uid", ""))

    @property
    def is_ready(self) -> bool:
        return self.process is not None and self.process.running and self.process.ready() is not None


@dataclass(frozen=True)
class Worker:
    """A learning node (`sl`) or a training program (`ml`), which its operator starts."""

    role: str
    pid: int
    place: str
    """Its slot and fence, as its directory is called."""
    operator: str

    def __str__(self) -> str:
        return f"{self.role} of {self.place}, process {self.pid}"


@dataclass
class Cluster:
    directory: Path
    launch: Launch
    net: Network
    peers: int
    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.trees = [CertificateTree(self.directory / f"org-{n}", str(n)) for n in range(1, SNS + 1)]
        self.records = self.directory / "records"

    # ---- making

    def prepare(self) -> None:
        """Organisations that know each other, a disk for each node, and who runs what."""
        self.records.mkdir()
        for tree in self.trees:
            issue(tree, organisation=tree.directory.name)
        introduce(self.trees)
        for number, host in enumerate(self.net.hosts[:SNS], start=1):
            place = ["--sentinel"] if number == 1 else ["--sentinel-ip", self.net.hosts[0].address]
            self._add(f"sn-{number}", number, host, ["swarm.cli.run_sn", *place, "--host-ip", host.address])
        for number, host in enumerate(self.net.hosts[SNS:], start=1):
            profile = self._write_profile(number, host)
            accept = ["--accept-org", "org-1"] if number > 1 else []
            place = ["--usr-dir", str(profile.parent), "--profile-file-name", profile.name]
            self._add(f"swop-{number}", number, host, ["swarm.cli.run_swop", *place, *accept])

    def start(self, node: Node) -> None:
        command = node.host.command([sys.executable, "-m", *node.command])
        node.process = self.launch.start(node.name, node.role.upper(), command, state=node.state)

    def kill(self, node: Node) -> None:
        assert node.process is not None
        os.kill(node.process.pid, signal.SIGKILL)

    def _add(self, name: str, number: int, host: Host, command: list[str]) -> None:
        tree, role, state = self.trees[number - 1], name.partition("-")[0], self.directory / name
        state.mkdir(mode=0o700)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", name, str(state)]
        subprocess.run(mount, check=True, capture_output=True, text=True)
        identity = ["--key", str(tree.key(role)), "--cert", str(tree.certificate(role)), "--capath", str(tree.capath)]
        self.nodes.append(Node(name, host, [*command, *identity, "--state", str(state)], state))

    def _write_profile(self, number: int, host: Host) -> Path:
        tree = self.trees[number - 1]
        sources = {"KEY": tree.key("sl"), "CERT": tree.certificate("sl"), "CAPATH": tree.capath}
        identity = [
            {"attribute": {"aType": kind, "mType": "BIND", "src": str(path), "tgt": f"/{kind}", "subPath": None}}
            for kind, path in sources.items()
        ]
        unused = dict.fromkeys(("slhostname", "slenvvars", "privatedata", "usrhostname", "usrenvvars"))
        share = range(number - 1, self.peers, SWOPS)
        profile = {
            "groupname": "chaos",
            "taskrunner": RUNNER,
            "policyuri": None,
            "resourcemgr": {"mgrtype": "PROCESS"},
            "network": "default",
            "apls": {"locator": {"host": "none", "port": None}},
            "apisrv": {"locator": {"host": self.net.hosts[number - 1].address, "port": API_PORT, "service": None}},
            "envvars": [{"SL_LOG_LEVEL": "INFO"}],
            "nodes": [
                {"slnodedef": {"idx": idx, "identity": identity, "slhostip": host.address, **unused}}
                for idx in range(len(share))
            ],
        }
        path = self.directory / f"profile-{number}.yaml"
        path.write_text(json.dumps(profile, indent=1))  # which YAML is, too
        return path

    # ---- looking

    def of(self, role: str) -> list[Node]:
        return [node for node in self.nodes if node.role == role]

    @staticmethod
    def workers() -> list[Worker]:
        """All that operators have started and that runs, the first process of each."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                place = process.environ().get(MARK, "")
                alive = place and process.status() != psutil.STATUS_ZOMBIE
                if alive and (role := _role(process.cmdline())):
                    found.append(Worker(role, process.pid, Path(place).name, Path(place).parent.parent.name))
        return found


def discard(directory: Path) -> None:
    """The directory of a run, with its nodes' disks. Nothing of the run is alive any more."""
    for state in directory.iterdir():
        if state.is_mount():
            subprocess.run(["umount", "--lazy", str(state)], check=True, capture_output=True, text=True)
    shutil.rmtree(directory)


def _role(command: Sequence[str]) -> str:
    """By its command line, as a program may have outlived its learning node; empty for what guards or helps one."""
    if "swarm.cli.run_sl" in command:
        return "sl"
    return "ml" if any(Path(word).name == PROGRAM.name for word in command) else ""


def twice(workers: Iterable[Worker]) -> set[str]:
    """Slots (with their fences) of which two learning nodes run, or two programs."""
    found = Counter((worker.role, worker.place) for worker in workers)
    return {place for (_, place), count in found.items() if count > 1}


def left(known: Iterable[int]) -> dict[int, str]:
    """Every process of this process namespace that is none of these, by pid."""
    mine, found = {os.getpid(), *known}, {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid not in mine and process.pid != 1 and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = " ".join(process.cmdline())
    return found


def task(name: str, peers: int, cluster: Cluster, pause_s: float) -> dict[str, Any]:
    """The task that all workers run, as a person writes it."""
    place = "/platform/swarm/usr"
    return {
        "Name": name,
        "TaskType": "RUN_SWARM",
        "Author": "org-1",
        "Prereq": "ROOTTASK",
        "Outcome": name,
        "Body": {
            "Entrypoint": "python3",
            "Command": PROGRAM.name,
            "WorkingDir": place,
            "PrivateContent": None,
            "SharedContent": [{"Src": str(PROGRAM), "Tgt": f"{place}/{PROGRAM.name}", "MType": "BIND"}],
            "Envvars": [{"RECORDS": str(cluster.records)}, {"MIN_PEERS": peers}, {"PAUSE_S": pause_s}],
        },
    }
