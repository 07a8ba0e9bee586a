"""A sweep: one command, once for each file of a dataset or directory of configurations, as a task of jobs.

Used by `swarm sweep`. Guarantees: what is wrong with the command line is said before a network is looked for, and a
plan is what is then submitted, job by job.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from swarm.core.dataset import Version
from swarm.errors import BadInput
from swarm.nodes import datause, inputs
from swarm.nodes.client import Client
from swarm.nodes.jobbing import arguments
from swarm.wire import jobsfile, tags
from swarm.wire.foreach import values_of
from swarm.wire.jobsfile import JobsFile

DATA, IN = "%DATA", "%IN"
RUNS = "runs"
"""Where the outputs of an operator's jobs go, in its state directory."""
PROBE = 10
"""Testers, where nobody says how many; all jobs, where they are fewer."""


@dataclass(frozen=True)
class Sweep:
    """What the command line says."""

    name: str
    data: str
    configs: str
    line: str
    probe: int = PROBE
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
            "Probe": self.probe,
            "Restart": self.restart,
            "Resources": {"cpu": self.cpu, "gpu": self.gpu},
        }
        task = jobsfile.made({"Name": self.name, "TaskType": "RUN_JOBS", "Body": body}, "swarm sweep")
        return replace(task, body=inputs.complete(task.body, base))


async def planned(task: JobsFile, client: Client) -> dict[str, Any]:
    """The same as `plan` of a task that names datasets, as they are now."""
    _, versions = await datause.pinned(task.body, client)
    return plan(task, versions)


def plan(task: JobsFile, versions: Mapping[str, Version]) -> dict[str, Any]:
    """What would run: every job's command, with the place of its output below that of its operator's outputs."""
    each = versions.get(IN)
    files = [f"{placed.root}/{placed.file.name}" for placed in each.files] if each else values_of(task.body.ForEach)
    data = {**task.body.Data, **{tag: _place(version) for tag, version in versions.items()}}
    terms = task.body.terms(len(files))
    out = f"{RUNS}/{task.name}"
    return {
        "name": task.name,
        "testers": terms.probe,
        "terms": asdict(terms),
        "jobs": [
            {
                "index": index,
                "input": file.rpartition("/")[2],
                "command": _command(task, {**data, IN: file, tags.OUT: f"{out}/{index}"}),
            }
            for index, file in enumerate(files)
        ],
    }


def _place(version: Version) -> str:
    """Of several files only the operator knows it."""
    return f"{version.files[0].root}/{version.files[0].file.name}" if version.alone else version.reference


def _command(task: JobsFile, values: Mapping[str, str]) -> str:
    words = arguments(task.body, values)
    return words[-1] if task.body.Shell else shlex.join(words)
