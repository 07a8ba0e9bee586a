"""Worlds with ``commitments: full``: they are really played, who lies about a shard is convicted, checkers can fail."""

from __future__ import annotations

import pytest

from tests.sim.checkers import check
from tests.sim.checkers_rounds import stepped
from tests.sim.commitments import SHARE, belong, drawn, proof, root
from tests.sim.planted import MORE, search
from tests.sim.scenario import Lean, Scenario
from tests.sim.test_sim import FIRST, INITIAL, SECOND, THIRD, Made

WITH_A_CONVICT = (56, 77)


def facts(scenario, kind):
    return [fact for fact in scenario.world.history.facts if fact[0] == kind]


@pytest.mark.parametrize("seed", WITH_A_CONVICT)
def test_an_owner_that_signs_two_shards_is_convicted_by_them_and_the_others_train_on(seed):
    scenario = Scenario(seed, lean=Lean(full=True))
    report = scenario.run()
    assert report.clean, (report.seed, report.failed, [str(each) for each in report.violations], report.open)
    ((_, convicted_s, _, _, convict, *_),) = facts(scenario, "Misbehaved")
    assert convict in {fact[3] for fact in facts(scenario, "lied")}
    assert any(fact[1] > convicted_s and convict not in fact[7] for fact in facts(scenario, "Committed"))


def test_who_sends_another_contribution_than_it_offered_is_found_out_and_every_merge_can_be_computed_again():
    scenario = Scenario(8, lean=Lean(full=True))
    report = scenario.run()
    assert report.clean, (report.seed, report.failed, [str(each) for each in report.violations], report.open)
    assert {fact[5] for fact in facts(scenario, "unmasked")} >= {"offer"}
    assert all(checked for *_, what, checked in facts(scenario, "lied") if what == "contribution")


def test_some_worlds_have_them_and_some_of_these_an_outer_step_and_liars():
    having = [full for seed in range(2000) if (full := drawn(seed, always=False))]
    assert 0.5 * SHARE < len(having) / 2000 < 2 * SHARE
    assert {full.steps for full in having} == {True, False}
    assert {what for full in having for what in full.liars} == {"shard", "contribution"}


def test_leaves_of_another_offer_or_another_place_do_not_belong_to_a_root():
    values = (1.0, 2.0, 3.0)
    shown = proof(values, 1, 3)
    assert belong(root(values), 3, 1, values[1:], shown)
    assert not belong(root(values), 3, 0, values[1:], shown)
    assert not belong(root(values), 3, 1, (2.0, 4.0), shown)
    assert not belong(root((1.0, 2.0, 4.0)), 3, 1, values[1:], shown)


@pytest.mark.parametrize("name", MORE)
def test_a_bug_planted_in_what_few_worlds_play_is_found(name):
    assert search(name, 60).seeds > 0


# ---- the checkers, with histories made by hand


def _evidence(made, digest, uid="a"):
    shown = {"digest": digest, "signature": bytes(64)}
    where = {"contract": "digits", "round": 0, "attempt": 0, "snap": b"", "shard": 0}
    made.entry("b", "Evidence", {**where, "uid": uid, "first": shown})


def _convicted(made, uid="a"):
    made.fact("Misbehaved", "sn-1", "digits", uid, 0, 0, 0)


def _lied(made):
    made.fact("lied", "sl-1", "a", "shard", False)


def test_a_convict_that_lied_breaks_nothing():
    made = Made()
    _lied(made)
    _evidence(made, b"one")
    _evidence(made, b"other")
    _convicted(made)
    assert made.said() == []


def _honest(made):
    _evidence(made, b"one")
    _convicted(made)


def _goes_on(made):
    _evidence(made, b"one")
    _evidence(made, b"other")


def _offers_again(made):
    _lied(made)
    _goes_on(made)
    _convicted(made)
    made.entry("a", "Offer", {"contract": "digits", "round": 0, "base": INITIAL, "digest": FIRST})


def _is_in_again(made):
    _lied(made)
    _goes_on(made)
    _convicted(made)
    made.snap()


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (_honest, "a was convicted at 1.000 s in round 0, and never lied"),
        (_goes_on, "a has signed two results of round 0, which were shown, and goes on"),
        (_offers_again, "an offer of a was taken, who was convicted before"),
        (_is_in_again, "a is in round 0, and was convicted before"),
    ],
)
def test_what_convicts_and_whom_is_looked_at(breaks, said):
    made = Made()
    breaks(made)
    assert any(said in text for text in made.said()), made.said()


def _with_steps(base_after):
    """Two rounds of one member with an outer step of rate 0.5 and momentum 0.5."""
    made = Made()
    options = {"outer": "nesterov", "outerLearningRate": 500, "outerMomentum": 500}
    made.entry("c", "Enrolled", {"contract": "steps", "initial_base": INITIAL, "weight": 1, "options": options})
    made.history.models = {FIRST: (1.0,), SECOND: (1.0, 0.0), THIRD: (3.0,), base_after: (2.5, 2.0)}
    made.history.models["wrong"] = (2.0, 2.0)
    for round_, base, offered, after in ((0, INITIAL, FIRST, SECOND), (1, SECOND, THIRD, base_after)):
        made.entry("c", "Offer", {"contract": "steps", "round": round_, "base": base, "digest": offered})
        made.fact("SnapMade", "sn-1", "steps", round_, 0, (("c", 1000, offered),), base)
        made.fact("holds", "c", "steps", "c", round_, 0, after)
        made.entry("c", "Ready", {"contract": "steps", "round": round_, "attempt": 0, "digest": after})
        made.fact("Committed", "sn-1", "steps", round_, 0, after, ("c",), ("c",), False)
    return [str(each) for each in check(made.history)]


def test_a_base_is_recomputed_with_its_momentum():
    assert stepped((3.0,), (1.0, 0.0), 0.5, 0.5) == (2.5, 2.0)
    assert _with_steps("sha256:right") == []
    said = _with_steps("wrong")
    assert any("is not the mean of its members' contributions" in text for text in said), said
