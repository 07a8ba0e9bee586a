"""What the channels of a task say, as real processes: groups that meet, rounds of few; the programs know nothing."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from swarm.wire import channels, rolesfile
from tests.nodes.test_swarm import Scene, final, output, scene

__all__ = ["scene"]  # a fixture


def of_group(group: str, **more: Any) -> dict[str, Any]:
    """What an operator tells a program of its group."""
    upper = {"SWARM_UPPER": "all", "SWARM_UPPER_EVERY": 2, "SWARM_UPPER_PEERS": 2}
    return {"CONTRACTS": f"count-{group}", **upper, **more}


@pytest.mark.slow
def test_two_groups_have_the_weighted_mean_of_all_when_they_meet_and_end_with_the_same_bytes(scene: Scene) -> None:
    scene.network(1)
    peers = [
        scene.peer(**of_group("eu", MIN_PEERS=2, WEIGHT=1, SWARM_LEADS="true")),
        scene.peer(**of_group("eu", MIN_PEERS=2, WEIGHT=3)),
        scene.peer(**of_group("us", MIN_PEERS=1, WEIGHT=4, SWARM_ADD=4, SWARM_LEADS="true")),
    ]
    assert [scene.ended(peer) for peer in peers] == [0, 0, 0]
    # They begin with 1, 2 and 4, and merge: 7/4 and 4 in the groups. They add as much, merge, and meet: (7/2 + 8) / 2.
    # They add and merge twice, with 15/2 and 39/4 in between, and meet: (37/4 + 55/4) / 2. The count is rounded.
    weights, count = np.full(1000, 11.5, np.float32), np.array(9)
    assert {final(peer) for peer in peers} == {
        f"final {hashlib.sha256(weights.tobytes() + count.tobytes()).hexdigest()}"
    }
    contracts = {contract["name"]: contract for contract in scene.status(0)["contracts"]}
    assert set(contracts) == {"count-eu", "count-us", "all"}
    assert all(contract["finished"] for contract in contracts.values())
    assert len({contract["base"] for contract in contracts.values()}) == 1
    assert all("Final Swarm model was loaded." in output(peer.node) for peer in peers)


def test_a_channel_that_picks_two_of_three_has_rounds_of_two(scene: Scene) -> None:
    text = b"""
Name: count
TaskType: RUN_SWARM
Body:
  Roles: [{Name: peer, Command: [python, count.py], Replicas: 3}]
  Channels: [{Name: picked, Between: [peer, peer], pickPeers: 2}]
"""
    body = rolesfile.parse(text, "count.yaml").body
    (role,) = body.roles()
    scene.network(1)
    told = [channels.environment(body, role, index) for index in range(3)]
    start = scene.directory / "start"
    peers = [scene.peer(CONTRACTS=each["SWARM_CONTRACT"], MIN_PEERS=2, START=start, **each) for each in told]
    for peer in peers:  # or two of them could have ended before the third has begun
        scene.says(peer.node, "at the start")
    start.touch()
    assert [scene.ended(peer) for peer in peers] == [0, 0, 0]
    assert len({final(peer) for peer in peers}) == 1
    for peer in peers:
        peer.look()
    merged = [each for peer in peers for each in peer.rounds if each["how"] == "merged"]
    assert {each["members"] for each in merged} == {2}
    assert len(merged) > 4
    assert {each["contract"] for each in merged} == {"picked"}
