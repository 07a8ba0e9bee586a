"""A learning node that was cut off while the others went on: what its program has learned meanwhile is not lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from swarm.nodes.local import Peer
from tests.nodes.test_swarm import Scene, final, scene

__all__ = ["scene"]  # a fixture


def three_at_their_gates(scene: Scene, gate: Path, own_gate: Path, **environment: Any) -> list[Peer]:
    """All have merged once, together; the last one has a gate of its own."""
    scene.network(1)
    start = scene.directory / "start"  # two would merge without a third that comes a moment later
    peers = [scene.peer(START=start, GATE=each, **environment) for each in (gate, gate, own_gate)]
    for peer in peers:
        scene.says(peer.node, "at the start")
    start.touch()
    for peer in peers:
        scene.says(peer.node, "at the gate")
    return peers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [({}, ""), ({"WIRE": "int8", "MAX_NORM": 20, "SIZE": 5000}, "the norm 70.7107: clipped to 20 (maxDeltaNorm)")],
)
def test_a_peer_that_missed_merges_offers_its_change_anew_and_all_end_with_one_model(
    scene: Scene, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    gate, own_gate, last_gate = tmp_path / "gate", tmp_path / "own", tmp_path / "last"
    *peers, late = three_at_their_gates(scene, gate, own_gate, LAST_GATE=last_gate, SYNCS=4, **options)
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
    assert said in peers[0].node.log.read_text()


@pytest.mark.slow
def test_who_was_dropped_when_the_training_ended_takes_the_last_model_and_lets_everybody_end(
    scene: Scene, tmp_path: Path
) -> None:
    gate, own_gate = tmp_path / "gate", tmp_path / "own"
    *peers, late = three_at_their_gates(scene, gate, own_gate)
    gate.touch()
    scene.says(scene.swarm.network[0], "contract count: finished")
    own_gate.touch()
    assert [scene.ended(peer) for peer in [*peers, late]] == [0, 0, 0]
    assert len({final(peer) for peer in [*peers, late]}) == 1
