"""The people of a run of chaos: they assign the task, assign again what failed, and read the ledger as it grows.

Their place in the network is never broken, but their network node is. Guarantee: what is noted of the ledger comes from
entries that were verified here.
"""

from __future__ import annotations

from typing import Any

import trio
import yaml

from swarm.core.events import Aborted, Applied, Committed, Contributor, SlotChanged, SnapMade
from swarm.core.run import Run
from swarm.errors import SwarmError
from swarm.nodes.client import Client
from swarm.nodes.ledgerlink import Address
from swarm.runtime.tls import Local
from swarm.wire import taskfile
from swarm.wire.signed import Entry, decode_proposal
from tests.chaos.cluster import RUNNER
from tests.chaos.history import History

LOOK_S = 1.0
NOTE_EVERY_S = 10.0
NOTES_KEPT = 30
"""More are cleared away, as people do: what they want kept for ever is no growth of the product's."""


class Desk(Client):
    def __init__(self, local: Local, address: Address, history: History) -> None:
        super().__init__(local, address)
        self.history = history
        self._snaps: dict[tuple[int, int], tuple[Contributor, ...]] = {}
        self._notes = 0

    async def assign(self, task: dict[str, Any], peers: int) -> None:
        created = taskfile.parse(yaml.safe_dump(task).encode(), "task.yaml").to_wire()
        name = task["Name"]
        await self.propose("TaskCreated", created)
        await self.propose("TaskFinalized", {"task": name})
        await self.propose("TaskAssigned", {"taskrunner": RUNNER, "task": name, "peers": peers})
        self.history.acknowledged.append(name)

    async def mend(self) -> None:
        """For ever: assign again what has failed, to the operator that it failed with."""
        while True:
            await trio.sleep(LOOK_S)
            run = self.run_of_task()
            for swop in sorted({slot.swop for slot in run.slots.values() if not slot.leased} if run else ()):
                listener = self.link.ledger.taskrunners[RUNNER].listeners.get(swop)
                if run is not None and listener is not None and listener.live:
                    body = {"taskrunner": RUNNER, "task": run.task, "target": swop}
                    await self._try("assigned again", "TaskAssigned", body)

    async def take_notes(self) -> None:
        """For ever: have small things acknowledged, which must all be there until they are deleted, or at the end."""
        while True:
            name = f"note-{self._notes}"
            self._notes += 1
            body = {"Command": "true", "Entrypoint": "python3", "WorkingDir": "/tmp/note", "PrivateContent": None}
            head = {"TaskType": "RUN_SWARM", "Author": "org-1", "Prereq": "ROOTTASK"}
            note = {"Name": name, **head, "Outcome": name, "Body": {**body, "SharedContent": None, "Envvars": []}}
            created = taskfile.parse(yaml.safe_dump(note).encode(), "note.yaml").to_wire()
            if await self._try("noted", "TaskCreated", created):
                self.history.acknowledged.append(name)
            if len(self.history.acknowledged) > NOTES_KEPT:
                await self._clear_away(1)  # behind the task that all workers run
            await trio.sleep(NOTE_EVERY_S)

    async def _clear_away(self, which: int) -> None:
        name = self.history.acknowledged[which]
        if name in self.link.ledger.tasks:  # one that is not stays, to be missed in the end
            del self.history.acknowledged[which]  # whatever the answer, or if none comes
            await self._try("cleared away", "TaskDeleted", {"task": name})

    def run_of_task(self) -> Run | None:
        runner = self.link.ledger.taskrunners.get(RUNNER)
        return runner.current if runner else None

    async def _try(self, what: str, kind: str, body: dict[str, Any]) -> bool:
        try:
            await self.propose(kind, body)
        except SwarmError as error:
            self.history.say(f"not {what}", reason=error.message)
            return False
        self.history.say(what)
        return True

    def _on_applied(self, entry: Entry, applied: Applied) -> None:
        super()._on_applied(entry, applied)
        for event in applied.events:
            match event:
                case SnapMade():
                    self._snaps[event.round, event.attempt] = event.members
                case Committed():
                    self.history.commit(event.round, event.digest, self._snaps[event.round, event.attempt])
                case Aborted():
                    self.history.aborts += 1
                    self.history.say("abort", round=event.round, reason=event.reason)
                case SlotChanged(state="done"):
                    self.history.accepted_results[event.slot] += 1
        if entry.proposal and applied.outcome.accepted:
            self._note_enrolment(entry)

    def _note_enrolment(self, entry: Entry) -> None:
        proposal = decode_proposal(entry.proposal)
        if proposal.kind == "Enrolled" and "slot" in proposal.body:
            place = f"{proposal.body['slot']}-{proposal.body['fence']}"
            self.history.slots[proposal.uid] = place
            self.history.say("enrolled", uid=proposal.uid, place=place)
