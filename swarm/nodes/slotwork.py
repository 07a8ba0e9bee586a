"""One slot of an operator, from its lease to the last report: start or adopt its worker, watch it, end it.

Run by `nodes/swop`, one task of its nursery a slot. Guarantees: the intent is on disk before the worker is started,
and a worker that already runs there is adopted instead; every end is reported once with its exit code and last lines,
unless the lease is over; when `run` returns, nothing of the worker runs any more.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from swarm.core.events import SlotAssigned
from swarm.engines.pair import Engine, Pair, Worker
from swarm.errors import SwarmError, WorkerFailed
from swarm.nodes.slotdirectory import SlotDirectory, Verdict

LOOK_EVERY_S = 0.1
TERMINATE_S = 10.0
log = logging.getLogger("swarm.SWOP")

Tell = Callable[[dict[str, Any]], Awaitable[None]]
"""Have the ledger take a report."""


class SlotWork:
    def __init__(self, directory: SlotDirectory, engine: Engine, pair: Pair, tell: Tell) -> None:
        self.directory = directory
        self.lease = directory.lease
        self._engine = engine
        self._pair = pair
        self._tell = tell
        self.quiet = trio.Event()
        """Nothing of the worker runs any more."""
        self.over = trio.Event()
        """And the ledger was told."""
        self._worker: Worker | None = None
        self._patience = trio.CancelScope()
        """Until its deadline the worker may go on."""
        self._why = ""
        self._reports, self._reports_to_tell = trio.open_memory_channel[dict[str, Any]](math.inf)
        self._silent = False
        self._terminated = False

    def end(self, why: str, *, grace_s: float = 0.0) -> None:
        """Have it end; asked to after ``grace_s``. What has ended by itself until then has simply ended."""
        self._why = self._why or why
        self._patience.deadline = min(self._patience.deadline, trio.current_time() + grace_s)

    def abandon(self, why: str) -> None:
        """The lease is over: have it end and say nothing, for nobody takes it."""
        self._silent = True
        self.end(why)

    @property
    def sl_uid(self) -> str:
        return self.directory.sl_uid()

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            self.quiet.set()
            self.over.set()

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_all)
            with self._reports:
                await self._live()

    async def _live(self) -> None:
        try:
            await self._start()
        except SwarmError as error:
            self._say(failure(self.lease, error))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_when_asked)
            await self._watch()
            nursery.cancel_scope.cancel()
        verdict = await self._clean_up()
        self.quiet.set()
        log.info("slot %s: %s %s", self.lease.slot, verdict.state, verdict.reason)
        lines = self.directory.last_lines() if verdict.state == "failed" else []
        self._say(report(self.lease, verdict.state, verdict.reason, exit_code=verdict.exit_code, lines=lines))

    async def _tell_all(self) -> None:
        """However long the ledger pauses: the worker is watched and ended meanwhile."""
        async for body in self._reports_to_tell:
            if not self._silent:
                await self._tell(body)

    def _say(self, body: dict[str, Any]) -> None:
        self._reports.send_nowait(body)

    async def _start(self) -> None:
        place = self.directory.path
        if self.directory.intended:
            self._worker = await trio.to_thread.run_sync(self._engine.find, place)
        if self._worker is not None:
            log.info("slot %s: adopted process %d", self.lease.slot, self._worker.pid)
            return
        if self.directory.touched:
            return  # it ran, and ended while no operator was there
        try:
            self.directory.intend()
            self._worker = self._engine.start(self._pair, place)
        except OSError as error:
            raise WorkerFailed(f"the slot's directory {place} cannot be made: {error.strerror}") from error
        log.info("slot %s of task %s: process %d", self.lease.slot, self.lease.task, self._worker.pid)
        self._say(report(self.lease, "starting", ""))

    async def _watch(self) -> None:
        """Until the worker has ended; says once when its program has been started."""
        said = False
        while self._worker is not None and not self._worker.poll():
            self.directory.look()
            if self.directory.started and not said:
                said = True
                self._say(report(self.lease, "running", "", sl_uid=self.sl_uid))
            await trio.sleep(LOOK_EVERY_S)

    async def _end_when_asked(self) -> None:
        with self._patience:
            await trio.sleep(math.inf)
        if self._worker is not None:
            self._worker.terminate()
            self._terminated = True
            await trio.sleep(TERMINATE_S)
            await trio.to_thread.run_sync(self._worker.kill)

    async def _clean_up(self) -> Verdict:
        """End what it has left running; how it ended."""
        code = None
        if self._worker is None:
            await trio.to_thread.run_sync(self._engine.sweep, self.directory.path)
        else:
            await trio.to_thread.run_sync(self._worker.kill)
            code = self._worker.exit_code
        verdict = self.directory.verdict(code, alone=_is_alone(self._pair))
        if verdict.state == "failed" and self._terminated:
            verdict = Verdict("stopped", self._why, verdict.exit_code)
        self.directory.conclude(verdict, code)
        return verdict


def report(lease: SlotAssigned, state: str, reason: str, **more: Any) -> dict[str, Any]:
    """The body of a SlotReported."""
    told = {name: value for name, value in more.items() if value not in (None, "", [])}
    return {"slot": lease.slot, "fence": lease.fence, "state": state, "reason": printable(reason), **told}


def failure(lease: SlotAssigned, error: SwarmError) -> dict[str, Any]:
    """The report of a slot that could not be started."""
    return report(lease, "failed", error.message, lines=[printable(error.hint)[:300]] if error.hint else [])


async def reap(directory: SlotDirectory, engine: Engine) -> None:
    """End what runs there."""
    worker = await trio.to_thread.run_sync(engine.find, directory.path)
    if worker is None:
        await trio.to_thread.run_sync(engine.sweep, directory.path)
        return
    log.warning("slot %s: ending process %d, whose lease is over", directory.lease.slot, worker.pid)
    worker.terminate()
    for _ in range(int(TERMINATE_S / LOOK_EVERY_S)):
        if worker.poll():
            break
        await trio.sleep(LOOK_EVERY_S)
    await trio.to_thread.run_sync(worker.kill)


def _is_alone(pair: Pair) -> bool:
    return pair.program.environment.get("SWARM_LOOPBACK", "").lower() == "true"


def printable(text: str) -> str:
    """As the ledger takes a reason."""
    return "".join(character if character.isprintable() else " " for character in text)[:500]
