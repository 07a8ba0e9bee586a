"""Network nodes that come back late, from an old copy, or twice: what becomes of the ledger, with all parts real."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from swarm.nodes import sn_heads
from tests.nodes.lives import Lives, play


@pytest.fixture
def lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lives:
    return Lives(tmp_path, monkeypatch)


def test_a_lone_sentinel_from_an_old_copy_is_ended_by_its_own_word_for_what_it_sent(
    lives: Lives, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All that it acknowledged it had signed: also what came after the last exchange of heads."""
    monkeypatch.setattr(sn_heads, "EVERY_S", 3600.0)

    async def main() -> None:
        with lives.author("sl") as author:
            async with lives.running():
                sentinel = await lives.start("sn-1")
                peer = await lives.start("sn-2", at="sn-1")
                await lives.until(lambda: sentinel.local.state.uid in peer.heads._theirs)
                await lives.until(lambda: not sentinel.driver.one_copy)
                shutil.copytree(tmp_path / "sn-1", tmp_path / "backup")
                await lives.write("sn-1", author, 3)
                assert not sentinel.driver.one_copy
                await lives.stop("sn-1")
                head = lives.nodes["sn-2"].driver.last_index
                shutil.rmtree(tmp_path / "sn-1")
                shutil.copytree(tmp_path / "backup", tmp_path / "sn-1")
                restored = await lives.start("sn-1", ready=False)
                await lives.until(lambda: lives.nodes["sn-1"] is not restored)
                assert "this state directory is an old copy" in lives.nodes["sn-1"]._returned
                assert lives.nodes["sn-2"].driver.last_index == head, "what only the peer holds is not given up"
                await lives.promote("sn-2")
                await lives.until(lambda: len(lives.heads("sn-1", "sn-2")) == 1)

    play(main)
