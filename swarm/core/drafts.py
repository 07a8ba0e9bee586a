"""Drafts: tasks of jobs or roles that are in the ledger and do not begin before a person says so.

Called by the board; the runs are kept by `core/jobs`. A task is submitted as a draft (``draft`` in JobsSubmitted and
RolesSubmitted) with all that it says, which is checked then. Guarantees: a draft has no slots, takes no participants
and may be deleted; a final one has its slots, participants join and wait, and nothing is dealt; a sweep's swarms are
finalized together, and started together. Its place in the queue is that of when it is started.

    proposal        by                       what follows
    JobsFinalized   swci, its organisation   the draft is final
    JobsStarted     swci, its organisation   the final task is queued, and slots are dealt

The states are in `core/task.TASK`. Both came with the fourth version of the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from swarm.core.claims import EntryHeader, Verified
from swarm.core.events import Event
from swarm.core.jobrun import JobRun
from swarm.core.jobs import Answer, Jobs
from swarm.core.names import Identity
from swarm.core.task import Task
from swarm.errors import Refused


class Drafts:
    """What it is given is the board's own."""

    def __init__(self, jobs: Jobs, tasks: Mapping[str, Task]) -> None:
        self._jobs, self._tasks = jobs, tasks
        self.kinds: dict[str, Callable[[Verified, EntryHeader, Identity], Answer]] = {
            "JobsFinalized": self._finalized,
            "JobsStarted": self._started,
        }

    def _finalized(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        name, runs = claim.body["task"], self._together(claim, identity, "finalized", "finalize")
        for run in runs:
            if run.state != "draft":
                hint = f"swarm task {'start' if run.state == 'final' else 'show'} {name}"
                raise Refused(f"task {name} is {run.state} already: only a draft can be finalized", hint=hint)
            if (whole := self._jobs.sweeps.whole(run)) and not whole.complete:
                raise Refused(f"task {whole.name} cannot be finalized: {whole.reason}")
        for run in runs:
            self._tasks[run.task].finalizer = claim.uid
        return self._each(name, runs, lambda run: run.finalize(header.time), header)

    def _started(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        name, runs = claim.body["task"], self._together(claim, identity, "started", "start")
        for run in runs:
            if run.state == "draft":
                raise Refused(
                    f"task {name} is a draft: only a final task can be started", hint=f"swarm task finalize {name}"
                )
            if run.state != "final":
                how = "it has ended" if run.over else "it was started already"
                hint = f"swarm task retry {name}" if run.over else f"swarm task show {name}"
                raise Refused(f"task {name} is {run.state}: {how}", hint=hint)
            if run.ending:
                raise Refused(
                    f"task {name} cannot be started: it ends, {run.reason}",
                    hint=f"swarm task retry {name}, once it has ended",
                )
        return self._each(name, runs, lambda run: self._jobs.start(run, header), header)

    def _each(
        self, name: str, runs: list[JobRun], happen: Callable[[JobRun], list[Event]], header: EntryHeader
    ) -> Answer:
        """The answer says how it stands once slots are dealt."""
        _, events = self._jobs.each_done(name, runs, happen, header)
        named = self._jobs.named(name) or runs[0]
        return {"id": named.id, "state": named.state}, events

    def _together(self, claim: Verified, identity: Identity, what: str, verb: str) -> list[JobRun]:
        runs = self._jobs.meant(claim, identity, what)
        self._jobs.sweeps.must_go_together(runs, what, verb)
        return runs
