"""The training program (ML) as a child of its learning node: started, watched, ended with all its children.

Started by ``run-sl``, watched by ``nodes/sl``. Guarantees: the program's output reaches the terminal untouched and the
last lines of its stderr are kept for the error; it and its own children die with the learning node, even if that is
SIGKILLed, and its children with its end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

from swarm.errors import WorkerFailed
from swarm.nodes.program import must_exist
from swarm.runtime import memory
from swarm.runtime.tether import guard, spawn

LAST_LINES = 20
STOP_S = 1.0
DRAIN_S = 1.0


class Worker:
    """``output``: where its stdout goes; None: to this process's own."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path | None = None,
        output: int | None = None,
    ) -> None:
        must_exist(command, "what follows -- is run as it stands", cwd)
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._ended_by_kernel = memory.ended_by_kernel()
        told = {**os.environ, **environment}
        self._process = spawn(command, environment=told, cwd=cwd, stdout=output, stderr=subprocess.PIPE)
        self._guard = guard(self._process.pid)
        self._drain = threading.Thread(target=self._forward, name="worker-stderr", daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Its exit code; negative when a signal ended it."""
        code = await trio.to_thread.run_sync(self._process.wait, abandon_on_cancel=True)  # type: ignore[call-arg] # the stubs are older
        await trio.to_thread.run_sync(self._drain.join, DRAIN_S)  # a grandchild may hold the pipe open
        return code

    async def stop(self) -> None:
        """SIGTERM to its whole group, then SIGKILL to what is left of it."""
        with trio.CancelScope(shield=True):
            if self._process.poll() is None:
                self._signal(signal.SIGTERM)
                with trio.move_on_after(STOP_S):
                    await trio.to_thread.run_sync(self._process.wait, abandon_on_cancel=True)  # type: ignore[call-arg] # the stubs are older
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._dismiss_guard()

    def kill(self) -> None:
        """End what still runs of it, at once: without a loop."""
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._dismiss_guard()

    def _dismiss_guard(self) -> None:
        """The group has ended, and its number may be another's by and by."""
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def note(self, code: int) -> str:
        """What more is known of the end with this code: the end of a sentence."""
        killed = code == -signal.SIGKILL
        return memory.explained(self._ended_by_kernel, memory.ended_by_kernel()) if killed else ""

    def failure(self, code: int) -> WorkerFailed:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        how += self.note(code)
        lines = "\n".join(f"  {line}" for line in self.last_lines)
        return WorkerFailed(f"the training program {how}" + (f"; its last lines:\n{lines}" if lines else ""))

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _forward(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with contextlib.suppress(OSError):
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()
            self.last_lines.append(line.decode(errors="replace").rstrip("\n"))
