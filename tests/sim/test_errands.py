"""Jobs, roles, participants and items of work in the simulator: they are really played, and their checkers can fail."""

from __future__ import annotations

from collections import Counter

import pytest

from swarm.core.roles import Role
from tests.sim.errands import SHARE, drawn
from tests.sim.scenario import Lean, Scenario
from tests.sim.test_sim import Made

PLAYED = (
    "JobsSubmitted",
    "RolesSubmitted",
    "RolesScaled",
    "SlotJoined",
    "SlotTold",
    "WorkPut",
    "WorkTaken",
    "WorkDone",
)


def test_worlds_with_jobs_and_roles_keep_their_promises():
    """Of 43 the checkers said once that a role had more leases than its maximum."""
    kinds: Counter[str] = Counter()
    for seed in (43, 3):
        scenario = Scenario(seed, lean=Lean(errands=True))
        report = scenario.run()
        assert report.clean, (report.seed, report.failed, [str(each) for each in report.violations], report.open)
        kinds.update(entry.kind for entry in scenario.world.history.entries.values())
    assert all(kinds[kind] for kind in PLAYED), kinds


def test_some_worlds_have_them_and_a_seed_says_which():
    having = [seed for seed in range(400) if drawn(seed, always=False)]
    assert 0.5 * SHARE < len(having) / 400 < 2 * SHARE
    assert having == [seed for seed in range(400) if drawn(seed, always=False)]


# ---- the checkers, with histories made by hand

TERMS = {"slots": 2, "gang": False, "probe": 0, "restart": 0, "cpu": 1, "gpu": 0}
ROLES = (Role("lead", lead=True), Role("worker", needs=("lead",)))


class Played(Made):
    """A history with a task whose entry is the sixth."""

    def jobs(self, **terms):
        self.entry("me", "JobsSubmitted", {"name": "sweep", "terms": {**TERMS, **terms}})
        return self

    def roles(self):
        self.entry("me", "RolesSubmitted", {"name": "crew", "roles": [role.said() for role in ROLES]})
        for slot, role in (("6.0", "lead"), ("6.1", "worker"), ("6.2", "worker")):
            self.fact("slot_role", "swci-1", slot, role)
        return self

    def leased(self, slot, fence=9, swop="op"):
        self.fact("SlotAssigned", "sn-1", slot, "task", swop, fence, 1)

    def becomes(self, slot, state, fence=9):
        self.fact("SlotChanged", "sn-1", slot, "op", fence, state, state == "running")

    def task(self, state):
        self.fact("TaskChanged", "sn-1", "runner", 6, "task", state)

    def item(self, kind, slot, **more):
        self.entry("op", kind, {"slot": slot, "fence": 9, **more})


def _ended(played):
    for slot in ("6.0", "6.1"):
        played.leased(slot)
        played.becomes(slot, "done")
    played.task("done")


def test_a_good_history_of_jobs_breaks_nothing():
    played = Played().jobs()
    _ended(played)
    assert played.broken() == set()


def _run_again(played):
    played.jobs()
    _ended(played)
    played.leased("6.1", 11)
    played.becomes("6.1", "done")


def _at_once(played):
    played.jobs()
    played.fact("worker_started", "swop-1", "6.0", 9)
    played.fact("worker_started", "swop-2", "6.0", 11)


def _before_the_testers(played):
    played.jobs(probe=1)
    played.leased("6.1")
    played.becomes("6.1", "done")


def _half_a_gang(played):
    played.jobs(gang=True)
    played.leased("6.0")
    played.becomes("6.0", "stopped")
    played.entry("me", "JobsStopped", {"task": "sweep"})


def _tried_too_often(played):
    played.jobs()
    for fence in (9, 11):
        played.leased("6.0", fence)
        played.becomes("6.0", "failed", fence)


def _one_job_lost(played):
    played.jobs()
    played.leased("6.0")
    played.becomes("6.0", "done")
    played.task("done")


def _never_ended(played):
    played.jobs()
    played.leased("6.0")


def _over_the_maximum(played):
    played.roles()
    for slot in ("6.0", "6.1"):
        played.leased(slot)
        played.becomes(slot, "running")
    played.leased("6.2")
    for slot in ("6.0", "6.1", "6.2"):
        played.becomes(slot, "done")


def _before_its_needs(played):
    played.roles()
    played.leased("6.1")
    played.becomes("6.1", "done")


def _done_without_its_minimum(played):
    played.roles()
    played.leased("6.0")
    played.becomes("6.0", "stopped")
    played.task("done")


def _item_held_by_two(played):
    played.roles()
    for slot in ("6.1", "6.2"):
        played.fact("item_taken", "swop-1", slot, 9, "item", 1)


def _item_done_twice(played):
    played.roles()
    played.item("WorkPut", "6.0", items=[["item", "x"]])
    for lease in (1, 2):
        played.item("WorkDone", "6.1", key="item", lease=lease)


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (_run_again, "was done, and is run twice"),
        (_at_once, "is run twice at once"),
        (_before_the_testers, "with 0 of 1 testers done"),
        (_half_a_gang, "1 of a gang of 2 were leased"),
        (_tried_too_often, "failed 2 times"),
        (_one_job_lost, "one is lost"),
        (_never_ended, "has not ended"),
        (_over_the_maximum, "2 slots of worker have a lease"),
        (_before_its_needs, "with 0 lead running"),
        (_done_without_its_minimum, "the minimum of its roles is not"),
        (_item_held_by_two, "was given twice as number 1"),
        (_item_done_twice, "was done twice"),
    ],
)
def test_p5_fails_where_jobs_and_roles_do(breaks, said):
    played = Played()
    breaks(played)
    assert any(said in text for text in played.said()), played.said()
