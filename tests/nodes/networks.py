"""Network nodes of several organisations as real processes, and words for what becomes of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import trio

from swarm.errors import Unreachable
from swarm.nodes.client import Client, consult
from swarm.nodes.launch import Launch, Process
from swarm.nodes.local import HOST, LocalSwarm
from swarm.runtime.credentials import Credentials
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local
from tests.nodes.waiting import PATIENCE_S, eventually

T = TypeVar("T")


class Network:
    """Network nodes of as many organisations, by number from 1, and a person of each organisation."""

    def __init__(self, directory: Path, launch: Launch) -> None:
        self.swarm = LocalSwarm(directory, launch, organisations=5)
        self.swarm.make_organisations()
        self.directory, self.launch = directory, launch
        self.nodes: dict[int, Process] = {}
        self.ports: dict[int, tuple[int, int]] = {}
        self._asked = 0

    def start(self, number: int, *, at: int | None = None, fresh_ports: bool = False) -> None:
        """This node, through the node ``at``; the first one founds the network. It keeps its ports."""
        p2p_port, api_port = (0, 0) if fresh_ports else self.ports.get(number, (0, 0))
        self.nodes[number] = self.swarm.start_network_node(
            number, sentinel_port=self.ports[at][1] if at else None, p2p_port=p2p_port, api_port=api_port
        )

    def ready(self, *numbers: int) -> None:
        self.launch.wait_ready([self.nodes[number] for number in numbers], PATIENCE_S)
        for number in numbers:
            said = self.nodes[number].ready()
            assert said is not None
            self.ports[number] = int(said["p2p_port"]), int(said["api_port"])

    def of(self, count: int) -> None:
        """So many, all that should vote voting."""
        for number in range(1, count + 1):
            self.start(number, at=1 if number > 1 else None)
            self.ready(number)
        self.voting({1: 1, 2: 1, 3: 3, 5: 5}[count])

    def voting(self, voters: int, *, ask: int = 1) -> None:
        eventually(f"{voters} voters", lambda: len(self.status(ask)["voters"]) == voters)

    def kill(self, *numbers: int) -> None:
        for number in numbers:
            os.kill(self.nodes[number].pid, signal.SIGKILL)
        for number in numbers:
            gone = self.nodes.pop(number)
            eventually(f"the end of {gone.name}", lambda gone=gone: not gone.running)
            self.launch.processes.remove(gone)

    def back(self, *numbers: int, at: int | None = None) -> None:
        """With their directories, on their ports, by the command line that they began with or another one."""
        for number in numbers:
            self.start(number, at=at or (1 if number > 1 else None))
        self.ready(*numbers)

    # ---- asking

    def ask(
        self, number: int, work: Callable[[Client], Awaitable[T]], *, by: int | None = None, place: Path | None = None
    ) -> T:
        """By the person of this node's organisation, or of another one, who keeps at ``place`` what is known so far."""
        return consult((HOST, self.ports[number][1]), self._person(by or number), place or self._place(), work)

    def ask_aside(self, number: int, work: Callable[[Client], Awaitable[T]]) -> T:
        """The same in another thread than the main one, which alone is told of signals."""

        async def run() -> T:
            with StateDirectory(self._place()) as state:
                client = Client(Local(self._person(number), state), (HOST, self.ports[number][1]))
                async with trio.open_nursery() as nursery:
                    await nursery.start(client.run)
                    try:
                        return await work(client)
                    finally:
                        client.close()

        return trio.run(run)

    def _person(self, number: int) -> Credentials:
        tree = self.swarm.trees[number - 1]
        return Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)

    def _place(self) -> Path:
        self._asked += 1
        return self.directory / f"asking-{self._asked}"

    def status(self, number: int) -> dict[str, Any]:
        return self.ask(number, Client.status)

    def answers(self, number: int) -> bool:
        """Whether it listens: before it is ready, too."""
        try:
            self.status(number)
        except Unreachable:
            return False
        return True

    def confirms(self, number: int) -> bool:
        """Whether a follower of it alone is told that a majority is in reach."""

        async def confirm(client: Client) -> bool:
            await client.ledger()
            return await client.link.confirm()

        return self.ask(number, confirm)

    def notes(self, number: int) -> str:
        return "\n".join(self.status(number)["notes"])

    def write(self, number: int, *names: str) -> None:
        """Have the ledger acknowledge contracts of these names, through this node."""
        self.ask(number, _proposing(names))

    def write_aside(self, number: int, *names: str) -> None:
        self.ask_aside(number, _proposing(names))

    def has(self, number: int, *names: str) -> bool:
        return self.ask(number, _looking(names))

    def has_aside(self, number: int, *names: str) -> bool:
        return self.ask_aside(number, _looking(names))

    def digest(self, number: int) -> str:
        """Of the ledger's state, as far as this node has it."""

        async def read(client: Client) -> str:
            return (await client.ledger()).digest()

        return self.ask(number, read)

    def uid(self, number: int) -> str:
        said = self.nodes[number].ready()
        assert said is not None
        return str(said["uid"])

    def leader(self, ask: int) -> int:
        """The number of the node that leads, as that node says itself."""

        def find() -> int:
            uid = self.status(ask)["leader"]
            for number in self.nodes:
                if self.uid(number) == uid and self.status(number)["role"] == "leader":
                    return number
            return 0

        return int(eventually("a leader", find))

    def says(self, number: int, text: str) -> None:
        log = self.swarm.directory / f"sn-{number}" / "output.log"
        eventually(f"{text!r} in the output of sn-{number}", lambda: text in log.read_text(errors="replace"))


def _proposing(names: Sequence[str]) -> Callable[[Client], Awaitable[int]]:
    async def propose(client: Client) -> int:
        return max([(await client.propose("ContractCreated", {"contract": name})).index for name in names])

    return propose


def _looking(names: Sequence[str]) -> Callable[[Client], Awaitable[bool]]:
    async def look(client: Client) -> bool:
        return set(names) <= set((await client.ledger()).unopened)

    return look
