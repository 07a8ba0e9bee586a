"""Local processes that live and die together: started, watched, ended in order.

Used by `swarm demo|run|up` (through `nodes/local`) and by the benches. Guarantees: no child outlives its launcher, even
one that is SIGKILLed; a child's output goes to a file and its last lines into the error that names it; when one dies,
the others are ended; ending takes at most the grace given, whatever the children do.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from swarm.errors import (
    BY_CODE,
    BadInput,
    CheckFailed,
    Interrupted,
    SwarmError,
    Unreachable,
    WorkerFailed,
)
from swarm.runtime.tether import ENDINGS, heard_afterwards, spawn

GRACE_S = 5.0
INTERRUPTED_GRACE_S = 0.6
LOOK_EVERY_S = 0.05
LAST_LINES = 12
_ANYBODYS = (CheckFailed, Interrupted)
"""Classes whose codes any program may end with: they say nothing about what went wrong."""


@dataclass
class Process:
    """One child. Its state directory holds `ready.json` once it serves and `output.log` from the start."""

    name: str
    role: str
    state: Path
    pid: int
    _wait: Callable[[], int] = field(repr=False)
    _code: int | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        return self.state / "output.log"

    @property
    def exit_code(self) -> int | None:
        """As a shell says it (128 + the signal that ended it); None while it runs."""
        if self._code is None and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            # What it left running in its group, while its pid cannot be anybody else's.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            code = self._wait()
            self._code = code if code >= 0 else 128 - code
        return self._code

    @property
    def running(self) -> bool:
        return self.exit_code is None

    def ready(self) -> dict[str, Any] | None:
        """What it wrote when it was ready to serve; None before. A file of an earlier process does not count."""
        try:
            said = json.loads((self.state / "ready.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return said if isinstance(said, dict) and said.get("pid") == self.pid else None

    def last_lines(self, count: int = LAST_LINES) -> list[str]:
        """The end of its output; of a command of ours only the error with which it ended."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 20_000))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        errors = [at for at, line in enumerate(lines) if line.startswith("error: ")]
        return (lines[errors[-1] :] if errors else lines)[-count:]

    def failure(self) -> SwarmError:
        """The error of a process that should still run, or should have ended with 0."""
        code = self.exit_code
        assert code is not None
        kind = BY_CODE.get(code, WorkerFailed)
        if kind in _ANYBODYS:
            kind = WorkerFailed
        lines = "".join(f"\n  {line}" for line in self.last_lines()) or " (none)"
        return kind(f"{self.name} ({self.role}) {how_it_ended(code)}; its last lines:{lines}")


def how_it_ended(code: int) -> str:
    if code <= 128:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(code - 128).name}"
    except ValueError:
        return f"ended with exit code {code}"


class Launch:
    """A group of child processes. A context manager: on leaving, what still runs is ended."""

    def __init__(self, *, environment: Mapping[str, str] | None = None, tethered: bool = True) -> None:
        self.processes: list[Process] = []
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._tethered = tethered

    def start(
        self,
        name: str,
        role: str,
        command: Sequence[str],
        *,
        state: Path,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Start one child; its output is appended to `state`/output.log."""
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (state / "output.log").open("ab") as log, heard_afterwards():  # when it is among those that are ended
            try:
                popen = spawn(
                    command,
                    environment={**self._environment, **(environment or {})},
                    cwd=cwd,
                    stdout=log,
                    stderr=log,
                    tethered=self._tethered,
                )
            except OSError as error:
                raise BadInput(f"{name}: {command[0]} cannot be started: {error.strerror}") from error
            process = Process(name, role, state, popen.pid, popen.wait)
            self.processes.append(process)
        return process

    def wait_ready(
        self,
        processes: Iterable[Process],
        deadline_s: float,
        look: Callable[[], None] = lambda: None,
        may_end: Sequence[Process] = (),
    ) -> None:
        """Until each has written its ready.json, or is one of `may_end` and has ended with 0; `look` is called every
        50 ms.

        Raises the error of the first process that dies meanwhile, or Unreachable naming who is not ready.
        """
        waiting = list(processes)
        until = time.monotonic() + deadline_s
        while waiting := [each for each in waiting if each.ready() is None and not self._over(each, may_end)]:
            self.check(may_end)
            look()
            if time.monotonic() > until:
                names = ", ".join(process.name for process in waiting)
                lines = "".join(f"\n  {line}" for line in waiting[0].last_lines()) or " (none)"
                raise Unreachable(
                    f"{names} not ready after {deadline_s:g} s; the last lines of {waiting[0].name}:{lines}"
                )
            time.sleep(LOOK_EVERY_S)

    def wait_ended(self, processes: Iterable[Process], look: Callable[[], None] = lambda: None) -> None:
        """Until each of these has ended with 0; `look` is called every 50 ms and may raise to set a deadline.

        Raises the error of the first process that ends otherwise, or that ends and is not one of these.
        """
        waiting = list(processes)
        while any(process.running for process in waiting):
            self.check(may_end=waiting)
            look()
            time.sleep(LOOK_EVERY_S)
        self.check(may_end=waiting)
        look()

    def check(self, may_end: Sequence[Process] = ()) -> None:
        """Raises the error of the first process that has ended; those of `may_end` may, with 0."""
        for process in self.processes:
            code = process.exit_code
            if code is not None and not self._over(process, may_end):
                raise process.failure()

    @staticmethod
    def _over(process: Process, may_end: Sequence[Process]) -> bool:
        return process in may_end and process.exit_code == 0

    def kill(self, process: Process) -> None:
        """SIGKILL one child: its end is wanted, and ends nobody else."""
        self.processes.remove(process)
        os.kill(process.pid, signal.SIGKILL)
        while process.running:
            time.sleep(LOOK_EVERY_S / 5)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """SIGTERM to every process that runs, SIGKILL to its whole group after the grace."""
        with _undisturbed():
            for process in self.processes:
                if process.running:
                    os.kill(process.pid, signal.SIGTERM)
            until = time.monotonic() + grace_s
            while any(process.running for process in self.processes) and time.monotonic() < until:
                time.sleep(LOOK_EVERY_S / 5)
            for process in self.processes:
                if process.running:
                    os.killpg(process.pid, signal.SIGKILL)
            while any(process.running for process in self.processes):
                time.sleep(LOOK_EVERY_S / 5)

    def table(self) -> list[dict[str, Any]]:
        """One row a process, as --json shows it."""
        return [
            {"name": process.name, "role": process.role, "pid": process.pid, "exit_code": process.exit_code}
            for process in self.processes
        ]

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        in_haste = kind is not None and not issubclass(kind, Exception)
        self.stop(INTERRUPTED_GRACE_S if in_haste else GRACE_S)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within: SIGTERM and SIGHUP end this process as Ctrl-C does, so that what it started is ended in order."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Within: a second Ctrl-C does not break off what the first one asked for."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
