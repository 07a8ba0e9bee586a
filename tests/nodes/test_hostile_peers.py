"""A network node and those who do not play by the rules: they lose their link, and nothing else happens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from swarm.errors import BadInput, Refused, SwarmError
from swarm.nodes import sn
from swarm.runtime.authority import CertificateTree, issue
from swarm.runtime.control import Control, Link
from swarm.runtime.mesh import Mesh
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Credentials, Local

HERE = "127.0.0.1"
Handler = Callable[[Link, dict[str, Any]], Awaitable[Any]]


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = CertificateTree(path / "certificates", "1")
        issue(self.tree, organisation="org-a")

    def credentials(self, role: str) -> Credentials:
        return Credentials.load(self.tree.certificate(role), self.tree.key(role), self.tree.capath)

    @asynccontextmanager
    async def sentinel(self) -> AsyncIterator[int]:
        """A running sentinel; its port."""
        with StateDirectory(self.path / "sentinel") as state:
            settings = sn.Settings(HERE, 0, 0, self.credentials("sn"), state, None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sn.run, settings)
                while not (state.path / "ready.json").exists():
                    await trio.sleep(0.01)
                yield int(json.loads((state.path / "ready.json").read_text())["api_port"])
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def linked(self, port: int, entries: Handler) -> AsyncIterator[Link]:
        """A learning node with its own way to answer `entries`."""
        with StateDirectory(self.path / "hostile") as state:
            mesh = Mesh(Local(self.credentials("sl"), state))
            control = Control(mesh, {"entries": entries}, lambda peer, verb: None)
            async with mesh.run(listen=[]), control.run():
                yield await control.connect(HERE, port, deadline_s=5)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def play(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(30):
            await main()

    trio.run(bounded)


async def still_serves(world: World, port: int) -> None:
    async with world.linked(port, nothing) as link:
        assert (await link.call("status", {}, deadline_s=5))["head"] >= 1


async def nothing(link: Link, body: dict[str, Any]) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    "taken", [None, [], {}, {"head": None}, {"head": "9"}, {"head": -1}, {"head": 0}, {"head": float("inf")}]
)
def test_a_follower_that_answers_nonsense_is_fed_no_more(world: World, taken: Any) -> None:
    async def answer(link: Link, body: dict[str, Any]) -> Any:
        return taken

    async def main() -> None:
        async with world.sentinel() as port:
            async with world.linked(port, answer) as link:
                await link.call("follow", {"after": 0}, deadline_s=5)
                await link.closed.wait()
            await still_serves(world, port)

    play(main)


def test_a_follower_whose_refusal_is_malformed_ends_nobody_else(world: World) -> None:
    class Odd(SwarmError):
        def to_wire(self) -> dict[str, Any]:
            return {"code": "seven", "message": ["a"], "hint": None}

    async def refuse(link: Link, body: dict[str, Any]) -> Any:
        raise Odd("")

    async def main() -> None:
        async with world.sentinel() as port:
            async with world.linked(port, refuse) as link:
                await link.call("follow", {"after": 0}, deadline_s=5)
                await link.closed.wait()
            await still_serves(world, port)

    play(main)


@pytest.mark.parametrize("after", [-1, "-" + "9" * 60, 1.5, None, True])
def test_where_to_follow_from_is_a_whole_number(world: World, after: Any) -> None:
    async def main() -> None:
        async with world.sentinel() as port, world.linked(port, nothing) as link:
            with pytest.raises(BadInput, match="'follow' says after which entry"):
                await link.call("follow", {"after": after}, deadline_s=5)

    play(main)


def test_a_link_follows_once(world: World) -> None:
    async def main() -> None:
        async with world.sentinel() as port, world.linked(port, nothing) as link:
            await link.call("follow", {"after": 99}, deadline_s=5)
            with pytest.raises(Refused, match="this link follows the ledger already"):
                await link.call("follow", {"after": 99}, deadline_s=5)

    play(main)
