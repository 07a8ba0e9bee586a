"""A program that hangs is told of by how long it usually needs, and not at every look."""

from swarm.core.pace import QUIET_S, TIMES, Pace


def paced(period_s: float, times: int = 5) -> tuple[Pace, float]:
    pace, now_s = Pace(), 0.0
    for _ in range(times):
        pace.trains(now_s)
        now_s += period_s
        pace.asks(now_s)
        now_s += 3 * QUIET_S  # the round may take as long as it likes
    pace.trains(now_s)
    return pace, now_s


def test_a_quick_program_is_told_of_after_ten_minutes_and_at_every_doubling():
    pace, now_s = paced(2.0)
    said = [at for at in range(0, 5000, 10) if pace.quiet(now_s + at)]
    assert said == [600, 1200, 2400, 4800]


def test_a_slow_hospital_is_not_told_of_for_being_slow():
    pace, now_s = paced(3600.0)
    assert pace.quiet(now_s + TIMES * 3600.0 - 1) == ""
    said = "has reached no sync point for 36000 s, and usually does within 3600.0 s: does it hang?"
    assert pace.quiet(now_s + TIMES * 3600.0) == said


def test_nothing_is_said_before_its_pace_is_known_while_it_waits_or_when_it_has_ended():
    pace = Pace()
    pace.trains(0.0)
    assert pace.quiet(1e9) == ""
    pace, now_s = paced(2.0)
    pace.asks(now_s + 1)
    assert pace.quiet(now_s + 1e6) == ""
    pace.trains(now_s + 1)
    pace.ended()
    assert pace.quiet(now_s + 1e6) == ""


def test_one_long_period_does_not_change_what_is_usual():
    pace, now_s = paced(2.0)
    pace.asks(now_s + 5000)
    pace.trains(now_s + 5000)
    assert "within 2.0 s" in pace.quiet(now_s + 5000 + QUIET_S)
