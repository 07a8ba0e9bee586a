"""SNs for tests: real disks and certificates, a network in memory that loses messages and can be cut."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from swarm.core.rules import KNOWN
from swarm.errors import SwarmError, Unreachable
from swarm.runtime.authority import CertificateTree, issue
from swarm.runtime.driver import Driver
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.store import Store
from swarm.runtime.tls import Credentials, Local
from swarm.wire.signed import sign_proposal

DEADLINE_S = 20.0


@dataclass
class Network:
    """Carries the SNs' messages, as bytes; loses all when cut, and what goes to or from whom is cut off."""

    drivers: dict[str, Driver] = field(default_factory=dict)
    cut: bool = False
    cut_off: set[str] = field(default_factory=set)
    mute: bool = False
    """No question is answered, only consensus goes on."""
    largest: int = 0
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    weather: Callable[[], int] = lambda: 1
    """How often the next message arrives."""

    def sender(self, uid: str) -> Callable[[str, dict[str, Any]], None]:
        return lambda to, message: self.send(uid, to, msgpack.packb(message))

    def send(self, sender: str, to: str, wire: bytes) -> None:
        self.largest = max(self.largest, len(wire))
        if not self.cut:
            token = trio.lowlevel.current_trio_token()
            for _ in range(self.weather()):
                token.run_sync_soon(self.deliver, sender, to, wire)

    def deliver(self, sender: str, to: str, wire: bytes) -> None:
        if to in self.drivers and not self.cut and not self.cut_off & {sender, to}:
            self.drivers[to].receive(sender, msgpack.unpackb(wire))

    def caller(self, uid: str) -> Callable[[str, str, dict[str, Any]], Awaitable[Any]]:
        async def call(to: str, verb: str, body: dict[str, Any]) -> Any:
            await trio.lowlevel.checkpoint()
            self.calls.append((to, verb, body))
            if to not in self.drivers or self.cut or self.mute or self.cut_off & {uid, to}:
                raise Unreachable(f"no link to {to}")
            verbs = {
                "cosign": partial(self.drivers[to].snapshots.answer_cosign, uid),
                "snapshot": self.drivers[to].snapshots.answer_piece,
            }
            wire = msgpack.packb(verbs[verb](msgpack.unpackb(msgpack.packb(body))))
            self.largest = max(self.largest, len(wire))
            return msgpack.unpackb(wire)

        return call


@dataclass
class Author:
    """A process that has something to say to the ledger."""

    local: Local
    seq: int = 1

    def joining(self, network_id: bytes, **changes: Any) -> bytes:
        """A NodeJoined: its first, or a renewal."""
        state, credentials = self.local.state, self.local.credentials
        body = {
            "chain": credentials.chain,
            "node_key": state.node_public,
            "role": credentials.identity.role,
            "addresses": ["127.0.0.1:30304"],
            "incarnation": state.incarnation,
            "rules": KNOWN,
            **changes,
        }
        raw = sign_proposal(
            state.node_key,
            network_id=network_id,
            uid=state.uid,
            incarnation=state.incarnation,
            seq=self.seq,
            kind="NodeJoined",
            body=body,
            certificate_key=credentials.private_key,
        )
        self.seq += 1
        return raw


