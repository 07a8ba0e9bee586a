"""One session of a command interface: its contexts, its directory, and the connections that its commands need.

Made by the shell; every command's function gets it. Guarantees: a network is connected to once, whatever the number of
contexts on it; what a command proposed is decided when the command ends; a session that is killed has left nothing
half done in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from swarm.core.events import Outcome
from swarm.core.ledger import Ledger
from swarm.errors import BadInput
from swarm.nodes.client import Client
from swarm.nodes.ledgerlink import Address
from swarm.nodes.swci.directory import Directory
from swarm.nodes.swci.transcript import Transcript
from swarm.runtime.credentials import Credentials
from swarm.runtime.started import TaskStatus
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local


@dataclass
class Context:
    """A network that commands can work with, and what was set for them in it."""

    address: Address
    variables: dict[str, str] = field(default_factory=dict)


@dataclass
class Session:
    credentials: Credentials
    state: Path
    """Below it every network that is connected to has a state directory."""
    directory: Directory
    transcript: Transcript
    environment: Mapping[str, str]
    nursery: trio.Nursery
    contexts: dict[str, Context] = field(default_factory=dict)
    context: str = ""
    """The active one; empty: none yet."""
    exit_on_failure: bool = False
    over: bool = False
    _clients: dict[Address, Client] = field(default_factory=dict)

    def say(self, text: str) -> None:
        self.transcript.say(text)

    def variable(self, name: str, context: str = "") -> str:
        """What is set in this context (the active one), or else in the environment; empty if nothing is."""
        found = self.contexts.get(context or self.context)
        set_here = found.variables if found else {}
        return set_here.get(name, self.environment.get(name, ""))

    async def client(self, address: Address) -> Client:
        if address not in self._clients:
            await self.nursery.start(self._connect, address)
        return self._clients[address]

    async def _connect(self, address: Address, *, task_status: TaskStatus) -> None:
        host, port = address
        with StateDirectory(self.state / f"{host}_{port}") as state:
            self._clients[address] = client = Client(Local(self.credentials, state), address)
            await client.run(task_status=task_status)

    async def network(self) -> Client:
        """Of the active context."""
        if not self.context:
            first = [] if self.contexts else ["CREATE CONTEXT <name> WITH IP <ip>"]
            switch = f"SWITCH CONTEXT {next(iter(self.contexts), '<name>')}"
            raise BadInput("no context is active", hint=", then ".join([*first, switch]))
        return await self.client(self.contexts[self.context].address)

    async def ledger(self) -> Ledger:
        return await (await self.network()).ledger()

    async def propose(self, kind: str, **body: Any) -> Outcome:
        return await (await self.network()).propose(kind, body)

    def leave(self) -> None:
        """Close every connection; the nursery ends when they are."""
        for client in self._clients.values():
            client.close()
