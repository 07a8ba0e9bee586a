"""Whose wall clock is wrong: judged by the median of the voters."""

import pytest

from swarm.nodes.clocks import Clocks

HOUR_MS = 3_600_000


def clocks(**ahead_ms: int) -> Clocks:
    told = Clocks()
    for uid, ms in ahead_ms.items():
        told.told(uid, 1_000_000_000_000 + ms, 1_000_000_000_000)
    return told


@pytest.mark.parametrize("ms", [HOUR_MS, -HOUR_MS, 120_051])
def test_the_one_that_is_off_knows_it_and_the_others_know_that_they_are_not(ms: int) -> None:
    assert clocks(b=-ms, c=-ms + 50).off_ms("a", "abc") in (ms, ms - 50)
    assert clocks(a=ms, c=50).off_ms("b", "abc") == 0


def test_two_minutes_are_borne() -> None:
    assert clocks(b=120_000, c=120_000).off_ms("a", "abc") == 0


def test_a_learner_is_judged_by_the_only_voter_and_not_the_other_way_round() -> None:
    assert clocks(a=HOUR_MS).off_ms("b", "a") == -HOUR_MS
    assert clocks(b=HOUR_MS).off_ms("a", "a") == 0


def test_of_two_that_differ_nobody_can_say_which_is_wrong() -> None:
    assert clocks(b=HOUR_MS).off_ms("a", "ab") == 0
    assert clocks(b=HOUR_MS).off_ms("a", "abc") == 0


def test_nobody_told_anything() -> None:
    assert clocks().off_ms("a", "abc") == 0
