"""Nesterov's outer step in a swarm of real processes: all end with what the formula says, also who came late."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from tests.nodes.test_swarm import Scene, final, scene

__all__ = ["scene"]  # a fixture


def stepped(rounds: Sequence[Sequence[int]], start: float) -> np.float32:
    """A model of one number, to which each member of each round has added its own. Rate 0.7, momentum 0.9."""
    model, momentum = np.float32(start), np.float32(0)
    for added in rounds:
        gain = float(np.float32(sum(float(model + np.float32(more)) for more in added) / len(added))) - float(model)
        momentum = np.float32(float(momentum) * 0.9 + gain)
        model = np.float32((float(momentum) * 0.9 + gain) * 0.7 + float(model))
    return model


@pytest.mark.slow
def test_a_late_joiner_takes_over_the_momentum_and_all_end_with_what_the_formula_says(scene: Scene) -> None:
    scene.network(1)
    options = {"OUTER": "nesterov", "CHECKIN": "active", "SYNCS": 2}
    gate, first = scene.at_the_gate(**options)
    late = scene.peer(GATE=gate, **options)
    scene.says(late.node, "adopted")
    gate.touch()
    assert [scene.ended(peer) for peer in [*first, late]] == [0, 0, 0]
    # 1 and 2 alone; then all three; then 1 and 2 have ended, with the merged model, while 3 trains once more
    weights = np.full(1000, stepped([(1, 2), (1, 2, 3), (0, 0, 3)], 1.5), np.float32)
    counted = np.array(5)  # (0 + 1 + 0 + 2) / 2, (2 · 3 + 1 + 2 + 3) / 3, (4 · 3 + 3) / 3: no momentum
    expected = f"final {hashlib.sha256(weights.tobytes() + counted.tobytes()).hexdigest()}"
    assert [final(peer) for peer in [*first, late]] == [expected] * 3
