"""Artifacts: what tasks of jobs have made, by name, in versions that count up; the files stay where they were made.

Kept by the board; told of reports by jobs. Guarantees: a version is of one attempt of one slot that is done, and says
what it came from: data, code, task; a name is one organisation's; of a gang nothing is a version before all are done.

    a task's `output` names the artifact       JobsSubmitted
    what an attempt has put out                SlotReported: done, with the digest of the files (`core/filelist`)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, field
from typing import Any

from swarm.core.jobrun import JobRun
from swarm.core.jobslot import JobSlot
from swarm.core.names import Identity
from swarm.errors import Refused

NAMES_MAX = 10_000
"""Of one organisation."""
VERSIONS_MAX = 1000
"""Of one name: the oldest are forgotten, and the numbers go on."""


@dataclass(frozen=True, slots=True)
class Made:
    """One version. ``operator``: who has the files; ``data``: names and hashes of the datasets."""

    version: int
    id: int
    task: str
    slot: str
    index: int
    attempt: int
    operator: str
    hash: str
    bytes: int
    files: int
    data: tuple[tuple[str, str], ...]
    code: str
    time_ms: int

    @classmethod
    def from_state(cls, state: list[Any]) -> Made:
        *said, data, code, time_ms = state
        version, id_, task, slot, index, attempt, operator, hash_, size, files = said
        who = (version, id_, task, slot, index, attempt, operator)
        return cls(*who, hash_, size, files, tuple((name, each) for name, each in data), code, time_ms)


@dataclass(slots=True)
class Artifact:
    """``organisation``: the printed name of ``anchor``, whose tasks make it."""

    name: str
    anchor: bytes
    organisation: str
    count: int = 0
    versions: list[Made] = field(default_factory=list)


class Artifacts:
    def __init__(self) -> None:
        self.by_name: dict[str, Artifact] = {}
        self._pending: dict[int, dict[str, tuple[int, dict[str, Any]]]] = {}
        """By run, then by slot of a gang: the attempt, and what it has put out."""

    def must_be_free(self, name: str, identity: Identity) -> None:
        """Raise what stands against a task of theirs that is to make it."""
        known = self.by_name.get(name)
        if known is not None and known.anchor != identity.anchor:
            raise Refused(f"the artifact {name} is made by tasks of {known.organisation}", hint="choose another name")
        if known is None and sum(each.anchor == identity.anchor for each in self.by_name.values()) >= NAMES_MAX:
            raise Refused(f"{identity.organisation} has {NAMES_MAX} artifacts in the ledger, and may have no more")

    def expect(self, name: str, identity: Identity) -> None:
        """A task of theirs is to make it."""
        self.by_name.setdefault(name, Artifact(name, identity.anchor, identity.organisation))

    def reported(self, run: JobRun, slot: JobSlot, body: dict[str, Any], now_ms: int) -> None:
        """A report was taken that has moved the slot."""
        if not run.output:
            return
        pending = self._pending.setdefault(run.number, {})
        if body["state"] == "done" and "output" in body:
            pending[slot.id] = (slot.attempt, body["output"])
        if not run.terms.gang or run.state == "done":
            for id_, (attempt, output) in sorted(pending.items(), key=lambda item: run.slots[item[0]].index):
                if run.slots[id_].attempt == attempt:
                    self._make(run, run.slots[id_], output, now_ms)
            pending.clear()
        if not pending:
            del self._pending[run.number]

    def forget(self, run: JobRun, others: Iterable[JobRun]) -> None:
        """The task is deleted: what it has made stays, a name under which nobody has made anything is free."""
        self._pending.pop(run.number, None)
        artifact = self.by_name.get(run.output)
        if artifact is not None and not artifact.count and all(other.output != run.output for other in others):
            del self.by_name[run.output]

    def _make(self, run: JobRun, slot: JobSlot, output: dict[str, Any], now_ms: int) -> None:
        artifact = self.by_name[run.output]
        artifact.count += 1
        where = (artifact.count, run.id, run.task, slot.id, slot.index, slot.attempt, slot.operator)
        what = (output["hash"], output["bytes"], output["files"])
        artifact.versions.append(Made(*where, *what, run.uses.versions, run.code, now_ms))
        del artifact.versions[:-VERSIONS_MAX]

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        """Nothing while there is nothing: as networks were before there were artifacts."""
        if not self.by_name:
            return {}
        named = [
            [each.name, each.anchor, each.organisation, each.count, [_plain(made) for made in each.versions]]
            for _, each in sorted(self.by_name.items())
        ]
        pending = [
            [run, [[slot, attempt, output] for slot, (attempt, output) in sorted(slots.items())]]
            for run, slots in sorted(self._pending.items())
        ]
        return {"artifacts": [named, pending]}

    def restore(self, state: dict[str, Any]) -> None:
        """From the board's state."""
        named, pending = state.get("artifacts", [[], []])
        self.by_name = {
            name: Artifact(name, anchor, organisation, count, [Made.from_state(made) for made in versions])
            for name, anchor, organisation, count, versions in named
        }
        self._pending = {run: {slot: (attempt, output) for slot, attempt, output in slots} for run, slots in pending}

    def check(self) -> None:
        """The invariants that hold between any two entries."""
        for name, artifact in self.by_name.items():
            assert name == artifact.name
            numbers = [made.version for made in artifact.versions]
            assert numbers == list(range(artifact.count - len(numbers) + 1, artifact.count + 1)), numbers


def _plain(made: Made) -> list[Any]:
    *said, data, code, time_ms = astuple(made)
    return [*said, [list(pair) for pair in data], code, time_ms]
