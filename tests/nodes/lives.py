"""Network nodes in this process, each with its directory and sockets, that are stopped and started as a test says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from swarm.errors import SwarmError
from swarm.nodes import sn
from swarm.nodes.sn import NetworkNode
from swarm.runtime.authority import CertificateTree, issue
from swarm.runtime.credentials import Credentials
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local
from tests.runtime.sns import Author, recovery

HERE = "127.0.0.1"
PATIENCE_S = 60.0


class Lives:
    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.tree = CertificateTree(path / "certificates", "1")
        issue(self.tree, organisation="org-a")
        self.nodes: dict[str, NetworkNode] = {}
        """The latest life of each, by the name of its directory."""
        self.ended: dict[str, SwarmError] = {}
        self._ports: dict[str, tuple[int, int]] = {}
        self._scopes: dict[str, tuple[trio.CancelScope, trio.Event]] = {}

        def noted(settings: sn.Settings, local: Local, returned: str) -> NetworkNode:
            node = self.nodes[settings.state.path.name] = NetworkNode(settings, local, returned)
            return node

        monkeypatch.setattr(sn, "NetworkNode", noted)

    def credentials(self, role: str) -> Credentials:
        return Credentials.load(self.tree.certificate(role), self.tree.key(role), self.tree.capath)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as self._nursery:
                yield
                self._nursery.cancel_scope.cancel()

    async def start(self, name: str, at: str | None = None, *, ready: bool = True) -> NetworkNode:
        """On the ports that it had before, if it was here before; through the node ``at``, or as the sentinel."""
        (self.path / name / "ready.json").unlink(missing_ok=True)
        scope, over = self._scopes[name] = trio.CancelScope(), trio.Event()
        self.nodes.pop(name, None)
        self._nursery.start_soon(self._live, name, at, scope, over)
        await self.until(lambda: name in self.nodes and (not ready or self._noted(name) is not None))
        return self.nodes[name]

    async def _live(self, name: str, at: str | None, scope: trio.CancelScope, over: trio.Event) -> None:
        try:
            with StateDirectory(self.path / name) as state, scope:
                ports, entrance = self._ports.get(name, (0, 0)), (HERE, self._ports[at][1]) if at else None
                await sn.run(sn.Settings(HERE, *ports, self.credentials("sn"), state, entrance))
        except* SwarmError as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            assert isinstance(error, SwarmError)
            self.ended[name] = error
        finally:
            over.set()

    def _noted(self, name: str) -> tuple[int, int] | None:
        path = self.path / name / "ready.json"
        if path.exists():
            said = json.loads(path.read_text())
            self._ports[name] = int(said["p2p_port"]), int(said["api_port"])
            return self._ports[name]
        return None

    async def stop(self, name: str) -> None:
        scope, over = self._scopes[name]
        scope.cancel()
        await over.wait()

    async def until(self, condition: Callable[[], Any]) -> None:
        while not condition():
            await trio.sleep(0.01)

    # ---- who has something to say

    @contextmanager
    def author(self, role: str) -> Iterator[Author]:
        with StateDirectory(self.path / role) as state:
            yield Author(Local(self.credentials(role), state))

    async def write(self, name: str, author: Author, times: int = 1) -> int:
        """Have this node acknowledge entries of that author; the index of the last."""
        driver = self.nodes[name].driver
        for _ in range(times):
            outcome = await driver.propose(author.joining(driver.ledger.network_id), deadline_s=10)
            assert outcome.accepted, outcome.reason
        return outcome.index

    async def promote(self, name: str) -> int:
        """Let this node decide alone, by the word of a person; the index of that entry."""
        node: Any = self.nodes[name]
        with self.author("swci") as swci:
            outcome = await node.driver.promote(recovery(swci, node), deadline_s=10)
        assert outcome.accepted, outcome.reason
        return int(outcome.index)

    def heads(self, *names: str) -> set[bytes]:
        return {self.nodes[name].driver.ledger.head_hash for name in names}


def play(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main)
