"""Histories of whole rounds that a seed chooses, with crashes and cuts: nothing is lost, and all end alike."""

import pytest

from swarm.core.events import Aborted
from tests.core.rounds import Rounds

SEEDS = range(30)


@pytest.mark.parametrize(
    ("nodes", "min_peers", "options"),
    [
        (2, 1, {}),
        (3, 2, {}),
        (4, 2, {}),
        (5, 3, {}),
        (3, 1, {"pickPeers": 1}),
        (4, 2, {"pickPeers": 2}),
        (5, 2, {"pickPeers": 3}),
        (4, 2, {"asyncGoal": 2}),
    ],
)
def test_whatever_crashes_all_programs_end_with_one_model_and_no_change_is_gone_without_a_word(
    nodes, min_peers, options
):
    for seed in SEEDS:
        print(f"seed {seed}")
        Rounds(seed, nodes=nodes, min_peers=min_peers, **options).run()


@pytest.mark.parametrize(
    ("nodes", "liars", "options"),
    [(3, 1, {}), (4, 1, {}), (6, 2, {}), (5, 1, {"pickPeers": 3}), (5, 1, {"asyncGoal": 3})],
)
def test_whatever_some_say_that_they_hold_the_others_go_on_and_all_end_with_one_model(nodes, liars, options):
    for seed in SEEDS:
        print(f"seed {seed}")
        rounds = Rounds(seed, nodes=nodes, liars=liars, syncs=10, **options)
        rounds.run()
        told = [event for event in rounds.scene.events if isinstance(event, Aborted) and event.outvoted]
        assert {str(node) for node in rounds.nodes for event in told if node.actor.uid in event.outvoted} <= set(
            rounds.liars
        )


def test_without_faults_no_change_is_given_up():
    for seed in SEEDS:
        print(f"seed {seed}")
        rounds = Rounds(seed, nodes=3)
        rounds.run(steps=0)
        assert rounds.lost == 0
