"""Dealing: who is given room, how much of it, and in whose turn: held against a full sort before each lease."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from swarm.core.dealing import Turns
from swarm.core.jobrun import JobRun
from swarm.core.roles import Role
from tests.core.jobscene import JobScene, slots, states
from tests.core.rolescene import RoleScene
from tests.core.scene import Actor

ROLES = (Role("first", high=3, start=2), Role("second", low=1, high=2, start=1, needs=("first",), restart=2))


@pytest.mark.parametrize("seed", range(12))
def test_it_is_always_the_turn_of_what_a_task_has_lost_then_of_who_has_least_then_of_who_came_first(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    scene = RoleScene(3, 5, 2)
    users = [scene.swci, *(Actor("swci", f"swci-{number}", "a") for number in (2, 3))]
    for user in users[1:]:
        assert scene.join(user).accepted
    jobs, whole, compared = scene.ledger.board.jobs, Turns.__iter__, [0]

    def turns(self: Turns) -> Iterator[JobRun]:
        shares = {run.user: 0 for run in jobs.runs.values()}
        for slot in jobs.leases():
            shares[jobs.runs[slot.run].user] += 1
        order = [(not run.stalls, shares[run.user], run.number) for run in jobs.runs.values() if run.waits]
        found = [run.number for run in whole(self)]
        assert found == [number for _, _, number in sorted(order)]
        compared[0] += len(found) > 1
        return whole(self)

    monkeypatch.setattr(Turns, "__iter__", turns)
    for number in range(90):
        slots = [slot for slot in jobs.leases() if not slot.ending]
        match chance.randrange(6):
            case 0:
                width, gang = chance.randint(1, 4), chance.random() < 0.3
                scene.submit(f"job-{number}", by=chance.choice(users), slots=width, gang=gang, cpu=chance.randint(1, 2))
            case 1:
                scene.play(*ROLES, name=f"roles-{number}")
            case 2:
                scene.offer_room(chance.choice(scene.operators), chance.randint(0, 6))
            case _ if slots:
                slot = chance.choice(slots)
                state = chance.choice(["running", "running", "done", "failed"])
                scene.report(scene.holder(slot), slot, state, "by chance")
    assert compared[0] > 5


def test_an_operator_gets_no_more_than_it_offers_and_may_change_its_mind():
    scene = JobScene(2)
    run = scene.submit(slots=5)
    assert states(run) == ["assigned"] * 2 + ["waiting"] * 3
    scene.offer_room(scene.operators[0], 4)
    assert states(run) == ["assigned"] * 4 + ["waiting"]
    scene.offer_room(scene.operators[0], 1)
    for slot in slots(run)[:3]:
        scene.ends(slot)
    assert states(run) == ["done"] * 3 + ["assigned", "waiting"], "what runs goes on, nothing is added"
    scene.ends(slots(run)[3])
    scene.ends(slots(run)[4])
    assert (run.state, run.reason) == ("done", "5 of 5 jobs completed")


def test_a_gpu_is_one_jobs_own_and_a_job_that_nobody_has_room_for_says_so():
    scene = JobScene(4, gpu=2)
    run = scene.submit(slots=3, gpu=1)
    assert [slot.gpus for slot in slots(run)] == [(0,), (1,), ()]
    assert scene.submit("cpu").state == "running", "it does not wait behind those that want a GPU"
    scene.ends(slots(run)[0])
    assert slots(run)[2].gpus == (0,)
    wide = scene.submit("wide", cpu=9)
    said = scene.ledger.board.jobs.placing.waits_for(wide, 0)
    assert said == "no operator has room for 9 cpu and 0 gpu at once: the largest has 4 and 2"


def test_users_have_equal_shares():
    scene = JobScene(1)
    mine = scene.submit("mine", slots=3)
    theirs = scene.submit("theirs", by=scene.other_swci, slots=3)
    order = []
    for _ in range(6):
        (slot,) = scene.ledger.board.jobs.leases()
        order.append(slot.task)
        scene.ends(slot)
    assert (mine.state, theirs.state) == ("done", "done")
    assert sorted(order) == ["mine"] * 3 + ["theirs"] * 3
    two = JobScene(2)
    two.submit("mine", slots=4)
    late = two.submit("theirs", by=two.other_swci, slots=4)
    two.ends(next(iter(two.ledger.board.jobs.leases())))
    assert late.leased == 1, "who has less comes first, whoever was there before"


def test_a_gang_gets_all_its_slots_at_one_operator_or_none():
    scene = JobScene(3, 2)
    first = scene.submit("first", slots=2)
    gang = scene.submit("gang", slots=3, gang=True)
    behind = scene.submit("behind", slots=3)
    assert states(gang) == ["waiting"] * 3
    assert [slot.swop for slot in slots(behind)].count(scene.operators[0].uid) == 0, "its room is kept for the gang"
    for slot in slots(first):
        scene.ends(slot)
    assert states(gang) == ["assigned"] * 3
    assert {slot.swop for slot in slots(gang)} == {scene.operators[0].uid}
    assert len({slot.fence for slot in slots(gang)}) == 1
    assert [slot.role for slot in slots(gang)] == ["master", "worker", "worker"]
