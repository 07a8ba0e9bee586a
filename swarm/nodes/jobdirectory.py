"""The directory of one attempt of a job: as `nodes/slotdirectory`, with a watcher in place of a learning node.

Guarantees: what the job puts into its output is where people look for it only once the attempt has ended well, all of
it at once, and never in place of what another attempt has left there.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from swarm.core import filelist
from swarm.core.events import SlotAssigned
from swarm.core.operator_steps import Verdict
from swarm.errors import BadInput
from swarm.nodes.code import digest_of, left_out
from swarm.nodes.launch import how_it_ended
from swarm.nodes.local import Lines
from swarm.nodes.outputs import Outputs, entries
from swarm.nodes.slotdirectory import SIGNALS, SlotDirectory


class JobDirectory(SlotDirectory):
    """``runs``: where all outputs of this operator go, each below its task's name and its own number."""

    def __init__(self, path: Path, lease: SlotAssigned, runs: Path) -> None:
        super().__init__(path, lease)
        self._report = Lines(path / "report.jsonl")
        self._state = self._why = ""
        self.outputs = Outputs(runs, lease.task, lease.run)

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
        return self.outputs.path / str(self.lease.index)

    @property
    def metrics(self) -> Path:
        """What the program logs of its training, a line of JSON each."""
        return self.path / "metrics.jsonl"

    def look(self) -> None:
        for line in self._report.new():
            match line.get("event"):
                case "program_started":
                    self.started = True
                case "program_ended":
                    self.program_code = line["exit_code"]
                    self._state, self._why = line["state"], line["why"]

    @property
    def touched(self) -> bool:
        return (self.path / "report.jsonl").exists() or (self.path / "ml.json").exists()

    def starts(self) -> int:
        return 1

    def verdict(self, node_code: int | None, *, alone: bool) -> Verdict:
        """``node_code``: of the watcher; ``alone`` says nothing of a job."""
        self.look()
        if self.program_code is None:
            return Verdict("stopped", "its watcher ended and nobody saw how its program did", None)
        code = self.program_code if self.program_code >= 0 else SIGNALS - self.program_code
        if self._state == "done":
            return Verdict("done", "", 0)
        return Verdict(self._state, self._why or f"its program {how_it_ended(code)}", code)

    def publish(self) -> Verdict:
        """Put the output in its place.

        What lies there already stays, unless an earlier attempt of this very job has left it: that did not count, or
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
        except OSError as error:
            return Verdict("failed", f"its output in {self.published} cannot be read: {error.strerror}", 0)
        if not files:
            return verdict
        size = sum(file.size for file in files)
        return replace(verdict, output={"hash": filelist.digest(files), "bytes": size, "files": len(files)})

    def prepare(self, code: Path | None, digest: str | None) -> None:
        """Make the places for a start; ``code`` is copied to where the program begins.

        Raises OSError, and BadInput when it is not the code with this hash.
        """
        for place in (self.work, self.output):
            shutil.rmtree(place, ignore_errors=True)  # of a start that came to nothing
        self.output.mkdir(mode=0o700)
        if code is None:
            self.work.mkdir(mode=0o700)
            return
        shutil.copytree(code, self.work, symlinks=True, ignore=left_out)
        if (found := digest_of(self.work)) != digest:
            raise BadInput(f"the code {code} has changed: its hash is {found}, the task was submitted with {digest}")
