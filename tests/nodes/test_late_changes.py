"""A learning node that was cut off while the others went on: what its program has learned meanwhile is not lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.nodes.test_swarm import Scene, final, scene

__all__ = ["scene"]  # a fixture


@pytest.mark.slow
def test_a_peer_that_missed_merges_offers_its_change_anew_and_all_end_with_one_model(
    scene: Scene, tmp_path: Path
) -> None:
    scene.network(1)
    gate, own_gate, last_gate = tmp_path / "gate", tmp_path / "own", tmp_path / "last"
    peers = [scene.peer(GATE=gate, LAST_GATE=last_gate, SYNCS=4) for _ in range(2)]
    late = scene.peer(GATE=own_gate, SYNCS=4)
    for peer in [*peers, late]:
        scene.says(peer.node, "at the gate")
    os.kill(late.node.pid, signal.SIGSTOP)
    try:
        gate.touch()  # two merges without it, as soon as it counts as lost
        for peer in peers:
            scene.says(peer.node, "at the last gate")
    finally:
        os.kill(late.node.pid, signal.SIGCONT)
    own_gate.touch()
    scene.says(late.node, "missed 2 merges: what 1 batches have changed is offered anew, with 57.7 % of its weight")
    last_gate.touch()
    assert [scene.ended(peer) for peer in [*peers, late]] == [0, 0, 0]
    assert len({final(peer) for peer in [*peers, late]}) == 1


@pytest.mark.slow
def test_who_was_dropped_when_the_training_ended_takes_the_last_model_and_lets_everybody_end(
    scene: Scene, tmp_path: Path
) -> None:
    scene.network(1)
    gate, own_gate = tmp_path / "gate", tmp_path / "own"
    peers = [scene.peer(GATE=gate) for _ in range(2)]
    late = scene.peer(GATE=own_gate)
    for peer in [*peers, late]:
        scene.says(peer.node, "at the gate")
    gate.touch()
    scene.says(scene.swarm.network[0], "contract count: finished")
    own_gate.touch()
    assert [scene.ended(peer) for peer in [*peers, late]] == [0, 0, 0]
    assert len({final(peer) for peer in [*peers, late]}) == 1
