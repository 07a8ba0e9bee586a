"""A rate is what the link did in its busiest moments, and told alike where links are alike."""

from __future__ import annotations

import pytest

from swarm.core.exchanging_pace import FREE, HASTE
from swarm.core.layout import DOUBT
from swarm.runtime.data import Traffic
from swarm.runtime.data_rates import ALIKE, FIRST, ROUNDS, WORTH_BYTES, Rates

MB = 10**6


class Link:
    """``waits``: for how much of the time there is something under way, as on links that are the limit."""

    def __init__(self, waits: float = 0.9) -> None:
        self.now_s, self.waits = 100.0, waits
        self.traffic = Traffic(9 * MB, 7 * MB, 5 * MB)
        self.rates = Rates(lambda: self.traffic, lambda: self.now_s)

    def moves(self, seconds: float, sent: int, received: int) -> None:
        self.now_s += seconds
        waited_us = round(seconds * self.waits * 1e6)
        self.traffic += Traffic(2 * sent, received, sent, waited_us)  # what has not arrived does not count
        self.rates.sample()

    def rounds(self, *moments: tuple[float, int, int]) -> None:
        """As many of the kind as are needed to tell anything."""
        for _ in range(FIRST):
            self.round(*moments)

    def round(self, *moments: tuple[float, int, int]) -> None:
        self.rates.begin()
        for moment in moments:
            self.moves(*moment)
        self.rates.end()


def test_nothing_is_told_before_enough_was_measured() -> None:
    link = Link()
    link.rounds((1.0, WORTH_BYTES - 1, 10 * MB))
    assert link.rates.told([]) is None, "small rounds measure nothing"
    for _ in range(FIRST - 1):
        link.round((1.0, MB * 10, MB * 10))
    assert link.rates.told([]) is None
    link.round((1.0, MB * 10, MB * 10))
    assert link.rates.told([]) is not None


def test_the_busiest_part_counts_and_not_the_waiting_around_it() -> None:
    link = Link()
    link.rounds((2.0, 0, 0), (1.0, 10 * MB, 4 * MB), (1.0, 2 * MB, 8 * MB), (1.0, 0, 0))
    assert link.rates.told([]) == {"up": 10 * MB, "down": 8 * MB}


def test_what_a_queue_lets_go_at_once_does_not_count_as_speed() -> None:
    link = Link()
    held_up = [(0.25, 0, 0), (0.25, MB, MB)] * 20
    link.rounds(*held_up)
    told = link.rates.told([])
    assert told is not None
    assert max(told.values()) <= 1.15 * 2 * MB, "2 MB a second, and 4 in each moment in which anything arrives"


def test_moments_too_short_to_measure_are_part_of_the_next() -> None:
    link = Link()
    link.rounds((0.01, 5 * MB, 5 * MB), (0.99, 5 * MB, 5 * MB))
    assert link.rates.told([]) == {"up": 10 * MB, "down": 10 * MB}


def test_who_had_to_wait_between_the_clock_and_the_counters_measures_too_little_and_never_too_much() -> None:
    link = Link()

    def read_late() -> Traffic:
        link.now_s += 1.0
        link.traffic += Traffic(10 * MB, 10 * MB, 10 * MB)
        return link.traffic

    link.rates = Rates(read_late, lambda: link.now_s)
    link.rounds((0.25, 0, 0))
    assert link.rates.told([]) == pytest.approx({"up": 10 * MB, "down": 10 * MB}, rel=0.5)
    assert max(link.rates.told([]).values()) <= 10 * MB


