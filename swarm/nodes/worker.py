"""The training program (ML) as a child of its learning node: started, watched, ended with all its children.

Used by ``nodes/sl``. Guarantees: the program's output reaches the terminal untouched and its last lines of stderr are
kept for the error; it runs in a process group of its own and dies with the learning node, even if that is SIGKILLed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence

import trio

from swarm.errors import BadInput
from swarm.nodes.tether import spawn

LAST_LINES = 20
STOP_S = 3.0


class Worker:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)

    @classmethod
    async def start(cls, command: Sequence[str], env: Mapping[str, str]) -> Worker:
        if shutil.which(command[0]) is None:
            raise BadInput(f"the program {command[0]!r} was not found", hint="what follows -- is run as it stands")
        # Not by trio.lowlevel.open_process: it forks in a thread that ends when idle, and the tether would break with it.
        process = spawn(command, environment={**os.environ, **env}, stderr=subprocess.PIPE)
        return cls(process)

    async def wait(self) -> int:
        """Its exit code; negative when a signal ended it. Forwards stderr meanwhile."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._forward)
            code = await self._ended()
            with trio.move_on_after(1):  # a grandchild may hold the pipe open
                await self._drained.wait()
            nursery.cancel_scope.cancel()
        return code

    async def stop(self) -> None:
        """SIGTERM to its whole group, then SIGKILL."""
        with trio.CancelScope(shield=True):
            self._signal(signal.SIGTERM)
            with trio.move_on_after(STOP_S):
                await self._ended()
            self._signal(signal.SIGKILL)
            await self._ended()

    async def _ended(self) -> int:
        return await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    async def _forward(self) -> None:
        self._drained = trio.Event()
        assert self.process.stderr is not None
        rest = b""
        async with trio.lowlevel.FdStream(os.dup(self.process.stderr.fileno())) as stream:
            async for piece in stream:
                sys.stderr.buffer.write(piece)
                sys.stderr.buffer.flush()
                *lines, rest = (rest + piece).split(b"\n")
                self.last_lines.extend(line.decode(errors="replace") for line in lines)
        if rest:
            self.last_lines.append(rest.decode(errors="replace"))
        self._drained.set()
