"""Network nodes that come back late, from an old copy, or twice: what becomes of the ledger, with all parts real."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from swarm.errors import RunsTwice
from swarm.nodes import sn, sn_heads
from swarm.nodes.sn import NetworkNode
from swarm.nodes.sn_heads import Heads
from swarm.runtime import backfill, control, snapshots
from swarm.runtime.driver import Driver
from tests.nodes.lives import Lives, play


@pytest.fixture
def lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lives:
    return Lives(tmp_path, monkeypatch)


async def copied(lives: Lives, name: str) -> NetworkNode:
    """A sentinel beside another network node, of whose directory there is a copy by now."""
    sentinel = await lives.start("sn-1")
    await lives.start("sn-2", at="sn-1")
    await lives.until(lambda: not sentinel.driver.one_copy)
    shutil.copytree(lives.path / "sn-1", lives.path / name)
    return sentinel


def test_a_lone_sentinel_from_an_old_copy_is_ended_by_its_own_word_for_what_it_sent(
    lives: Lives, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All that it acknowledged it had signed: also what came after the last exchange of heads."""
    monkeypatch.setattr(Heads, "_note", lambda self, head: None)  # all exchanges were before that

    async def main() -> None:
        with lives.author("sl") as author:
            async with lives.running():
                sentinel = await copied(lives, "backup")
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


def test_who_was_away_before_a_recovery_catches_up_where_all_that_it_lacks_is_in_a_snapshot(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has never heard of the node that decides now; nor has who begins with that snapshot seen the recovery."""
    monkeypatch.setattr(snapshots, "KEPT_BEHIND", 5)
    monkeypatch.setattr(backfill, "AGAIN_S", 0.1)
    monkeypatch.setattr(sn_heads, "EVERY_S", 0.2)
    monkeypatch.setattr(sn, "Driver", partial(Driver, snapshot_every=20))

    async def main() -> None:
        with lives.author("sl") as author:
            async with lives.running():
                sentinel = await lives.start("sn-1")
                gone = (await lives.start("sn-2", at="sn-1")).local.state.uid
                await lives.stop("sn-2")
                await lives.until(lambda: gone not in sentinel.driver._orderer.consensus.behind())  # no voter any more
                promoted = await lives.start("sn-3", at="sn-1")
                await lives.until(lambda: len(lives.heads("sn-1", "sn-3")) == 1)
                await lives.stop("sn-1")
                index = await lives.promote("sn-3")
                await lives.write("sn-3", author, 50)
                await lives.until(lambda: promoted.driver.entry_at(index) is None)
                late = await lives.start("sn-4", at="sn-3")
                assert late.driver.entry_at(index) is None
                await lives.until(lambda: late.heads._recovery == promoted.heads._recovery != b"")
                away = await lives.start("sn-2", at="sn-1", ready=False)
                assert promoted.local.state.uid not in away.driver.ledger.nodes
                await lives.until(lambda: len(lives.heads("sn-2", "sn-3", "sn-4")) == 1)
                assert away.heads._recovery == promoted.heads._recovery
                assert "sn-2" not in lives.ended

    play(main)


def test_r050_the_copy_of_a_sentinel_is_ended_by_the_word_of_the_one_that_lives_and_the_ledger_goes_on(
    lives: Lives, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It decides alone by its ledger, and the only other network node turns it away."""
    monkeypatch.setattr(sn_heads, "EVERY_S", 0.2)
    monkeypatch.setattr(control, "BEAT_S", 0.5)

    async def main() -> None:
        with lives.author("sl") as author:
            async with lives.running():
                sentinel = await copied(lives, "copy")
                await lives.start("copy", ready=False)
                await lives.until(lambda: "copy" in lives.ended)
                assert isinstance(lives.ended["copy"], RunsTwice)
                assert set(lives.ended) == {"copy"}
                await lives.write("sn-1", author)
                assert not sentinel.driver.one_copy

    play(main)


def test_a_lone_sentinel_from_a_copy_of_an_earlier_start_is_turned_away_and_shown_its_own_word(
    lives: Lives, tmp_path: Path
) -> None:
    """Nobody links with it, so that is the only way in which it can be shown."""

    async def main() -> None:
        with lives.author("sl") as author:
            async with lives.running():
                sentinel = await lives.start("sn-1")
                peer = await lives.start("sn-2", at="sn-1")
                await lives.until(lambda: not sentinel.driver.one_copy)
                await lives.stop("sn-1")
                shutil.copytree(tmp_path / "sn-1", tmp_path / "backup")
                sentinel = await lives.start("sn-1")
                await lives.until(lambda: not sentinel.driver.one_copy)
                index = await lives.write("sn-1", author, 3)
                await lives.until(lambda: peer.driver.head == index)
                await lives.stop("sn-1")
                shutil.rmtree(tmp_path / "sn-1")
                shutil.copytree(tmp_path / "backup", tmp_path / "sn-1")
                restored = await lives.start("sn-1", ready=False)
                await lives.until(lambda: lives.nodes["sn-1"] is not restored)
                assert "has been replaced" in lives.nodes["sn-1"]._returned
                assert peer.driver.last_index == index

    play(main)
