"""The soak's measure: growth within processes is found, and what merely replaces one is none."""

import pytest

from tests.chaos.census import MIB, Census, Count, growth, slope


def life(begun_s, level, grows, steps=60):
    """A count a minute; grows: MiB an hour."""
    return [Count(begun_s + 60 * n, int((level + grows * n / 60) * MIB), 20) for n in range(steps)]


@pytest.mark.parametrize("grows", [0.0, 3.0])
def test_what_processes_of_a_role_grow_by_is_one_slope_whatever_their_levels_are(grows):
    found = growth([life(0, 100, grows), life(3600, 140, grows, steps=9), life(4200, 90, grows)])
    assert found.rss_mib_per_hour == pytest.approx(grows, abs=0.01)
    assert (found.descriptors_per_hour, found.descriptors_max) == (0.0, 20)
    assert found.rss_mib_max == pytest.approx(140 if not grows else 140.4, abs=3)


def test_descriptors_that_are_never_closed_are_found():
    found = growth([[Count(60.0 * n, MIB, 20 + n) for n in range(30)]])
    assert found.descriptors_per_hour == 60
    assert found.descriptors_max == 49


def test_of_processes_that_were_seen_once_or_never_nothing_is_said():
    assert growth([]).rss_mib_per_hour is None
    assert growth([[Count(0.0, MIB, 9)], []]).descriptors_per_hour is None
    assert slope([[(5.0, 1.0)], [(6.0, 2.0)]]) is None


class Running:
    """As psutil would have it: one that started so many seconds ago."""

    pid = 7

    def __init__(self, now_s, age_s):
        self.begun_s = now_s - age_s

    def create_time(self):
        return self.begun_s

    def memory_info(self):
        return type("Memory", (), {"rss": 5 * MIB})

    def num_fds(self):
        return 11


def test_a_process_counts_when_it_is_warm(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1000.0)
    census = Census(cluster=None, warm_s=60)
    census._count("sn", Running(1000.0, 59))
    assert census.growth()["sn"].rss_mib_max == 0
    census._count("sn", Running(1000.0, 61))
    assert census.growth()["sn"].rss_mib_max == 5
    assert census.growth()["sn"].descriptors_max == 11
