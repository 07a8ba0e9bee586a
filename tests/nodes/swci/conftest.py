"""A network of one SN that runs, and sessions of a command interface in it, played within the test."""

from __future__ import annotations

import io
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from swarm.errors import SwarmError
from swarm.nodes.client import Client
from swarm.nodes.launch import Launch
from swarm.nodes.local import READY_S, LocalSwarm
from swarm.nodes.swci import shell
from swarm.nodes.swci.transcript import Transcript
from swarm.runtime.credentials import Credentials
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local


@dataclass
class Network:
    swarm: LocalSwarm
    launch: Launch
    directory: Path

    @property
    def port(self) -> int:
        return self.swarm.api_port(0)

    def credentials(self, organisation: int = 1) -> Credentials:
        tree = self.swarm.trees[organisation - 1]
        return Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    directory = tmp_path_factory.mktemp("network")
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        swarm = LocalSwarm(directory, launch, organisations=2)
        swarm.make_organisations()
        launch.wait_ready([swarm.start_network_node(1)], READY_S)
        yield Network(swarm, launch, directory)


@dataclass
class Played:
    text: str
    commands: list[dict]
    failure: SwarmError | None

    def answer(self, number: int) -> list[str]:
        return self.commands[number]["output"]

    @property
    def errors(self) -> list[str]:
        return [command["error"]["message"] for command in self.commands if not command["ok"]]


Play = Callable[..., Played]
Part = Callable[[Client], Awaitable[None]]
"""What an operator does in the network, as long as the session lasts."""


@pytest.fixture
def play(network: Network, tmp_path: Path) -> Play:
    """Run lines as a script; the context is made by its first two commands, unless told otherwise."""

    async def take_part(number: int, operator: Part, *, task_status) -> None:
        tree = network.swarm.trees[number - 1]
        credentials = Credentials.load(tree.certificate("swop"), tree.key("swop"), tree.capath)
        with StateDirectory(tmp_path / f"swop-{number}") as state:
            client = Client(Local(credentials, state), ("127.0.0.1", network.port))
            async with trio.open_nursery() as nursery:
                await nursery.start(client.run)
                task_status.started()
                await operator(client)
                await trio.sleep_forever()

    def play(
        *lines: str,
        organisation: int = 1,
        context: bool = True,
        stdin: bytes | None = None,
        operators: Sequence[Part] = (),
        **settings,
    ) -> Played:
        enter = [f"create context net with ip 127.0.0.1 {network.port}", "switch context net"] if context else []
        out = settings.get("out") or io.StringIO()
        transcript = Transcript(out)
        reading = None
        if stdin is not None:
            reading, writing = os.pipe()
            os.write(writing, stdin)
            os.close(writing)
        asked = shell.Settings(
            credentials=network.credentials(organisation),
            state=tmp_path / f"swci-{organisation}",
            usr_dir=settings.get("usr_dir"),
            script=(*enter, *lines),
            stdin=reading,
            transcript=transcript,
            environment=settings.get("environment", {}),
        )

        async def session_and_operators() -> shell.Ended:
            async with trio.open_nursery() as nursery:
                for number, operator in enumerate(operators, start=1):
                    await nursery.start(take_part, number, operator)
                ended = await shell.run(asked)
                nursery.cancel_scope.cancel()
            return ended

        try:
            ended = trio.run(session_and_operators)
        finally:
            if reading is not None:
                os.close(reading)
        return Played(out.getvalue(), transcript.commands[len(enter) :], ended.failure)

    return play
