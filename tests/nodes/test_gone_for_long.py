"""Nodes that run on after the ledger has let go of them, with all parts real: they join again by themselves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from swarm.core import departed, node
from swarm.core.events import Outcome
from swarm.core.tensors import Schema, TensorSpec
from swarm.errors import IdentityError, Refused, SwarmError
from swarm.nodes.client import Client
from swarm.nodes.joining import is_known
from swarm.nodes.participant import Asked, ParticipantNode
from swarm.nodes.sl import LearningNode, Settings
from swarm.runtime.channel_server import ChannelServer
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local
from swarm.wire.messages import Open
from tests.nodes.lives import HERE, Lives, play


@pytest.fixture
def lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lives:
    for module in (departed, node):
        monkeypatch.setattr(module, "KEPT", 6)
    monkeypatch.setattr(departed, "MOST", 0)
    return Lives(tmp_path, monkeypatch)


async def forgotten(lives: Lives, uid: str) -> None:
    """Others come and go until the ledger has no row of this node any more."""
    ledger = lives.nodes["sn-1"].driver.ledger
    await visit(lives, "one", *(f"one-{number}" for number in range(6)))
    await visit(lives, "another", "another")
    await lives.until(lambda: uid not in ledger.nodes)
    assert ledger.departed.before


async def lost(lives: Lives, node: LearningNode) -> None:
    """By its own word, which a network node does not hear before the first tick that it leads."""
    ledger = lives.nodes["sn-1"].driver.ledger
    while ledger.nodes[node.state.uid].state == "live":
        await node._say_going()
        await trio.sleep(0.01)


async def visit(lives: Lives, name: str, *contracts: str) -> None:
    with StateDirectory(lives.path / name) as state:
        client = Client(Local(lives.credentials("swci"), state), address(lives))
        async with trio.open_nursery() as nursery:
            await nursery.start(client.run)
            for contract in contracts:
                await client.propose("ContractCreated", {"contract": contract})
            client.close()


def address(lives: Lives) -> tuple[str, int]:
    return HERE, lives._ports["sn-1"][1]


def test_a_command_interface_that_was_gone_for_long_proposes_as_before(lives: Lives) -> None:
    async def main() -> None:
        async with lives.running():
            ledger = (await lives.start("sn-1")).driver.ledger
            with StateDirectory(lives.path / "stays") as state:
                client = Client(Local(lives.credentials("swci"), state), address(lives))
                async with trio.open_nursery() as nursery:
                    await nursery.start(client.run)
                    await client.propose("ContractCreated", {"contract": "first"})
                    assert (await client.link.propose("NodeLeft", {})).accepted
                    await forgotten(lives, state.uid)
                    await lives.until(lambda: state.uid not in client.link.ledger.nodes)
                    assert state.uid not in client.link.replica.chains
                    await client.propose("ContractCreated", {"contract": "second"})
                    assert {"first", "second"} <= ledger.unopened.keys()
                    assert ledger.nodes[state.uid].state == "live"
                    await lives.until(lambda: client.link.ledger.digest() == ledger.digest())
                    client.close()

    play(main)


def test_a_learning_node_that_was_lost_for_long_joins_again_when_its_program_comes(lives: Lives) -> None:
    channel = ChannelServer(lives.path / "channel", node="sl-1 (org-a)")
    schema = Schema((TensorSpec("kernel", "float32", (4,)),))
    session: Any = SimpleNamespace(schema=schema)
    nobody = Open("digits", {"minPeers": 0}, 1, 1, "snapshot", schema.to_wire())

    async def main() -> None:
        async with lives.running():
            ledger = (await lives.start("sn-1")).driver.ledger
            with StateDirectory(lives.path / "sl-1") as state, channel.listening():
                settings = Settings(address(lives), HERE, 0, lives.credentials("sl"), state, channel, None)
                learning = LearningNode(settings)
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(learning.run)
                        await learning._joined.wait()
                        await lost(lives, learning)
                        await forgotten(lives, state.uid)
                        await lives.until(lambda: state.uid not in learning.link.ledger.nodes)
                        with pytest.raises(SwarmError, match="minPeers"):
                            await learning.open(session, nobody)
                        assert ledger.nodes[state.uid].state == "live"
                        nursery.cancel_scope.cancel()
                finally:
                    learning.close()

    play(main)


class Waiting(ParticipantNode):
    """One whose program runs on."""

    async def _program(self) -> int:
        await trio.sleep_forever()


@pytest.mark.parametrize("behind", [False, True])
def test_a_participant_that_was_lost_for_long_joins_again_before_it_asks_for_its_slot(
    lives: Lives, behind: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``behind``: it reads only while it asks that it is known no longer."""
    channel = ChannelServer(lives.path / "channel", node="sl-1 (org-a)")
    asked = Asked("digits", "trainer", b"secret", None, None, None, None, 1.0)

    async def main() -> None:
        async with lives.running():
            ledger = (await lives.start("sn-1")).driver.ledger
            with StateDirectory(lives.path / "sl-1") as state, channel.listening():
                settings = Settings(address(lives), HERE, 0, lives.credentials("sl"), state, channel, None)
                node = Waiting(settings, asked)
                declined, reads, take = trio.Event(), trio.Event(), node.link._take

                async def wait_and_take(*values: Any) -> None:
                    await reads.wait()
                    await take(*values)

                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(node.run)
                        await node._joined.wait()
                        monkeypatch.setattr(node.link, "_take", wait_and_take)
                        monkeypatch.setattr(node.link, "_report", lambda text: declined.set())
                        if not behind:
                            reads.set()
                        await lost(lives, node)
                        await forgotten(lives, state.uid)
                        await lives.until(lambda: behind or not is_known(node.link))
                        nursery.start_soon(refused, node)
                        if behind:
                            await declined.wait()
                            assert is_known(node.link), "as far as it has read"
                            reads.set()
                        await lives.until(lambda: state.uid in ledger.nodes)
                        await over.wait()
                        assert ledger.nodes[state.uid].state == "live"
                        nursery.cancel_scope.cancel()
                finally:
                    node.close()

    async def refused(node: ParticipantNode) -> None:
        with pytest.raises(Refused, match="digits"):
            await node._join_slot("digits")
        over.set()

    over = trio.Event()
    play(main)


