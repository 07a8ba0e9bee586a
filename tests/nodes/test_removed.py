"""A network node that a person removes while it decides alone, in this process, with all parts real."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.wire.signed import sign_proposal
from tests.nodes.lives import Lives, play


def test_one_that_is_started_again_hands_over_what_it_decided_and_ends_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = Lives(tmp_path, monkeypatch)

    async def main() -> None:
        async with lives.running():
            former = await lives.start("sn-1")
            other = await lives.start("sn-2", "sn-1")
            own, theirs = former.local.state.uid, other.local.state.uid
            with lives.author("swci") as swci:
                await lives.write("sn-1", swci)
                state = swci.local.state
                raw = sign_proposal(
                    state.node_key, network_id=state.network_id or former.driver.ledger.network_id, uid=state.uid,
                    incarnation=state.incarnation, seq=swci.seq, kind="SnRemoved", body={"uid": own},
                )  # fmt: skip
                assert (await former.driver.propose(raw, deadline_s=10)).accepted
            assert former.driver.voters == (own,), "before anything was handed over"
            await lives.stop("sn-1")
            again = await lives.start("sn-1", "sn-2", ready=False)
            await lives.until(lambda: other.driver.ledger.voters == (theirs,))
            await lives.until(lambda: "sn-1" in lives.ended)
            assert again.driver.ledger.voters == (theirs,)
            assert "was removed from its network" in lives.ended["sn-1"].message

    play(main)
