"""The logs that nodes and slots have left on this host, found by the names that people know them by.

Used by `swarm logs`. Names: a node's state directory gives its name (``sn-1``, ``swop-1``), a slot's id the log of its
program (``12.0``), with ``.sl`` behind it that of its learning node (``12.0.sl``). A task's name stands for its slot
where only one has run here.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import BadInput

_NODE_LOGS = ("output.log", "logs/swarm.log")
"""Where a node's log is in its state directory: everything it printed, where somebody kept that, comes first."""
_TAIL_BYTES = 1_000_000
_INTENT_BYTES = 64 * 1024
NAMED_MAX = 5


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

    @property
    def task(self) -> str:
        """Whose program wrote it, as its operator has noted beside it (`nodes/slotdirectory`); "" where nobody has."""
        try:
            with (self.path.parent / "slot.json").open("rb") as file:
                said = json.loads(file.read(_INTENT_BYTES))
        except (OSError, ValueError):
            return ""
        return str(said.get("task", "")) if isinstance(said, dict) and self.path.name == "ml.log" else ""

    @property
    def run(self) -> str:
        """Of a slot's: the number that its id begins with."""
        return self.name.partition(".")[0]

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
    """The newest of this name, or of the one slot of the task with this name; raises BadInput that names what there
    is."""
    every = logs(base)
    if named := next((log for log in reversed(every) if log.name == name), None):
        return named
    tasks = [(log.task, log) for log in every]
    if own := [log for task, log in tasks if task == name]:
        return _of_task([log for log in own if log.run == own[-1].run], name, base)
    near = difflib.get_close_matches(name, [*(log.name for log in every), *{task for task, _ in tasks if task}], n=1)
    elsewhere = "swarm logs lists those there are, swarm slots ls TASK a task's slots; --state DIR looks elsewhere"
    hint = f"did you mean {near[0]}?" if near else elsewhere
    raise BadInput(f"no node, no slot and no task {name[:80]} has left a log in {base}", hint=hint)


def _of_task(logs: list[Log], name: str, base: Path) -> Log:
    """Of several attempts the last one; a task of this name that was deleted before has another run."""
    slots = {log.name: log for log in logs}
    if len(slots) == 1:
        return logs[-1]
    shown = ", ".join(sorted(slots, key=_place)[:NAMED_MAX])
    more = f" and {len(slots) - NAMED_MAX} more" if len(slots) > NAMED_MAX else ""
    raise BadInput(
        f"{len(slots)} slots of task {name} have left logs in {base}, expected the name of one: {shown}{more}",
        hint=f"swarm logs {min(slots, key=_place)} shows one; swarm slots ls {name} says how each of them is",
    )


def _place(slot: str) -> tuple[int, ...]:
    """So that 12.10 comes after 12.9."""
    return tuple(int(part) for part in slot.split(".") if part.isdecimal())


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
