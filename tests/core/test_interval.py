"""The sync interval: what moves it, what does not, and that everybody who has the ledger has the same one."""

from __future__ import annotations

import random

import numpy as np
import pytest

from swarm.core.contract import Contract
from swarm.core.interval import LONGEST, SHORTEST, Interval, in_batches
from tests.core.scene import Scene


def rounds(rule: str, *told: dict[str, int] | list[int], weights: dict[str, int] | None = None) -> list[int]:
    """The scale after each round in which members told this."""
    interval, scales = Interval(rule), []
    for numbers in told:
        named = numbers if isinstance(numbers, dict) else {f"sl-{n}": number for n, number in enumerate(numbers)}
        for uid, number in named.items():
            interval.tell(uid, number)
        interval.next_round(weights or dict.fromkeys(named, 1))
        scales.append(interval.scale)
    return scales


def test_a_mean_loss_that_falls_lengthens_and_one_that_rises_shortens() -> None:
    assert rounds("hpe", [9, 11], [9, 9], [9, 9], [10, 10], [0, 0]) == [1000, 1250, 1250, 833, 1041]


def test_the_mean_is_of_those_who_told_and_were_merged() -> None:
    interval = Interval("hpe")
    interval.tell("a", 10)
    interval.next_round({"a": 1, "b": 1})
    interval.tell("a", 8)
    interval.tell("late", 10**9)  # it offered, and was not merged
    interval.tell("none", 10**9)  # it was merged with weight 0
    interval.next_round({"a": 1, "b": 1, "none": 0})
    assert interval.scale == 1250


def test_a_round_that_was_given_up_or_told_nothing_changes_nothing() -> None:
    interval = Interval("hpe")
    for loss in (10, None, 9):
        interval.tell("a", loss)
        interval.next_round({"a": 1} if loss != 10 else {})
    assert interval.scale == 1000, "the first was aborted, so 9 is the first loss there is"
    interval.tell("a", 5)
    interval.tell("a", None)  # offered anew, without
    interval.next_round({"a": 1})
    assert interval.scale == 1000


@pytest.mark.parametrize(("losses", "bound"), [(range(100, 0, -1), LONGEST), (range(100), SHORTEST)])
def test_it_stays_within_its_bounds(losses, bound) -> None:
    scales = rounds("hpe", *([loss] for loss in losses))
    assert scales[-1] == bound
    assert all(SHORTEST <= scale <= LONGEST for scale in scales)


@pytest.mark.parametrize("peers", [2, 5])
@pytest.mark.parametrize(("together", "moves"), [(1.0, 1), (0.0, -1)])
def test_changes_that_go_together_lengthen_and_independent_ones_shorten_for_any_number(peers, together, moves) -> None:
    seed = random.randrange(2**32)
    generator = np.random.default_rng(seed)
    common = generator.standard_normal(10_000)
    weights = {f"sl-{n}": int(generator.integers(1, 5)) * 1000 for n in range(peers)}
    changes = {uid: together * common + (1 - together) * generator.standard_normal(10_000) for uid in weights}
    merged = sum(weights[uid] * change for uid, change in changes.items()) / sum(weights.values())
    told = {uid: round(1000 * float(change @ change) / float(merged @ merged)) for uid, change in changes.items()}
    first, second = rounds("drift", told, told, weights=weights)
    assert first == 1000, "one round is no reason yet"
    assert second == (1250 if moves > 0 else 666), f"seed {seed}"


def test_drift_in_between_or_once_only_changes_nothing() -> None:
    alike, between, apart = [1000, 1000], [1375, 1375], [2000, 2000]
    assert rounds("drift", between, between, between) == [1000] * 3
    assert rounds("drift", alike, apart, alike, apart) == [1000] * 4
    assert rounds("drift", apart, between, apart, apart) == [1000, 1000, 1000, 666]
    assert rounds("drift", [1000], [1000]) == [1000, 1000], "who is alone drifts from nobody"


def test_every_member_scales_its_own_frequency() -> None:
    assert [in_batches(every, 1250) for every in (1, 4, 128)] == [1, 5, 160]
    assert in_batches(1, SHORTEST) == 1


# ---- in the contract


def merge_round(scene: Scene, actors, *measured: int) -> None:
    for actor, number in zip(actors, measured, strict=True):
        assert scene.offer(actor, measured=number).accepted
    for actor in actors:
        scene.ready(actor)


def test_the_contract_follows_the_offers_of_its_rounds_and_a_snapshot_keeps_it() -> None:
    scene = Scene()
    actors = scene.learners(2, useAdaptiveSync="hpe")
    merge_round(scene, actors, 10, 10)
    merge_round(scene, actors, 9, 9)
    contract = scene.contract
    assert (contract.commits, contract.interval.scale) == (2, 1250)
    assert scene.offer(actors[0], measured=1).accepted
    again = Contract.from_state(contract.to_state())
    assert again.to_state() == contract.to_state()
    assert again.interval.scale == 1250
    for one in (contract, again):
        one.interval.next_round({actors[0].uid: 1})
        assert one.interval.scale == 1562


def test_a_fixed_interval_leaves_no_trace_whatever_offers_say() -> None:
    scene = Scene()
    actors = scene.learners(2)
    merge_round(scene, actors, 10, 10)
    merge_round(scene, actors, 9, 9)
    assert scene.contract.interval.scale == 1000
    assert "interval" not in scene.contract.to_state()


@pytest.mark.parametrize("measured", [-1, 10**15 + 1, 0.5, "1", True])
def test_a_measurement_that_is_none_is_refused(measured) -> None:
    scene = Scene()
    first, _ = scene.learners(2, useAdaptiveSync="drift")
    outcome = scene.offer(first, measured=measured)
    assert not outcome.accepted
    assert "'measured' has to be a measurement" in outcome.reason