def test_a_round_that_was_held_up_lowers_no_rate_and_a_link_that_stays_slow_is_known_in_time() -> None:
    link = Link()
    link.round((1.0, 8 * MB, 8 * MB))
    for _ in range(ROUNDS - 1):
        link.round((1.0, 2 * MB, 12 * MB))
    assert link.rates.told([]) == {"up": 8 * MB, "down": 12 * MB}
    link.round((1.0, 2 * MB, 12 * MB))
    assert link.rates.told([]) == {"up": 2 * MB, "down": 12 * MB}


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ([], 10 * MB), ([0, 0], 10 * MB), ([6 * MB, 12 * MB, 19 * MB], 12 * MB), ([13 * MB], 10 * MB),
        ([7 * MB], 10 * MB), ([8 * MB], 8 * MB), ([100 * MB, 100 * MB], 10 * MB),
    ],
)  # fmt: skip
def test_who_is_about_as_fast_as_the_others_tells_what_they_tell(others, told) -> None:
    link = Link()
    for nbytes in (3, 9, 10, 9, 9):
        link.round((1.0, nbytes * MB, nbytes * MB))
    assert link.rates.told(others) == {"up": told, "down": told}


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        ((10, 8, 10), 15), ((10, 7, 10, 7, 6, 5, 7, 10), 15), ((10, 8, 10, 9, 7, 9), 10),
        ((29, 14, 20, 14, 16), 15.45), ((19, 14, 12, 14, 12), 15), ((31, 14, 20, 14, 16), 31), ((7, 5, 3, 2), 7),
    ],
)  # fmt: skip
def test_who_is_not_the_same_in_most_rounds_waits_for_no_link_and_has_to_differ_more(measured, told) -> None:
    link = Link()
    for nbytes in measured:
        link.round((1.0, nbytes * MB, nbytes * MB))
    assert link.rates.told([15 * MB] * 3) == {"up": told * MB, "down": told * MB}


@pytest.mark.parametrize(("measured", "told"), [(14, 15), (25, 15.075), (60, 15.075), (7, 7)])
def test_who_did_not_wait_for_the_link_tells_no_more_than_others_however_much_it_moved(measured, told) -> None:
    link = Link(waits=0.4)
    for _ in range(ROUNDS):
        link.round((1.0, measured * MB, measured * MB))
    assert link.rates.told([15 * MB] * 3) == {"up": told * MB, "down": told * MB}
    assert link.rates.told([]) == {"up": measured * MB, "down": measured * MB}, "nobody has told anything yet"


def test_streams_wait_each_for_itself() -> None:
    link = Link(waits=0.9)
    for _ in range(FIRST):
        link.rates.begin()
        for uid in ("one", "two"):
            link.rates.counted(uid, 0, lambda upto: None)(MB)
        link.moves(1.0, 40 * MB, 40 * MB)
        link.rates.end()
    assert link.rates.told([15 * MB]) == {"up": 15_075_000, "down": 15_075_000}, "0.9 s of 2 s"


@pytest.mark.parametrize(("first", "then", "changes"), [(50, 95, 20), (60, 100, 3)])
def test_links_that_become_faster_together_are_found_out_though_most_rounds_are_held_to_what_was_told(
    first: int, then: int, changes: int
) -> None:
    links, told = [Link() for _ in range(4)], [0] * 4
    for number in range(changes + 5 * FREE):
        free = number % FREE == 0 or not all(told)
        real = (first if number < changes else then) * MB
        nbytes = real if free else min(real, round(HASTE * min(told)))
        for link in links:
            link.round((1.0, nbytes, nbytes))
        told = [min((link.rates.told(told) or {"": 0}).values()) for link in links]
    assert then / ALIKE * MB < min(told) == max(told)


def test_who_claims_far_more_than_what_came_from_there_is_doubted_with_what_came() -> None:
    link = Link()
    heard: list[int] = []
    for _ in range(FIRST):
        link.rates.begin()
        for uid, nbytes in (("fast", 9 * MB), ("slow", MB)):
            progress = link.rates.counted(uid, 5, heard.append)
            progress(5 + nbytes // 2)
            progress(5 + nbytes)
        link.moves(1.0, 10 * MB, 10 * MB)
        assert link.rates.doubted({"me": 0, "fast": 1 << 40, "slow": MB}) == {}, "not before enough was measured"
        link.rates.end()
    assert heard == [5 + 9 * MB // 2, 5 + 9 * MB, 5 + MB // 2, 5 + MB] * FIRST
    assert link.rates.doubted({"me": 0, "fast": DOUBT * 27 * MB, "slow": DOUBT * 3 * MB, "other": 1 << 50}) == {}
    assert link.rates.doubted({"me": 0, "fast": DOUBT * 18 * MB, "slow": DOUBT * 2 * MB + 1}) == {"slow": MB}
