"""Whether the other end of a link lives, told from beats alone; and what lateness adds to the time that others get."""

from __future__ import annotations

import pytest

from swarm.core.lateness import LONGEST as LIMITS
from swarm.core.lateness import Turns
from swarm.core.pulse import LONGEST, MISSED_MAX, Pulse

BEAT_S = 2.0


class Ends:
    """Both ends of a link: beats of each, as late as the test says."""

    def __init__(self) -> None:
        self.pulse = Pulse(BEAT_S, 0.0)
        self.now_s = 0.0

    def beats(self, count: int, *, late_s: float = 0.0, heard: bool = True) -> list[str]:
        """So many own beats, each this late, and one of the other's before each; what was held against it."""
        said = []
        for _ in range(count):
            self.now_s += BEAT_S + late_s
            if heard:
                self.pulse.hear(self.now_s)
                self.pulse.feel(self.now_s)
            said.append(self.pulse.beat(self.now_s))
        return said


def test_who_says_nothing_for_three_beats_is_silent_and_who_beats_is_not() -> None:
    ends = Ends()
    assert not any(ends.beats(100))
    *before, last = ends.beats(MISSED_MAX + 1, heard=False)
    assert not any(before)
    assert last == "no sign of life for 6 s"


def test_anything_that_comes_is_a_sign_of_life() -> None:
    ends = Ends()
    for _ in range(10):
        assert not any(ends.beats(MISSED_MAX, heard=False))
        ends.pulse.hear(ends.now_s)


def test_a_stall_of_this_process_blames_nobody() -> None:
    ends = Ends()
    ends.beats(3)
    assert ends.beats(1, late_s=600.0, heard=False) == [""]
    ends.pulse.hear(ends.now_s)
    assert not any(ends.beats(MISSED_MAX, heard=False))


def test_who_has_beaten_late_of_late_is_waited_for_longer_and_on_time_again_no_longer() -> None:
    ends = Ends()
    ends.beats(5)
    assert not any(ends.beats(5, late_s=2.0))
    assert not any(ends.beats(MISSED_MAX + 2, heard=False)), "where the machine keeps up, this is silence"
    assert any(ends.beats(MISSED_MAX + 2, heard=False)), "and it does not go on for ever"
    ends.pulse = Pulse(BEAT_S, ends.now_s)
    ends.beats(5, late_s=2.0)
    ends.beats(50)
    assert any(ends.beats(MISSED_MAX + 1, heard=False))


@pytest.mark.parametrize("late_s", [10.0, 1000.0])
def test_no_lateness_buys_more_than_a_few_times_the_usual(late_s: float) -> None:
    ends = Ends()
    ends.beats(5, late_s=late_s)
    said = ends.beats(1 + MISSED_MAX * LONGEST, heard=False)
    assert said[-1] == "no sign of life for 30 s"
    assert not any(said[:-1])


def test_a_process_that_gets_its_turns_gives_the_limit_and_one_that_does_not_gives_more() -> None:
    lateness = Turns()
    for _ in range(100):
        lateness.came(0.05)
    assert lateness.allows_s(5.0) == 5.0
    lateness.came(0.5)
    assert lateness.allows_s(5.0) == 10.0
    lateness.came(60.0)
    assert lateness.allows_s(5.0) == 5.0 * LIMITS
    for _ in range(100):
        lateness.came(0.0)
    assert lateness.allows_s(5.0) == 5.0
