"""How late it has been: a clock that is set back takes nothing back, one that is right counts as it is."""

from __future__ import annotations

import pytest

from swarm.core.walltime import WallTime

NOON = 1_795_435_200_000
HOUR = 3_600_000
DAY = 24 * HOUR


def test_a_clock_that_runs_as_it_should_is_believed() -> None:
    time = WallTime()
    assert [time.reached_ms(NOON + passed, 7 + passed) for passed in (0, 1, 60_000)] == [NOON, NOON + 1, NOON + 60_000]


@pytest.mark.parametrize("back", [1, HOUR, DAY, 36500 * DAY])
def test_r098_a_clock_that_is_set_back_takes_nothing_back_and_time_goes_on(back: int) -> None:
    time = WallTime()
    time.reached_ms(NOON, 100)
    assert time.reached_ms(NOON - back, 100) == NOON
    assert time.reached_ms(NOON - back + 30, 130) == NOON + 30


def test_a_clock_that_is_set_right_again_counts_as_before() -> None:
    time = WallTime()
    time.reached_ms(NOON, 0)
    time.reached_ms(NOON - DAY, 5)
    assert time.reached_ms(NOON + 10, 10) == NOON + 10


def test_a_clock_that_is_put_forward_is_followed() -> None:
    time = WallTime()
    time.reached_ms(NOON, 0)
    assert time.reached_ms(NOON + DAY, 1) == NOON + DAY


def test_r040_who_begins_with_a_clock_that_is_behind_knows_no_better() -> None:
    assert WallTime().reached_ms(NOON - HOUR, 9 * DAY) == NOON - HOUR
