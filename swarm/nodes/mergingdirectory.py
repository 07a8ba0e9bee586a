"""The directory of one attempt of a slot that merges: a learning node's (`nodes/slotdirectory`), and a workplace."""

from __future__ import annotations

from pathlib import Path

from swarm.core.events import SlotAssigned
from swarm.nodes.outputs import Outputs
from swarm.nodes.slotdirectory import SlotDirectory
from swarm.nodes.workplace import Workplace


class MergingDirectory(Workplace, SlotDirectory):
    def __init__(self, path: Path, lease: SlotAssigned, runs: Path) -> None:
        super().__init__(path, lease)
        self.outputs = Outputs(runs, lease.task, lease.run)
