"""Nodes that run on after the ledger has let go of them, with all parts real: they join again by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from swarm.core import departed, node
from swarm.nodes.client import Client
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local
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
