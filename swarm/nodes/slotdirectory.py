"""The directory of one slot's attempt: the intent to run it, and what its worker has left there to say how it went.

Made by `nodes/swop` in STATE/slots before a worker is started, read by it again after a restart. Guarantees: the intent
is on disk before anything runs, so that no worker is unknown to its operator; a verdict needs only what is on disk.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

from swarm.core.events import SlotAssigned
from swarm.core.operator_steps import Verdict
from swarm.nodes.launch import how_it_ended
from swarm.nodes.local import Lines
from swarm.nodes.trees import removed
from swarm.runtime.channel_socket import forget

LAST_LINES = 12
SIGNALS = 128
"""Codes above it are of processes that a signal has ended, as a shell says it."""
_LINE = 300
_TAIL = 64 * 1024
_LOGS = {"slot.json", "sl.log", "ml.log", "metrics.jsonl", "record.json"}


class SlotDirectory:
    def __init__(self, path: Path, lease: SlotAssigned) -> None:
        self.path = path
        self.lease = lease
        self.started = False
        """The program was started."""
        self.finished = False
        """It ended well, and had enrolled."""
        self.program_code: int | None = None
        """What it ended with; negative: a signal."""
        self.program_note = ""
        """What the learning node added to that."""
        self.given_up = ""
        """Why the learning node could not go on with what it had read of the ledger."""
        self.entry = ""
        """The hash of the ledger's entry that made the lease, as far as the operator has seen that."""
        self._report = Lines(path / "sl" / "report.jsonl")

    def intend(self) -> None:
        """Keep on disk that the slot's worker is to be started here."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.path / "slot.part"
        with part.open("w", encoding="utf-8") as file:
            json.dump(asdict(self.lease) | ({"entry": self.entry} if self.entry else {}), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path / "slot.json")

    def look(self) -> None:
        for line in self._report.new():
            match line.get("event"):
                case "node_started":
                    self.begin_anew()
                case "program_started":
                    self.started = True
                case "program_ended":
                    self.program_code, self.program_note = line["exit_code"], line.get("note", "")
                case "finished":
                    self.finished = True
                case "given_up":
                    self.given_up = line["reason"]

    def begin_anew(self) -> None:
        """What an earlier learning node here said of its program does not count for the next."""
        self.started = self.finished = False
        self.program_code, self.program_note, self.given_up = None, "", ""

    def starts(self) -> int:
        """How often a learning node has been started here."""
        try:
            return int((self.node_state / "starts").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    @property
    def node_state(self) -> Path:
        """The state directory of its learning node."""
        return self.path / "sl"

    @property
    def intended(self) -> bool:
        """Whether anything can have been started here."""
        return (self.path / "slot.json").exists()

    @property
    def touched(self) -> bool:
        """Whether a learning node has ever run here."""
        return (self.node_state / "lock").exists()

    def sl_uid(self) -> str:
        """The learning node's, once it is ready; before: empty."""
        return str(self._ready().get("uid", ""))

    def sl_pid(self) -> int:
        """The learning node's process, once it is ready; before: 0."""
        return int(self._ready().get("pid", 0))

    def _ready(self) -> dict[str, Any]:
        try:
            ready: dict[str, Any] = json.loads((self.node_state / "ready.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return ready

    def verdict(self, node_code: int | None, *, alone: bool) -> Verdict:
        """How the slot ended, by what its worker said and the code of its learning node (None: nobody saw it).

        ``alone``: the program was to train without a swarm, so it need not have enrolled.
        """
        self.look()
        code = self.program_code
        if self.finished or (alone and code == 0):
            return Verdict("done", "", 0)
        if self.given_up and code is None:
            return Verdict("failed", self.given_up, node_code, died=True)
        if code == 0:
            return Verdict("failed", "its program ended with exit code 0 and never enrolled in a contract", 0)
        if code is not None:
            code = code if code > 0 else 128 - code
            return Verdict("failed", f"its program {how_it_ended(code)}{self.program_note}", code)
        which = "while its program ran" if self.started else "before it had joined the network"
        if node_code is None:
            reason = f"its learning node ended {which}, and no operator was there to see how"
            return Verdict("failed", reason, None, died=True)
        return Verdict("failed", f"its learning node {how_it_ended(node_code)} {which}", node_code, node_code > SIGNALS)

    def conclude(self, verdict: Verdict, node_code: int | None) -> None:
        """Keep on disk how the slot ended, for whoever watches this directory; the ledger is what counts."""
        part = self.path / "ended.part"
        with contextlib.suppress(OSError):
            part.write_text(json.dumps({"verdict": asdict(verdict), "node_code": node_code}), encoding="utf-8")
            os.replace(part, self.path / "ended.json")

    def conclusion(self) -> tuple[Verdict, int | None] | None:
        """How the slot ended, and its learning node's exit code; None while it has not."""
        try:
            said = json.loads((self.path / "ended.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Verdict(**said["verdict"]), said["node_code"]

    def last_lines(self) -> list[str]:
        """The last of the program's log; of the learning node's if the program was never started."""
        try:
            with (self.path / ("ml.log" if self.started else "sl.log")).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        lines = ("".join(c if c.isprintable() else " " for c in line).rstrip()[:_LINE] for line in text.splitlines())
        return [line for line in lines if line][-LAST_LINES:]

    def clear(self) -> None:
        """Keep the logs only. Nothing of the worker runs any more."""
        forget(self.node_state / "channel")
        for path in self.path.glob("*"):
            if path.is_dir() and not path.is_symlink():
                removed(path)
            elif path.name not in _LOGS:
                path.unlink(missing_ok=True)


D = TypeVar("D", bound=SlotDirectory)


class SlotDirectories(Generic[D]):
    """All of one operator, each made by ``make``."""

    def __init__(self, path: Path, make: Callable[[Path, SlotAssigned], D]) -> None:
        self.path = path
        self._make = make

    def of(self, lease: SlotAssigned) -> D:
        return self._make(self.path / f"{lease.slot}-{lease.fence}", lease)

    def kept(self) -> Iterator[D]:
        """Those of all attempts that this operator, or one before it in this state directory, intended to run."""
        for path in sorted(self.path.glob("*/slot.json")):
            try:
                said = json.loads(path.read_text(encoding="utf-8"))
                entry = str(said.pop("entry", ""))
                lease = SlotAssigned(**said)
            except (OSError, ValueError, TypeError, AttributeError):
                continue  # not written by an operator of this version: nothing of it is touched
            directory = self._make(path.parent, lease)
            directory.entry = entry
            yield directory

    def prune(self, keep: int) -> None:
        """Forget the logs of all but the newest ended attempts (which hold nothing but logs)."""
        ended = [path.parent for path in self.path.glob("*/slot.json") if set(os.listdir(path.parent)) <= _LOGS]
        for path in sorted(ended, key=lambda path: path.stat().st_mtime, reverse=True)[keep:]:
            removed(path)
