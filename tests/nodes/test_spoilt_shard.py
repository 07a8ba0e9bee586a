"""Real learning nodes, one of which sends one owner of a shard what cannot be merged: it goes, and nobody else does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.nodes.launch import Launch
from tests.nodes.test_swarm import Scene, final, output

SPOILING = Path(__file__).parent / "programs" / "spoiling"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        yield Scene(tmp_path, launch, organisations=4)


@pytest.mark.slow
def test_r055_who_spoils_the_shard_of_one_owner_is_named_and_the_round_goes_on_without_it(scene: Scene) -> None:
    scene.network(1)
    start = scene.directory / "start"
    options = {"START": start, "SYNCS": 1, "SIZE": 1_200_000, "MIN_PEERS": 2}
    honest = [scene.peer(**options) for _ in range(3)]
    evil = scene.peer(**options, SPOIL=1, VALUE="nan", PYTHONPATH=f"{SPOILING}{os.pathsep}{os.getcwd()}")
    for peer in (*honest, evil):
        scene.says(peer.node, "at the start")
    start.touch()
    assert [scene.ended(peer) for peer in honest] == [0, 0, 0]
    assert len({final(peer) for peer in honest}) == 1
    assert all("without this node's weights: it was suspected" not in output(peer.node) for peer in honest)
    assert "without this node's weights: it was suspected" in output(evil.node)
    assert "round 1 merged by 3 members" in output(honest[0].node)
