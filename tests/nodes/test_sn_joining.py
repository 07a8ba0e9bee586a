"""How a network node that starts has itself known in the ledger."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from swarm.errors import Crowded
from swarm.nodes import sn


def test_who_is_turned_away_joins_later_in_the_line_of_its_own_organisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told so at once: without a rest it would ask as fast as it can."""
    asked: list[tuple[float, bytes]] = []

    async def propose(raw: bytes, deadline_s: float, by: bytes = b"") -> Any:
        asked.append((trio.current_time(), by))
        await trio.lowlevel.checkpoint()
        if len(asked) < 4:
            raise Crowded("a test")
        return SimpleNamespace(accepted=True, index=0)

    monkeypatch.setattr(sn, "introduction", lambda *said: {})
    monkeypatch.setattr(sn, "sign_proposal", lambda *said, **more: b"raw")
    state = SimpleNamespace(uid="u", incarnation=bytes(16), network_id=bytes(32), node_key=None)
    credentials = SimpleNamespace(private_key=None, identity=SimpleNamespace(anchor=b"own"))
    ledger = SimpleNamespace(nodes={}, network_id=bytes(32), head_index=1)
    node: Any = SimpleNamespace(
        local=SimpleNamespace(state=state, credentials=credentials),
        driver=SimpleNamespace(ledger=ledger),
        leader=SimpleNamespace(propose=propose),
        addresses=list,
    )
    trio.run(sn.NetworkNode._join, node, clock=MockClock(autojump_threshold=0))
    assert [round(at - asked[0][0]) for at, _ in asked] == [0, 1, 2, 3]
    assert {by for _, by in asked} == {b"own"}
