"""What entries are stamped with: the wall clock, except while it has jumped ahead and nobody knows whether for good."""

from __future__ import annotations

import pytest

from swarm.core.entrytime import LASTS_MS, OFF_MS, EntryTime

NOON = 1_795_435_200_000
DAY = 86_400_000


def begun() -> EntryTime:
    time = EntryTime()
    assert time.ahead_ms(NOON, 7) == 0
    return time


def test_a_clock_that_runs_as_it_should_stamps_the_entries() -> None:
    time = begun()
    for passed in (1, 60_000, 9 * DAY):
        assert time.ahead_ms(NOON + passed, 7 + passed) == 0


@pytest.mark.parametrize("jump", [OFF_MS + 1, 400 * DAY])
def test_r040_a_clock_that_jumps_ahead_and_is_set_right_again_moves_no_entry(jump: int) -> None:
    time = begun()
    for passed in range(0, LASTS_MS, 1000):
        assert time.ahead_ms(NOON + jump + passed, 7 + passed) == jump
    assert time.ahead_ms(NOON + LASTS_MS, 7 + LASTS_MS) == 0
    assert time.ahead_ms(NOON + jump + LASTS_MS, 7 + LASTS_MS) == jump, "and it has its hour anew"


def test_a_jump_that_lasts_an_hour_is_believed() -> None:
    time = begun()
    assert time.ahead_ms(NOON + DAY, 7) == DAY
    assert time.ahead_ms(NOON + DAY + LASTS_MS, 7 + LASTS_MS) == 0
    assert time.ahead_ms(NOON + 2 * DAY + LASTS_MS, 7 + LASTS_MS) == DAY, "the next one is not, before its hour"


def test_a_clock_that_jumps_again_has_to_last_anew() -> None:
    time = begun()
    time.ahead_ms(NOON + DAY, 7)
    assert time.ahead_ms(NOON + 400 * DAY + LASTS_MS, 7 + LASTS_MS) == 400 * DAY


def test_a_clock_that_is_put_right_by_less_than_two_minutes_is_believed_at_once() -> None:
    assert begun().ahead_ms(NOON + OFF_MS, 7) == 0


def test_a_clock_that_is_set_back_and_right_again_has_not_jumped_ahead() -> None:
    time = begun()
    assert time.ahead_ms(NOON - DAY, 8) == 0
    assert time.ahead_ms(NOON + 2, 9) == 0
