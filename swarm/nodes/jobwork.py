"""The hands of an operator for one attempt of a job, or of a role's slot: as `nodes/slotwork`, with a workplace.

Made by `nodes/swop`. Guarantee: what the program has put into its output is in its place before its end is told, and
only while the lease goes on.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import trio

from swarm.core import operator_steps as o
from swarm.core.operator_steps import Verdict
from swarm.nodes.goal import Goal
from swarm.nodes.jobdirectory import JobDirectory
from swarm.nodes.mergingdirectory import MergingDirectory
from swarm.nodes.slotwork import SlotWork


@dataclass(frozen=True)
class Pass:
    """``token``: by which the program proves that it is of this slot (`nodes/desk`); ``address``: where it is reached.

    Both are of one attempt, also when the operator begins anew in between.
    """

    token: str
    address: str

    def keep(self, directory: Path) -> None:
        with open(os.open(directory / "pass.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file)

    @classmethod
    def kept(cls, directory: Path) -> Pass | None:
        try:
            return cls(**json.loads((directory / "pass.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


class JobWork(SlotWork):
    directory: JobDirectory | MergingDirectory
    code: Path | None = None
    """What the program begins with a copy of, if it has this hash; known once the task was judged."""
    code_hash: str | None = None
    makes: bool = False
    """What it puts out is a version of an artifact."""
    keep_logs_only: bool = False
    """Nothing else of its directory stays, also where the operator keeps what has ended."""
    goal: Goal | None = None
    """What its task is to reach."""
    pass_: Pass | None = None
    """Of a slot of a role."""

    def _prepare(self) -> None:
        self.directory.prepare(self.code, self.code_hash)
        if self.pass_ is not None:
            self.pass_.keep(self.directory.path)

    async def _settled(self, verdict: Verdict) -> Verdict:
        if verdict.state != "done" or not self._holds(self.lease):
            return verdict
        verdict = self.directory.publish()
        if verdict.state != "done" or not self.makes:
            return verdict
        return await trio.to_thread.run_sync(self.directory.summed_up, verdict)

    def _body(self, report: o.Report) -> dict[str, Any]:
        told = report.body()
        if self.pass_ is None or report.state not in ("starting", "running"):
            return told
        return {**told, "address": self.pass_.address}


class MergingWork(JobWork):
    """With a learning node beside the program."""

    directory: MergingDirectory

    def _prepare(self) -> None:
        self._give(self.directory.node_state)
        super()._prepare()
