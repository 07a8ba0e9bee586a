"""Dealing: in whose turn what waits is given room, held against a full sort before each lease."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from swarm.core.dealing import Turns
from swarm.core.jobrun import JobRun
from swarm.core.roles import Role
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
