"""Groups in the simulator: they are really played, a seed says where, and their checkers can fail."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.sim.groups import SHARE, UPPER, drawn
from tests.sim.scenario import Lean, Scenario
from tests.sim.test_sim import FIRST, INITIAL, KEPT_DEAD, SECOND, THIRD, Made

FOUND = [
    (130, ()),  # a group's merge was lost with the upper model that it was in, after its leader had begun anew
    (441, ()),  # what came from above told no program that its change had come too late
    (1001, ("blackout", "crash")),  # what a group had left when its merge was lost went up a second time
]


@pytest.mark.parametrize(("seed", "faults"), FOUND)
def test_worlds_with_groups_keep_their_promises(seed, faults):
    scenario = Scenario(seed, lean=Lean(groups=True, faults=faults))
    report = scenario.run()
    assert report.clean, (report.seed, report.failed, [str(each) for each in report.violations], report.open)
    commits = Counter(fact[3] for fact in scenario.world.history.facts if fact[0] == "Committed")
    assert {"eu", "us", UPPER} <= set(commits)
    assert len({node.program.values for node in scenario.sls}) == 1


def test_some_worlds_have_them_and_those_that_found_bugs_before_there_were_any_do_not():
    having = [seed for seed in range(400) if drawn(seed, 5, always=False)]
    assert 0.5 * SHARE < len(having) / 400 < 2 * SHARE
    assert [seed for seed, _ in KEPT_DEAD if drawn(seed, 5, always=False)] == [44230, 52937]  # found since there are


def test_everybody_is_in_one_group_and_each_has_one_leader():
    for seed in range(200):
        learners = 3 + seed % 6
        groups = drawn(seed, learners, always=True)
        assert sum(group.size for group in groups) == learners
        for group in groups:
            assert 1 <= group.min_peers <= group.size
            assert sum(bool(place.upper) for place in group.places()) == 1


# ---- the checkers, with histories made by hand

MERGED = THIRD


class Grouped(Made):
    """A group of two, "digits", that has merged and is to take what comes from above; its leader is a."""

    def __init__(self) -> None:
        super().__init__()
        options = {"upper": UPPER, "upperEvery": 1}
        enrolled = {"contract": "digits", "initial_base": INITIAL, "options": options}
        for uid, weight in (("a", 1), ("b", 3)):
            self.entry(uid, "Enrolled", {**enrolled, "weight": weight, **({"leads": True} if uid == "a" else {})})
        for uid, digest in (("a", FIRST), ("b", SECOND)):
            self.entry(uid, "Offer", {"contract": "digits", "round": 0, "base": INITIAL, "digest": digest})
        self.round()
        for uid in "ab":
            self.entry(uid, "Enrolled", {"contract": UPPER, "initial_base": INITIAL, "weight": 1})

    def goes_up(self, merged=MERGED, offered=MERGED, uid="a", weight=4000):
        self.history.facts.append(("asked", 1.0, uid, UPPER, uid, "sync", merged))
        self.entry(uid, "Offer", {"contract": UPPER, "round": 0, "base": INITIAL, "digest": offered})
        self.fact("SnapMade", "sn-1", UPPER, 0, 0, ((uid, weight, offered),), INITIAL)
        return self

    def merges_above(self):
        self.fact("holds", "a", UPPER, "a", 0, 0, MERGED)
        self.entry("a", "Ready", {"contract": UPPER, "round": 0, "attempt": 0, "digest": MERGED})
        self.fact("Committed", "sn-1", UPPER, 0, 0, MERGED, ("a",), ("a",), True)
        return self

    def comes_down(self, digest=MERGED):
        self.entry("a", "Offer", {"contract": "digits", "round": 1, "base": MERGED, "digest": digest})
        self.fact("SnapMade", "sn-1", "digits", 1, 0, (("a", 1000, digest),), MERGED)
        self.fact("holds", "a", "digits", "a", 1, 0, digest)
        self.entry("a", "Ready", {"contract": "digits", "round": 1, "attempt": 0, "digest": digest})
        self.fact("Committed", "sn-1", "digits", 1, 0, digest, ("a",), ("a",), True)
        return self

    def with_another(self):
        self.entry(
            "c", "Enrolled", {"contract": "us", "initial_base": INITIAL, "weight": 1, "options": {"upper": UPPER}}
        )
        return self


def test_a_good_history_of_a_group_breaks_nothing():
    assert Grouped().goes_up().merges_above().comes_down().said() == []


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (lambda made: made.goes_up(merged=FIRST, offered=FIRST), "what is not the newest merge of group digits"),
        (lambda made: made.goes_up(offered=FIRST), "another model than that of group digits"),
        (lambda made: made.goes_up(uid="b"), "b offers in all, where groups merge, and leads none"),
        (lambda made: made.goes_up(weight=1000), "a counts with weight 1000 in round 0, not 4000"),
        (lambda made: made.goes_up().merges_above().comes_down(FIRST), "that all has not committed"),
        (lambda made: made.goes_up(), "all ended, and nothing was merged in it"),
        (lambda made: made.goes_up().merges_above().comes_down().with_another(), "us ended, and nothing was"),
    ],
)
def test_what_groups_promise_is_looked_at(breaks, said):
    made = Grouped()
    breaks(made)
    assert any(said in text for text in made.said()), made.said()
