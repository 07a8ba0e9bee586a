"""What an operator says of itself: in the order in which its room changes, however long the ledger takes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from swarm.core.events import Outcome
from swarm.nodes.announcing import Announcing
from swarm.nodes.room import Room
from swarm.runtime.statedir import StateDirectory
from swarm.wire.profile import Capacity


def test_rooms_that_change_shortly_after_one_another_are_told_in_that_order(tmp_path: Path) -> None:
    """The proposal of the first one is asked again after a pause; the others come meanwhile."""
    told: list[int] = []
    pause = trio.Event()

    async def propose(kind: str, body: dict[str, Any]) -> Outcome:
        if body["cpu"] == 1:
            await pause.wait()
        told.append(body["cpu"])
        return Outcome(len(told), True)

    async def main(state: StateDirectory) -> None:
        room = Room(tmp_path / "profile", Capacity(1, 0))
        link: Any = SimpleNamespace(ledger=SimpleNamespace(rules=SimpleNamespace(active=5)), propose=propose)
        profile: Any = SimpleNamespace(taskrunner="runner", groupname="", nodes=())
        announcing = Announcing(profile, room, link, state)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(announcing.say)
            await wait_all_tasks_blocked()
            for cpu in (2, 4):
                room.capacity = Capacity(cpu, 0)
                nursery.start_soon(announcing.say)
            await wait_all_tasks_blocked()
            pause.set()

    with StateDirectory(tmp_path / "state") as state:
        trio.run(main, state)
        assert told == [1, 4, 4]
        assert json.loads((state.path / "ready.json").read_bytes())["room"] == {"cpu": 4, "gpu": 0}