def test_a_participant_whom_the_network_does_not_take_back_ends_as_its_program_ended(
    lives: Lives, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was removed, or its organisation was: the word of the end cannot be told, and the end is as it was."""
    channel = ChannelServer(lives.path / "channel", node="sl-1 (org-a)")
    asked = Asked("digits", "trainer", b"secret", None, None, None, None, 1.0)

    async def refused(*of: Any) -> Outcome:
        return Outcome(1, False, IdentityError.code, "its certificate was revoked")

    monkeypatch.setattr("swarm.nodes.sl.join", refused)

    class Ending(ParticipantNode):
        """One whose program ends at once."""

        async def _program(self) -> int:
            self._slot, self._fence = "7.0", 3
            await self._program_ended(cast(Any, SimpleNamespace(last_lines=())), 0)
            return 0

    async def main() -> None:
        with StateDirectory(lives.path / "sl-1") as state, channel.listening():
            node = Ending(Settings((HERE, 1), HERE, 0, lives.credentials("sl"), state, channel, None), asked)
            try:
                node.server.start()
                assert await node._program() == 0
            finally:
                node.close()
            assert node.said["exit_code"] == 0

    play(main)
    assert "slot 7.0 is done: the network did not admit this learning node: its certificate was revoked" in caplog.text


def test_a_learning_node_that_reads_slowly_reads_on_and_joins_when_rows_went_meanwhile(lives: Lives) -> None:
    channel = ChannelServer(lives.path / "channel", node="sl-1 (org-a)")

    async def main() -> None:
        async with lives.running():
            ledger = (await lives.start("sn-1")).driver.ledger
            await visit(lives, "first", "first")
            (gone,) = (uid for uid, node in ledger.nodes.items() if node.identity.role == "swci")
            with StateDirectory(lives.path / "sl-1") as state, channel.listening():
                settings = Settings(address(lives), HERE, 0, lives.credentials("sl"), state, channel, None)
                learning = LearningNode(settings)
                propose, read = learning.link.propose, list[int]()

                async def slowly(kind: str, body: dict[str, Any], **how: Any) -> Any:
                    read.append(body["after"])
                    if len(read) == 1:
                        await forgotten(lives, gone)
                    return await propose(kind, body, **how)

                learning.link.propose = slowly  # type: ignore[method-assign]
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(learning.run)
                        await learning._joined.wait()
                        assert read[0] < ledger.departed.before <= read[1]
                        assert ledger.nodes[state.uid].state == "live"
                        nursery.cancel_scope.cancel()
                finally:
                    learning.close()

    play(main)
