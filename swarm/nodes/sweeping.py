"""A sweep: one command, once for each file of a directory of configurations, as a task of jobs.

Used by `swarm sweep`. Guarantees: what is wrong with the command line is said before a network is looked for, and a
plan is what is then submitted, job by job.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from swarm.errors import BadInput
from swarm.nodes import inputs
from swarm.nodes.jobbing import arguments
from swarm.wire import jobsfile, tags
from swarm.wire.foreach import values_of
from swarm.wire.jobsfile import JobsFile

DATA, IN = "%DATA", "%IN"
RUNS = "runs"
"""Where the outputs of an operator's jobs go, in its state directory."""
PROBE = 10
"""Testers, where nobody says how many: no more than there are jobs."""


@dataclass(frozen=True)
class Sweep:
    """What the command line says. ``probe``: None = as many as usual."""

    name: str
    data: str
    configs: str
    line: str
    probe: int | None = None
    shell: bool = False
    restart: int = 0
    cpu: int = 1
    gpu: int = 0

    def task(self, base: Path) -> JobsFile:
        """The task that it makes; paths are relative to ``base``. Raises BadInput."""
        for tag, what in ((DATA, "-d"), (IN, "-c"), (tags.OUT, "the place of each job's output")):
            if tag not in tags.named([self.line]):
                raise BadInput(
                    f"--exec does not name {tag}, which stands for {what}: {self.line!r}",
                    hint='--exec "python train.py -d %DATA -c %IN -o %OUT"',
                )
        body = {
            "Exec": self.line,
            "Shell": self.shell,
            "Data": {DATA: self.data},
            "ForEach": {IN: self.configs},
            "Restart": self.restart,
            "Resources": {"cpu": self.cpu, "gpu": self.gpu},
        }
        task = jobsfile.made({"Name": self.name, "TaskType": "RUN_JOBS", "Body": body}, "swarm sweep")
        whole = inputs.complete(task.body, base)
        if self.probe is not None and self.probe > whole.jobs:
            raise BadInput(f"--probe {self.probe} is more than the {whole.jobs} jobs of {self.configs}")
        return replace(task, body=replace(whole, Probe=min(PROBE, whole.jobs) if self.probe is None else self.probe))


def planned(task: JobsFile) -> dict[str, Any]:
    """What would run: every job's command, with the place of its output below that of its operator's outputs."""
    return {
        "name": task.name,
        "testers": task.body.Probe,
        "terms": asdict(task.body.terms()),
        "jobs": [
            {"index": index, "input": value.rpartition("/")[2], "command": _shown(task, index, value)}
            for index, value in enumerate(values_of(task.body.ForEach))
        ],
    }


def _shown(task: JobsFile, index: int, value: str) -> str:
    place = f"{RUNS}/{task.name}/{index}"
    words = arguments(task.body, {tags.OUT: place, **task.body.Data, IN: value})
    return words[-1] if task.body.Shell else shlex.join(words)
