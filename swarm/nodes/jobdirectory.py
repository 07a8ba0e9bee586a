"""The directory of one attempt of a job: as `nodes/slotdirectory`, with a watcher in place of a learning node."""

from __future__ import annotations

from pathlib import Path

from swarm.core.events import SlotAssigned
from swarm.core.operator_steps import Verdict
from swarm.nodes.launch import how_it_ended
from swarm.nodes.local import Lines
from swarm.nodes.outputs import Outputs
from swarm.nodes.slotdirectory import SIGNALS, SlotDirectory
from swarm.nodes.workplace import Workplace


class JobDirectory(Workplace, SlotDirectory):
    def __init__(self, path: Path, lease: SlotAssigned, runs: Path) -> None:
        super().__init__(path, lease)
        self._report = Lines(path / "report.jsonl")
        self._state = self._why = ""
        self.outputs = Outputs(runs, lease.task, lease.run)

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
