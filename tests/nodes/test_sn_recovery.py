"""Forced recoveries that others show: who is behind judges them by entries that it verifies itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.core.ledger import Ledger
from swarm.errors import SwarmError
from swarm.nodes.sn_recovery import Recovery, judged, ledger_before
from swarm.runtime.replica import Replica
from tests.runtime.sns import Node, World, recovery, renew, run


def ledger_of(node: Node, upto: int) -> Ledger:
    """What somebody has who was away since then."""
    replica = Replica(node.driver.ledger.network_id)
    for raw in node.driver.entries_after(0)[:upto]:
        replica.take(raw)
    return replica.ledger


def link_to(node: Node, **changes: Any) -> Any:
    async def call(verb: str, body: dict[str, Any], *, deadline_s: float) -> Any:
        assert verb == "snapshot"
        return {**node.driver.snapshots.answer_piece(body), **changes}

    return SimpleNamespace(peer="sn-2 (org-a)", call=call)


def test_who_is_behind_judges_a_recovery_by_the_entries_that_the_other_side_has(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        with world.client("swci") as swci:
            async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
                behind = ledger_of(sentinel, 1)
                await renew(sentinel, 3)
                world.network.cut = True
                outcome = await peer.driver.promote(recovery(swci, peer), deadline_s=5)
                assert outcome.accepted, outcome.reason
                shown = peer.driver.entry_at(outcome.index)
                assert shown is not None
                with pytest.raises(SwarmError, match="is no network node of this ledger"):
                    judged(shown.raw, behind, "sn-2")
                ledger = await ledger_before(outcome.index, behind, link_to(peer))
                who = str(swci.local.credentials.identity)
                expected = Recovery(shown.raw, 1, outcome.index, peer.local.state.uid, who)
                assert judged(shown.raw, ledger, "sn-2") == expected
                assert behind.head_index == 1, "the own ledger is another object"
                for lie in ([b"?"], [], [sentinel.driver.entries_after(0)[0]]):
                    with pytest.raises(SwarmError):
                        await ledger_before(outcome.index, behind, link_to(peer, entries=lie))

    run(scenario)
