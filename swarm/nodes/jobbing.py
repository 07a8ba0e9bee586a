"""From a task of jobs to what an engine is to start for one of its slots.

Used by `nodes/swop`. Guarantees: no job is pointed at a dataset that is not what its task was submitted for; what a job
is told in its environment is complete before anything is started; all ranks of a gang are told the same address, also
when their operator began anew in between.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from swarm.core.dataset import Version
from swarm.core.datasets import Datasets
from swarm.core.jobrun import JobRun
from swarm.core.jobslot import JobSlot
from swarm.core.task import Task
from swarm.engines.job import Job
from swarm.errors import BadInput
from swarm.nodes import inputs
from swarm.nodes.holdings import Holdings
from swarm.nodes.jobwork import JobWork
from swarm.nodes.local import HOST
from swarm.nodes.secrets import Secrets
from swarm.nodes.workplace import Workplace
from swarm.wire import tags
from swarm.wire.jobsfile import RunJobs, body_of

VERSIONS_KEPT = 32


@dataclass(frozen=True)
class Jobbing:
    """``state``: the operator's directory; ``life``: the file in it that shows that the operator is there."""

    state: Path
    secrets: Secrets
    holdings: Holdings
    _versions: dict[tuple[int, str], Version] = field(default_factory=dict)

    @property
    def life(self) -> Path:
        return self.state / "life"

    def data(self, task: Task, run: JobRun, slot: str, datasets: Datasets) -> dict[str, Version]:
        """By tag, the datasets of one job: of ForEach's its own file. Raises BadInput for what nobody has checked."""
        if not run.uses.versions:
            return {}
        body = body_of(task.body, task.name)
        found = {tag: self._version(run.number, text, datasets) for tag, text in body.datasets.items()}
        for tag, version in found.items():
            if (version.name, version.hash) not in run.uses.versions:
                raise BadInput(f"task {task.name} says {tag} is {version.reference}, and was not submitted for it")
        for tag in found.keys() & (body.ForEach or {}).keys():
            own = found[tag].files[run.slots[slot].index : run.slots[slot].index + 1]
            if not own:
                raise BadInput(f"task {task.name} has more jobs than {found[tag].reference} has files")
            found[tag] = replace(found[tag], files=own, alone=True)
        return found

    def _version(self, run: int, text: str, datasets: Datasets) -> Version:
        """The same for each job of a run: it may have as many files as there are jobs."""
        if (run, text) not in self._versions:
            if len(self._versions) >= VERSIONS_KEPT:
                self._versions.clear()
            self._versions[run, text] = datasets.version(text)
        return self._versions[run, text]

    def give(self, work: JobWork, task: Task, run: JobRun, held: Mapping[str, str]) -> None:
        """Tell the work what to start for its attempt; ``held``: where its datasets are, by tag.

        Raises BadInput for what this host cannot do.
        """
        body = body_of(task.body, task.name)
        slot, directory = run.slots[work.lease.slot], work.directory
        work.code, work.code_hash = (Path(body.Code) if body.Code else None), body.CodeHash
        work.makes = bool(run.output)
        if not directory.intended:
            directory.outputs.claim()
        values = {tags.OUT: str(directory.output), **inputs.of_job(body, slot.index, held)}
        said = {name: tags.fill(value, values) for name, value in self.secrets.resolved(body.Envvars).items()}
        work.pair = Job(
            arguments=arguments(body, values),
            environment={**said, **self.environment(run, slot, directory)},
            working_dir=directory.work,
            life=self.life,
            longest_s=body.MaxRunTime or 0,
        )

    def environment(self, run: JobRun, slot: JobSlot, directory: Workplace) -> dict[str, str]:
        """What every job and every slot of a role is told."""
        own = {
            "SWARM_TASK": run.task,
            "SWARM_TASK_ID": str(run.id),
            "SWARM_SLOT": slot.id,
            "SWARM_JOB": str(slot.index),
            "SWARM_ATTEMPT": str(slot.attempt),
            "SWARM_OUT": str(directory.output),
            "SWARM_METRICS": str(directory.metrics),
            "CUDA_VISIBLE_DEVICES": ",".join(map(str, slot.gpus)) if slot.gpus else "-1",
        }
        return {**own, **(self._rendezvous(run, slot) if run.terms.gang else {})}

    def _rendezvous(self, run: JobRun, slot: JobSlot) -> dict[str, str]:
        """What `torch.distributed` and others read: all ranks are on this host."""
        rank = str(slot.index)
        return {
            "WORLD_SIZE": str(run.terms.slots),
            "RANK": rank,
            "LOCAL_RANK": rank,
            "LOCAL_WORLD_SIZE": str(run.terms.slots),
            "MASTER_ADDR": HOST,
            "MASTER_PORT": str(self._port(run, slot.fence)),
        }

    def _port(self, run: JobRun, fence: int) -> int:
        """A free one, the same for each rank of this attempt: kept on disk, for the next operator process here."""
        place = self.state / "jobs" / f"{run.number}-{fence}.port"
        try:
            return int(place.read_text(encoding="ascii"))
        except (OSError, ValueError):
            with socket.socket() as probe:
                probe.bind((HOST, 0))
                port = int(probe.getsockname()[1])
            place.write_text(str(port), encoding="ascii")
            return port


def arguments(body: RunJobs, values: Mapping[str, str]) -> tuple[str, ...]:
    """``values``: what stands in the place of which tag."""
    if body.Command is not None:
        return tuple(tags.fill(word, values) for word in body.Command)
    assert body.Exec is not None
    if body.Shell:
        return ("/bin/sh", "-c", tags.fill_for_shell(body.Exec, values))
    try:
        return tuple(tags.fill(word, values) for word in shlex.split(body.Exec))
    except ValueError as error:
        raise BadInput(f"Exec {body.Exec!r} of the task cannot be split: {str(error).lower()}") from None
