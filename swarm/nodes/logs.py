"""The logs that nodes and slots have left on this host, found by the names that people know them by.

Used by `swarm logs`. Names: a node's state directory gives its name (``sn-1``, ``swop-1``), a slot's id the log of its
program (``12.0``), with ``.sl`` behind it that of its learning node (``12.0.sl``).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import BadInput

_NODE_LOGS = ("output.log", "logs/swarm.log")
"""Where a node's log is in its state directory: everything it printed, where somebody kept that, comes first."""
_TAIL_BYTES = 1_000_000


@dataclass(frozen=True)
class Log:
    name: str
    path: Path

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size

    @property
    def modified_s(self) -> float:
        return self.path.stat().st_mtime

    def last(self, count: int) -> tuple[list[str], int]:
        """Its last lines (of the last MB), and where the log ended when it was read."""
        with self.path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - _TAIL_BYTES))
            lines = file.read(end).decode("utf-8", "replace").splitlines()
        return lines[-count:] if count else [], end

    def since(self, position: int) -> tuple[str, int]:
        """What was written behind the position; from the beginning if the log has begun anew since."""
        with self.path.open("rb") as file:
            position = position if position <= file.seek(0, os.SEEK_END) else 0
            file.seek(position)
            data = file.read()
        return data.decode("utf-8", "replace"), position + len(data)


def logs(base: Path) -> list[Log]:
    """All below the directory that holds state directories, or in this one state directory, newest last."""
    return sorted(_found(base), key=lambda log: log.modified_s)


def find(base: Path, name: str) -> Log:
    """The newest of this name; raises BadInput that names the nearest."""
    every = logs(base)
    for log in reversed(every):
        if log.name == name:
            return log
    near = difflib.get_close_matches(name, [log.name for log in every], n=1)
    hint = f"did you mean {near[0]}?" if near else "swarm logs lists those there are; --state DIR looks elsewhere"
    raise BadInput(f"no node and no slot {name[:80]} has left a log in {base}", hint=hint)


def state_directories(base: Path) -> list[Path]:
    """Those below the directory that holds them, those of `swarm up`, or this one itself."""
    return [base, *_directories(base), *_directories(base / "up")]


def _found(base: Path) -> Iterator[Log]:
    for directory in state_directories(base):
        for log in _NODE_LOGS:
            if (directory / log).is_file():
                yield Log(directory.name, directory / log)
                break
        for slot in [slot for part in ("slots", "jobs", "roles") for slot in _directories(directory / part)]:
            id_ = slot.name.partition("-")[0]
            for log, name in (("ml.log", id_), ("sl.log", f"{id_}.sl")):
                if (slot / log).is_file():
                    yield Log(name, slot / log)


def _directories(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir())
    except OSError:
        return []
