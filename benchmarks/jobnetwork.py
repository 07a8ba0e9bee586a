"""A network on this machine that jobs are measured on: network nodes and operators as real processes, and a client.

Used by `benchmarks/sweep` and `benchmarks/slots`. Every network node is of an organisation of its own; operators belong
to the first ones, in their order; as on hosts of their own, what they have started outlives them when they are killed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from swarm.nodes.client import Client, consult
from swarm.nodes.launch import Launch, Process
from swarm.nodes.local import HOST, READY_S, LocalSwarm
from swarm.nodes.ownprofile import own_profile
from swarm.runtime.credentials import Credentials
from swarm.wire import jobsfile

T = TypeVar("T")


class JobNetwork:
    """Made in `directory`; what it starts ends with `launch`. ``cpu``: the slots of each operator."""

    def __init__(self, directory: Path, launch: Launch, *, sns: int = 1, operators: int = 1, cpu: int = 2) -> None:
        self.swarm = LocalSwarm(directory, launch, organisations=max(sns, operators))
        self._launch = launch
        self._directory = directory
        self._cpu = cpu
        self.swarm.make_organisations()
        for number in range(1, sns + 1):
            sentinel = self.swarm.api_port(0) if number > 1 else None
            launch.wait_ready([self.swarm.start_network_node(number, sentinel_port=sentinel)], READY_S)
        for number in range(1, operators + 1):
            self._start_operator(number)
        launch.wait_ready(self.swarm.operators, READY_S)

    def _start_operator(self, number: int) -> Process:
        profile = self._directory / f"process-{number}.yaml"
        place = self._directory / f"place-{number}"
        place.mkdir(exist_ok=True)
        text = own_profile(self.swarm.trees[number - 1], number, "bench", place)
        profile.write_text(f"{text}capacity: {{cpu: {self._cpu}, gpu: 0}}\n", encoding="utf-8")
        accepted = ["org-1"] if number > 1 else []
        return self.swarm.start_operator(number, profile, accepted=accepted, tethered=False)

    def do(self, work: Callable[[Client], Awaitable[T]], name: str = "swci") -> T:
        """With a client of the first organisation, at its network node."""
        tree = self.swarm.trees[0]
        credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)
        return consult((HOST, self.swarm.api_port(0)), credentials, self._directory / name, work)

    def cpu_s(self) -> dict[str, float]:
        """What the nodes have used so far, of those that run now and without what they have started."""
        nodes = {"sn": self.swarm.network, "swop": self.swarm.operators}
        times = {role: [psutil.Process(node.pid).cpu_times() for node in those] for role, those in nodes.items()}
        return {role: sum(each.user + each.system for each in those) for role, those in times.items()}

    def restart(self, node: Process) -> None:
        """SIGKILL, and a start in its state directory; until it serves again."""
        swarm = self.swarm
        is_network = node in swarm.network
        at = (swarm.network if is_network else swarm.operators).index(node)
        ports = node.ready() or {}
        self._launch.kill(node)
        (node.state / "ready.json").unlink()
        if is_network:
            other = swarm.api_port(1 if at == 0 else 0) if at else None
            again = swarm.start_network_node(
                at + 1, sentinel_port=other, p2p_port=ports["p2p_port"], api_port=ports["api_port"]
            )
            swarm.network[at] = swarm.network.pop()
        else:
            again = self._start_operator(at + 1)
            swarm.operators[at] = swarm.operators.pop()
        self._launch.wait_ready([again], READY_S)


def task(name: str, **body: Any) -> jobsfile.JobsFile:
    return jobsfile.made({"Name": name, "TaskType": "RUN_JOBS", "Body": body}, "the benchmark")
