"""What an engine is asked to start for the slot of a job: one program, with a watcher beside it (`engines/watch`).

Made by `nodes/jobbing` from a task; taken by every engine that can run jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Job:
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    """What the task and the operator add to the operator's own."""
    working_dir: Path
    life: Path
    """The file by which the operator shows that it is there: it changes while it is."""
    longest_s: float = 0.0
    """0: as long as it takes."""
    alone_s: float = 25.0
    """How long it may run without a sign of life of its operator."""
