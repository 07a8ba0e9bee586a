"""What has happened to a task, entry by entry, with time and author: read from the ledger itself.

Used by `swarm task history`. The whole ledger is read from its first entry and verified here, so nobody's word is taken
for it; a task that was deleted has its history all the same. Guarantee: the order and the times are the ledger's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from swarm.core.claims import EntryHeader
from swarm.core.events import Applied, Event, SlotAssigned, SlotChanged, TaskChanged, TaskFinal, TaskGone, TaskKnown
from swarm.core.jobrun import JobRun
from swarm.core.ledger import Ledger
from swarm.errors import BadInput
from swarm.nodes.client import Client, Work
from swarm.nodes.jobstatus import time_text
from swarm.wire.signed import Entry, proposal_header


class History:
    """``rows``: by task, what has happened to it, as far as the entries were seen."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.swarms: dict[str, dict[str, None]] = {}
        """By sweep, the tasks that were ever of it."""
        self._tasks: dict[int, str] = {}
        """By run."""

    def see(self, header: EntryHeader, uid: str, kind: str, applied: Applied, ledger: Ledger) -> None:
        """Keep what an entry by this author has changed of tasks; ``ledger`` has applied it."""
        new = ledger.board.jobs.with_roles.get(header.index)  # a run has the number of the entry that made it
        if new is not None and new.variant:
            self.swarms.setdefault(new.variant.sweep, {})[new.task] = None
        for task, told in self._of(applied.events):
            author = ledger.nodes.get(uid)
            who = str(author.identity) if author is not None else uid
            row = {"entry": header.index, "time": time_text(header.time), "by": who, "kind": kind, **told}
            self.rows.setdefault(task, []).append(row)

    def _of(self, events: tuple[Event, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
        for event in events:
            match event:
                case TaskKnown():
                    yield event.task, _told("known", f"by {event.by}")
                case TaskFinal():
                    yield event.task, _told("final", event.digest)
                case TaskGone():
                    yield event.task, _told("deleted", "with its outputs" if event.outputs else "")
                case TaskChanged():
                    self._tasks[event.run] = event.task
                    yield event.task, _told(event.state, event.reason)
                case SlotAssigned():
                    self._tasks[event.run] = event.task
                    yield event.task, _told("assigned", f"to {event.swop}, attempt {event.attempt}", event.slot)
                case SlotChanged():
                    if (task := self._tasks.get(int(event.slot.partition(".")[0]))) is not None:
                        yield task, _told(event.state, event.reason, event.slot)

    def called(self, name: str) -> list[str]:
        """The tasks that had this name, or were swarms of the sweep that had it."""
        return [name, *self.swarms.get(name, ())]

    def of(self, names: list[str]) -> list[dict[str, Any]]:
        """Of these tasks, in the order of the ledger."""
        rows = [{"task": name, **row} for name in names for row in self.rows.get(name, ())]
        return sorted(rows, key=lambda row: int(row["entry"]))


def _told(state: str, reason: str, slot: str | None = None) -> dict[str, Any]:
    return {"slot": slot, "state": state, "reason": reason}


def history(task: str) -> Work:
    """Every change of a task, by its id or name; of a name that was used again, of all tasks that had it.

    Raises BadInput for a name that no task ever had.
    """

    async def work(client: Client) -> dict[str, Any]:
        seen = History()

        def see(entry: Entry, applied: Applied) -> None:
            said = proposal_header(entry.proposal)
            seen.see(entry.header, said.uid, said.kind, applied, client.link.ledger)

        ledger = await client.reread(see)
        named = ledger.board.jobs.named(task)
        runs = [named] if isinstance(named, JobRun) else named.runs.values() if named else ()
        names = [run.task for run in runs] or seen.called(task)
        rows = seen.of(names)
        if not rows:
            raise BadInput(f"no task has ever been called {task[:160]!r} in this ledger", hint="swarm task ls")
        return {"task": task, "changes": rows}

    return work
