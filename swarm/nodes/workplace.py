"""Where a slot's program begins and what it leaves: the copy of its code, its output, its metrics.

Part of the directories of jobs and of merging slots (`nodes/jobdirectory`, `nodes/mergingdirectory`). Guarantees: what
the program puts into its output is where people look for it only once the attempt has ended well, all of it at once,
and never in place of what another task has left there.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from swarm.core import filelist
from swarm.core.events import SlotAssigned
from swarm.core.operator_steps import Verdict
from swarm.nodes.code import copied, must_be
from swarm.nodes.codesource import opened
from swarm.nodes.outputs import Outputs, entries
from swarm.nodes.trees import removed


class Workplace:
    path: Path
    lease: SlotAssigned
    outputs: Outputs
    part: str = ""
    """The name of its output beside the others of its task; empty: its index."""

    @property
    def work(self) -> Path:
        """Where the program begins."""
        return self.path / "work"

    @property
    def output(self) -> Path:
        """Where the program puts what is to stay."""
        return self.path / "out"

    @property
    def published(self) -> Path:
        return self.outputs.path / (self.part or str(self.lease.index))

    @property
    def metrics(self) -> Path:
        """What the program logs of its training, a line of JSON each."""
        return self.path / "metrics.jsonl"

    def publish(self) -> Verdict:
        """Put the output in its place.

        What lies there already stays, unless an earlier attempt of this very slot has left it: that did not count, or
        there would not be this one.
        """
        place = self.published
        if not self.output.is_dir() or not any(self.output.iterdir()):
            return Verdict("done", "", 0)
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.outputs.ours and place.is_dir():
                os.rename(place, self.path / "superseded")
            os.rename(self.output, place)
        except OSError as error:
            return Verdict("failed", f"its output cannot be put in its place, {place}: {error.strerror}", 0)
        return Verdict("done", "", 0)

    def summed_up(self, verdict: Verdict) -> Verdict:
        """With what it has put in its place, if anything."""
        try:
            files = entries(self.published)
        except (OSError, RecursionError) as error:
            why = error.strerror if isinstance(error, OSError) else "it lies too deep"
            return Verdict("failed", f"its output in {self.published} cannot be read: {why}", 0)
        if not files:
            return verdict
        size = sum(file.size for file in files)
        return replace(verdict, output={"hash": filelist.digest(files), "bytes": size, "files": len(files)})

    def prepare(self, code: Path | None, digest: str | None) -> None:
        """Make the places for a start; ``code`` (or what the zip holds) is copied to where the program begins.

        For a thread: it takes its time.

        Raises OSError, and BadInput when it is not the code with this hash, or more than code may be.
        """
        for place in (self.work, self.output):
            removed(place)  # of a start that came to nothing
        self.output.mkdir(mode=0o700)
        if code is None:
            self.work.mkdir(mode=0o700)
            return
        with opened(code, self.path) as directory:
            copied(directory, self.work)
        must_be(digest, self.work, code)
