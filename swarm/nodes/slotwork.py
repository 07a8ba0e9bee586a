"""The hands of an operator for one attempt of a slot: they start or find its worker, watch it, end it, and report.

Made by `nodes/swop`; what to do is decided by `core/operator`, which hears what came of it. Guarantees: reports reach
the ledger in order, however long it pauses, while the worker is watched and ended; when Ended or Reaped is told,
nothing of the worker runs any more.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import trio

from swarm.core import operator_steps as o
from swarm.core.events import SlotAssigned
from swarm.core.operator_steps import Verdict
from swarm.engines.job import Job
from swarm.engines.pair import Engine, Pair, Worker
from swarm.errors import SwarmError, WorkerFailed
from swarm.nodes.slotdirectory import SlotDirectory

LOOK_EVERY_S = 0.1
TERMINATE_S = 10.0
log = logging.getLogger("swarm.SWOP")

Tell = Callable[[dict[str, Any]], Awaitable[None]]
"""Have the ledger take a report."""


class SlotWork:
    """``happened`` hears what came of an effect, ``holds`` says whether the lease still goes on; ``give`` puts what the
    operator knows of the ledger into the state directory of a learning node that is about to begin."""

    def __init__(
        self,
        directory: SlotDirectory,
        engine: Engine,
        nursery: trio.Nursery,
        *,
        happened: Callable[[o.Event], None],
        holds: Callable[[SlotAssigned], bool],
        tell: Tell,
        give: Callable[[Path], None],
    ) -> None:
        self.directory = directory
        self.lease = directory.lease
        self.pair: Pair | Job | None = None
        """What to start; known once the task was judged."""
        self.told = trio.Event()
        """No report waits for the ledger."""
        self.told.set()
        self._engine = engine
        self._nursery = nursery
        self._happened = happened
        self._holds = holds
        self._tell = tell
        self._give = give
        self._reports: deque[o.Report] = deque()
        self._worker: Worker | None = None
        self._node_code: int | None = None
        self._starts = 0
        self._patience = trio.CancelScope()
        """Until its deadline the worker may go on."""
        self._mercy = trio.CancelScope()
        """From being asked to end to being made to."""
        self._terminated = self._killed = False

    def perform(self, effect: o.Effect) -> None:
        match effect:
            case o.Look():
                self._nursery.start_soon(self._look)
            case o.Intend():
                self._intend()
            case o.Start():
                self._nursery.start_soon(self._start)
            case o.Adopt():
                self._nursery.start_soon(self._live)
            case o.End(grace_s=grace_s):
                self._patience.deadline = min(self._patience.deadline, trio.current_time() + grace_s)
            case o.Kill():
                self._killed = True
                self._patience.cancel()
                self._mercy.cancel()
            case o.Reap():
                self._nursery.start_soon(self._reap)
            case o.Conclude(verdict=verdict):
                log.info("slot %s: %s %s", self.lease.slot, verdict.state, verdict.reason)
                self.directory.conclude(verdict, self._node_code)
            case o.Report():
                self._report(effect)
            case _:
                raise AssertionError(f"{effect} is not for one attempt")

    # ---- starting

    async def _look(self) -> None:
        if self.directory.intended:
            self._worker = await trio.to_thread.run_sync(self._engine.find, self.directory.path)
        if self._worker is not None:
            log.info("slot %s: adopted process %d", self.lease.slot, self._worker.pid)
        self._happened(o.Looked(self.lease, self._worker is not None or self.directory.touched))

    def _intend(self) -> None:
        try:
            self.directory.intend()
        except OSError as error:
            self._not_started(
                WorkerFailed(f"the slot's directory {self.directory.path} cannot be made: {error.strerror}")
            )
        else:
            self._happened(o.Intended(self.lease))

    async def _start(self) -> None:
        assert self.pair is not None, "started before it was judged"
        self._starts += 1
        try:
            await trio.to_thread.run_sync(self._prepare)  # it may copy a lot: the operator is heard meanwhile
            if not self._holds(self.lease):
                raise WorkerFailed("its lease was over before it could be started")
            self._worker = self._engine.start(self.pair, self.directory.path)
        except Exception as error:  # whatever a task has brought: the operator has others' slots to look after
            what = f"the worker of {self.directory.path} cannot be started: {str(error) or type(error).__name__}"
            if not isinstance(error, SwarmError | OSError):
                log.exception("slot %s: nobody has thought of this", self.lease.slot)
            self._not_started(error if isinstance(error, SwarmError) else WorkerFailed(what))
            return
        log.info("slot %s of task %s: process %d", self.lease.slot, self.lease.task, self._worker.pid)
        self._happened(o.Started(self.lease))
        self._nursery.start_soon(self._live)

    def _prepare(self) -> None:
        """What has to be in its directory before it starts. In a thread."""
        self._give(self.directory.node_state)

    async def _settled(self, verdict: Verdict) -> Verdict:
        """What its end amounts to, now that nothing of it runs."""
        return verdict

    def _not_started(self, error: SwarmError) -> None:
        self._happened(o.NotStarted(self.lease, o.Refusal(error.message, error.hint)))

    # ---- running

    async def _live(self) -> None:
        """From the worker's start, or from where it was found, to its end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_when_asked)
            await self._watch()
            nursery.cancel_scope.cancel()
        await self._clean_up()
        verdict = await self._settled(self.directory.verdict(self._node_code, alone=self._is_alone()))
        starts = max(self._starts, self.directory.starts())  # it may have died before it could count
        lines = tuple(self.directory.last_lines()) if verdict.state == "failed" else ()
        asked, self._terminated = self._terminated, False
        self._patience = trio.CancelScope()
        self.directory.begin_anew()
        self._happened(o.Ended(self.lease, verdict, asked, starts, lines))

    async def _watch(self) -> None:
        """Until the worker has ended; says once when its program has been started."""
        said = False
        with _end_of(self._worker.pid if self._worker is not None else 0) as end:
            while self._worker is not None and not self._worker.poll():
                self.directory.look()
                if self.directory.started and not said:
                    said = True
                    self._happened(o.ProgramStarted(self.lease, self.directory.sl_uid()))
                with trio.move_on_after(LOOK_EVERY_S):
                    if end is None:
                        await trio.sleep_forever()
                    else:
                        await trio.lowlevel.wait_readable(end)

    async def _end_when_asked(self) -> None:
        with self._patience:
            await trio.sleep(math.inf)
        if self._worker is not None:
            if not self._killed:
                self._worker.terminate()
            self._terminated = True
            with self._mercy:
                await trio.sleep(TERMINATE_S)
            await trio.to_thread.run_sync(self._worker.kill)

    async def _clean_up(self) -> None:
        """End what it has left running."""
        if self._worker is None:
            await trio.to_thread.run_sync(self._engine.sweep, self.directory.path)
            return
        await trio.to_thread.run_sync(self._worker.kill)
        self._node_code, self._worker = self._worker.exit_code, None

    def _is_alone(self) -> bool:
        return isinstance(self.pair, Pair) and self.pair.program.environment.get("SWARM_LOOPBACK", "").lower() == "true"

    # ---- ending what another operator process has started

    async def _reap(self) -> None:
        """Asks first."""
        worker = await trio.to_thread.run_sync(self._engine.find, self.directory.path)
        if worker is None:
            await trio.to_thread.run_sync(self._engine.sweep, self.directory.path)
        else:
            log.warning("slot %s: ending process %d, started by an earlier operator", self.lease.slot, worker.pid)
            worker.terminate()
            for _ in range(int(TERMINATE_S / LOOK_EVERY_S)):
                if worker.poll():
                    break
                await trio.sleep(LOOK_EVERY_S)
            await trio.to_thread.run_sync(worker.kill)
        self._happened(o.Reaped(self.lease))

    # ---- reporting

    def _report(self, report: o.Report) -> None:
        self._reports.append(report)
        if self.told.is_set():
            self.told = trio.Event()
            self._nursery.start_soon(self._tell_all)

    def _body(self, report: o.Report) -> dict[str, Any]:
        """What the ledger is told."""
        return report.body()

    async def _tell_all(self) -> None:
        while self._reports:
            report = self._reports.popleft()
            if self._holds(self.lease):
                await self._tell(self._body(report))
        self.told.set()


@contextlib.contextmanager
def _end_of(pid: int) -> Iterator[int | None]:
    """A descriptor that can be read once the process has ended, where the system has such ones; None elsewhere."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
