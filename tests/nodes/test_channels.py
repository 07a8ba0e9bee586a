"""The channels of a task with roles, by operators of two organisations: groups that meet, and rounds that wait for few.

What came of it is read from the ledger itself, entry by entry, verified here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from swarm.core.events import Committed, Event, MemberGone, SnapMade
from swarm.core.jobslot import JobSlot
from swarm.core.rebase import permille
from swarm.core.rolesrun import RolesRun
from swarm.nodes import submitting
from swarm.nodes.client import Client
from swarm.nodes.launch import Launch
from tests.nodes.operators import PROGRAMS, Scene, workers
from tests.nodes.waiting import PATIENCE_S, eventually

E = TypeVar("E", Committed, MemberGone, SnapMade)
pytestmark = pytest.mark.slow


def of(events: list[Event], kind: type[E], contract: str) -> list[E]:
    return [event for event in events if isinstance(event, kind) and event.contract == contract]


class Roles(Scene):
    """With operators that have room for two slots each."""

    def profile(self, host: int, nodes: int, *more: Any, **said: Any) -> Path:
        path = super().profile(host, nodes, *more, **said)
        path.write_text(path.read_text() + "capacity: {cpu: 2, gpu: 0}\n")
        return path

    def operators(self) -> None:
        self.operator(1)
        self.operator(2, "--accept-org", "org-1")

    def submit(self, **body: Any) -> None:
        """A task with these programs as its code, in a zip."""
        shutil.make_archive(str(self.directory / "code"), "zip", PROGRAMS)
        task = {"Name": "digits", "TaskType": "RUN_SWARM", "Body": {"Code": "code.zip", **body}}
        self._consult(submitting.given(task, self.directory))

    def done(self) -> list[JobSlot]:
        """Its slots, once it is done."""
        self._consult(submitting.awaited("digits", PATIENCE_S))

        async def work(client: Client) -> list[JobSlot]:
            run = (await client.ledger()).board.jobs.named("digits")
            assert isinstance(run, RolesRun)
            return list(run.slots.values())

        slots: list[JobSlot] = self._consult(work)
        return slots

    def events(self) -> list[Event]:
        """All that has happened, in the order of the ledger."""
        events: list[Event] = []

        async def work(client: Client) -> bool:
            await client.reread(lambda entry, applied: events.extend(applied.events))
            return True

        self._consult(work)
        return events

    def said(self, slot: JobSlot, file: str = "ml.log") -> str:
        (log,) = self.directory.glob(f"swop-*/roles/{slot.id}-{slot.fence}/{file}")
        return log.read_text()

    def handed_first(self, slot: JobSlot) -> str:
        """The digest of the model that its program began with."""
        found = re.search(r" round \d+: (\S+), \d+ peers$", self.said(slot, "sl.log"), re.MULTILINE)
        assert found is not None
        return found[1]

    def commit(self, contract: str, count: int) -> None:
        """Until the contract has committed so many more models."""

        async def work(client: Client) -> bool | None:
            goal = (await client.ledger()).contracts[contract].commits + count
            return await client.until(lambda now: now.contracts[contract].commits >= goal or None, PATIENCE_S)

        assert self._consult(work), f"{contract} did not commit {count} models within {PATIENCE_S:g} s"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Roles]:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        yield Roles(tmp_path, launch)
    eventually("the end of all workers", lambda: not workers(tmp_path))


def test_the_groups_of_a_role_and_their_leaders_merge_on_both_levels_and_all_end_with_one_model(scene: Roles) -> None:
    scene.operators()
    command = ["python", "of_group.py"]
    scene.submit(
        Roles=[
            {"Name": "leader", "Command": command, "Replicas": 2, "Envvars": {"ADDS": "1 4"}},
            {"Name": "trainer", "Command": command, "Replicas": 2, "Envvars": {"ADDS": "2 8"}},
        ],
        Channels=[
            {"Name": "param", "Between": ["trainer", "leader"], "GroupBy": ["a", "b"]},
            {"Name": "default", "Between": ["leader", "leader"], "Every": 2},
        ],
    )
    slots = scene.done()
    assert len({slot.operator for slot in slots}) == 2, "both operators run them"
    # They begin with 1, 2 and 4, 8, and merge: 3/2 and 6. They add as much, merge, and meet: (3 + 12) / 2. They add and
    # merge twice, with 9 and 27/2 in between, and meet: (21/2 + 39/2) / 2. The count is rounded, each time.
    weights, count = np.full(1000, 15, np.float32), np.array(12)
    model = hashlib.sha256(weights.tobytes() + count.tobytes()).hexdigest()
    assert {scene.said(slot).splitlines()[-1] for slot in slots} == {f"final {model}"}
    upper, *groups = (of(scene.events(), Committed, name) for name in ("default", "param-a", "param-b"))
    assert len(upper) >= 2
    for committed in (upper, *groups):
        assert committed[-1].digest == upper[-1].digest
        assert len(committed[-1].members) == 2
        assert set(committed[-1].signers) == set(committed[-1].members), "each says that it holds this digest"
    assert all(len(committed) > len(upper) for committed in groups)


def test_a_slow_peer_blocks_nobody_and_its_late_change_counts_by_how_late_it_is(scene: Roles) -> None:
    scene.operators()
    peer = {"Name": "peer", "Command": ["python", "unhurried.py"], "Replicas": 3}
    scene.submit(
        Roles=[peer],
        Channels=[{"Name": "soon", "Between": ["peer", "peer"], "asyncGoal": 2}],
        Envvars={"PLACE": str(scene.directory)},
    )
    eventually("the slow peer", (scene.directory / "trains").exists)
    scene.commit("soon", 5)
    (scene.directory / "gate").touch()
    slow = scene.done()[2]
    events = scene.events()
    gone = [event.what for event in of(events, MemberGone, "soon") if event.uid == slow.sl_uid]
    assert set(gone) <= {"left"}, "who still trains is waited for by nobody, and dropped by nobody"
    snaps, commits = of(events, SnapMade, "soon"), of(events, Committed, "soon")
    known = [commit.digest for commit in commits]
    since = commits[known.index(scene.handed_first(slow)) + 1 :]
    own = next(commit for commit in since if slow.sl_uid in commit.members)
    missed = since.index(own)
    assert missed >= 5, "the others go on without it"
    (merged,) = (snap for snap in snaps if (snap.round, snap.attempt) == (own.round, own.attempt))
    weights = {member.uid: member.weight for member in merged.members}
    assert len(weights) == 2
    assert weights[slow.sl_uid] == permille(missed)
    counted = np.float32(permille(missed) / (permille(missed) + 1000))
    assert f"counted {float(counted)!r}" in scene.said(slow).splitlines()