@dataclass
class Node(Author):
    driver: Driver = field(kw_only=True)


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        tree = CertificateTree(path / "certificates", "1")
        issue(tree, organisation="org-a")
        self._of = {
            role: Credentials.load(tree.certificate(role), tree.key(role), tree.capath, expect_roles=(role,))
            for role in ("sn", "sl", "swci")
        }
        self.network = Network()
        self.settings: dict[str, Any] = {}
        """What every driver gets besides."""

    @asynccontextmanager
    async def node(self, name: str, **more: Any) -> AsyncIterator[Node]:
        """An SN on the state directory of this name; "s" is the sentinel."""
        with StateDirectory(self.path / name) as state:
            local = Local(self._of["sn"], state)
            store = Store(state.path / "ledger.db")
            driver = Driver(
                store,
                local,
                role="sentinel" if name == "s" else "peer",
                addresses=lambda: ["127.0.0.1:30304"],
                on_applied=lambda entry, applied: None,
                send=self.network.sender(state.uid),
                call=self.network.caller(state.uid),
                **{**self.settings, **more},
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(driver.run)
                self.network.drivers[state.uid] = driver
                try:
                    yield Node(local, driver=driver)
                finally:
                    self.network.drivers.pop(state.uid, None)
                    nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def sentinel(self, **more: Any) -> AsyncIterator[Node]:
        async with self.node("s", **more) as node:
            if node.driver.ledger.nodes[node.local.state.uid].incarnation == node.local.state.incarnation:
                node.seq = 2  # it introduced itself by its genesis
            else:
                await self.introduce(node, node)
            yield node

    @asynccontextmanager
    async def peer(self, sentinel: Node, name: str = "p") -> AsyncIterator[Node]:
        """A peer that has joined through the sentinel and is in step."""
        async with self.node(name) as node:
            node.local.state.set_network_id(sentinel.driver.ledger.network_id)  # as the handshake does
            await self.introduce(sentinel, node)
            await until(lambda: not sentinel.driver.one_copy and level(sentinel, node))
            yield node

    @contextmanager
    def client(self, role: str = "sl") -> Iterator[Author]:
        """Somebody whose proposals are in nobody's way: a leading SN makes some of its own."""
        with StateDirectory(self.path / role) as state:
            yield Author(Local(self._of[role], state))

    @asynccontextmanager
    async def three(self) -> AsyncIterator[tuple[Node, Node, Node]]:
        """Three SNs that all vote."""
        async with self.sentinel() as first, self.peer(first, "p") as second, self.peer(first, "q") as third:
            nodes = first, second, third
            await until(lambda: all(len(node.driver.ledger.voters) == 3 for node in nodes))
            yield nodes

    async def introduce(self, leader: Node, node: Node) -> None:
        await accepted(leader, node.joining(leader.driver.ledger.network_id))


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(DEADLINE_S):
        while not condition():
            await trio.sleep(0.005)


async def accepted(leader: Node, raw: bytes) -> int:
    outcome = await leader.driver.propose(raw, deadline_s=DEADLINE_S)
    assert outcome.accepted, outcome.reason
    return outcome.index


async def leader_of(*nodes: Node) -> Node:
    """Whoever of these leads, once somebody does."""
    await until(lambda: any(node.driver.role == "leader" for node in nodes))
    return next(node for node in nodes if node.driver.role == "leader")


async def renew(node: Node, times: int = 1, *, long: bool = False, author: Author | None = None) -> None:
    """Add entries."""
    author = author or node
    addresses = [f"{'a' * 240}-{place}:1" for place in range(8)] if long else ["127.0.0.1:1"]
    for _ in range(times):
        await accepted(node, author.joining(node.driver.ledger.network_id, addresses=addresses))


def recovery(swci: Author, node: Node, **changes: Any) -> bytes:
    """A person's word that this node decides alone."""
    state, ledger = swci.local.state, node.driver.ledger
    return sign_proposal(
        state.node_key,
        network_id=ledger.network_id,
        uid=state.uid,
        incarnation=state.incarnation,
        seq=1,
        kind="ForcedRecovery",
        body={
            "chain": swci.local.credentials.chain,
            "node_key": state.node_public,
            "incarnation": state.incarnation,
            "epoch": ledger.epoch + 1,
            "uid": node.local.state.uid,
            "reason": "the sentinel burned",
            "lost_after": node.driver.last_index,
            **changes,
        },
        certificate_key=swci.local.credentials.private_key,
    )


def level(one: Node, other: Node) -> bool:
    return one.driver.ledger.digest() == other.driver.ledger.digest()


def run(scenario: Callable[..., Awaitable[None]], *values: Any) -> None:
    async def timed() -> None:
        with trio.fail_after(60):
            await scenario(*values)

    trio.run(partial(timed))


def failure(scenario: Callable[..., Awaitable[None]], *values: Any) -> SwarmError:
    """The one sentence that the scenario ends with."""
    with pytest.raises((SwarmError, BaseExceptionGroup)) as caught:
        run(scenario, *values)
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        assert len(error.exceptions) == 1, error.exceptions
        error = error.exceptions[0]
    assert isinstance(error, SwarmError), error
    assert error.hint
    assert "\n" not in error.message
    return error
