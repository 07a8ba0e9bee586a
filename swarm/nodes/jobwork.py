"""The hands of an operator for one attempt of a job: as `nodes/slotwork`, with a program where there is a pair.

Made by `nodes/swop`. Guarantee: what the program has put into its output is in its place before its end is told, and
only while the lease goes on.
"""

from __future__ import annotations

from pathlib import Path

import trio

from swarm.core.operator_steps import Verdict
from swarm.nodes.jobdirectory import JobDirectory
from swarm.nodes.slotwork import SlotWork


class JobWork(SlotWork):
    directory: JobDirectory
    code: Path | None = None
    """What the program begins with a copy of, if it has this hash; known once the task was judged."""
    code_hash: str | None = None
    makes: bool = False
    """What it puts out is a version of an artifact."""

    def _prepare(self) -> None:
        self.directory.prepare(self.code, self.code_hash)

    async def _settled(self, verdict: Verdict) -> Verdict:
        if verdict.state != "done" or not self._holds(self.lease):
            return verdict
        verdict = self.directory.publish()
        if verdict.state != "done" or not self.makes:
            return verdict
        return await trio.to_thread.run_sync(self.directory.summed_up, verdict)
