"""Sync intervals that follow the training, in a swarm of real processes: all members go by the same signed numbers."""

from __future__ import annotations

import re

import pytest

from tests.nodes.test_swarm import Scene, final, output, scene

__all__ = ["scene"]  # a fixture


@pytest.mark.slow
def test_all_members_lengthen_their_intervals_together_while_their_changes_agree(scene: Scene) -> None:
    scene.network(1)
    peers = [scene.peer(ADAPT="drift", EVERY=every, SYNCS=5) for every in (8, 80)]
    assert [scene.ended(peer) for peer in peers] == [0, 0]
    assert final(peers[0]) == final(peers[1])
    nexts = [re.findall(r"RVInt \[cur: \d+ Nxt: (\d+)\]", output(peer.node)) for peer in peers]
    # Changes by 1 and by 2 agree. The first that has a base is told in the third round, and two are a reason.
    assert nexts[0] == ["8", "8", "8", "10", "12", "15", "19"]
    assert [int(every) // 10 for every in nexts[1]] == [8, 8, 8, 10, 12, 15, 19]
