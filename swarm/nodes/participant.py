"""A participant: a learning node that joins a slot of a task with roles, and runs the role's program on its own data.

Started by ``swarm join``. Guarantees: nothing of the task runs before its person has trusted its hash, and nothing that
the hash does not cover (`nodes/roleprogram`); a refusal leaves no slot taken; the program starts once those are there
whom its role needs, and no sooner; joined again from the same state directory it goes on with the round under way; when
its slot is asked to end, or is joined elsewhere, its program ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from swarm.core import joining
from swarm.core.events import Applied
from swarm.core.jobslot import JobSlot
from swarm.core.operator_steps import LINE_MAX, REASON_MAX
from swarm.core.rolesrun import RolesRun
from swarm.errors import SwarmError, Unreachable, WorkerFailed
from swarm.nodes.codefetch import fetch, listed
from swarm.nodes.roleprogram import RoleProgram, lay_out
from swarm.nodes.secrets import Secrets
from swarm.nodes.sl import LEAVE_S, LearningNode, Settings
from swarm.nodes.worker import Worker
from swarm.runtime.importpath import with_import_path
from swarm.wire import channels, manifest
from swarm.wire.certnames import printable
from swarm.wire.manifest import Manifest
from swarm.wire.rolesfile import RolesBody, body_of_run
from swarm.wire.signed import Entry
from swarm.wire.slotkey import Place, SlotKey

CALL_S = 10.0
SAY_EVERY_S = 10.0
log = logging.getLogger("swarm.SL")


@dataclass(frozen=True)
class Asked:
    """What the person said: ``task`` by name or id; ``secret`` is what the slot's key is made of; ``trusted`` and
    ``own`` are hashes (`nodes/roleprogram`), ``code`` is the person's own copy of the code with ``own``."""

    task: str
    role: str
    secret: bytes
    data: Path | None
    trusted: str | None
    own: str | None
    code: Path | None
    wait_s: float
    group: str | None = None
    """Of the role's channel, in which the slot has to be."""
    output: int | None = None
    """The descriptor for the program's stdout; None: this process's own."""


@dataclass(frozen=True)
class Ended:
    """``said``: for ``--json``, the slot and what came of it."""

    exit_code: int
    said: dict[str, Any]

    def failure(self) -> SwarmError | None:
        if self.exit_code == 0:
            return None
        return WorkerFailed(f"the training program ended with exit code {self.exit_code}")


async def run(settings: tuple[Settings, Asked]) -> Ended:
    """Be a participant until the program has ended."""
    node = ParticipantNode(*settings)
    try:
        return Ended(await node.run(), node.said)
    finally:
        node.close()


class ParticipantNode(LearningNode):
    def __init__(self, settings: Settings, asked: Asked) -> None:
        super().__init__(settings)
        self.asked = asked
        self.said: dict[str, Any] = {}
        self._slot = ""
        self._fence = 0
        self._work = self.state.path
        """Where the program begins."""
        self._over = ""
        """Why the program is to end though it has not."""
        self._moved = trio.Event()
        self._telling = trio.Lock()
        self._told_end = False

    async def _program(self) -> int:
        try:
            program = await self._trusted_program()
            await self._join_slot(program.task)
            await self._wait_for_others()
            self.worker = self._start(program)
        except SwarmError as error:
            await self._tell("failed" if isinstance(error, WorkerFailed) else "stopped", error.message)
            await self._say_goodbye()
            raise
        await self._tell("running", "")
        self._nursery.start_soon(self._watch)
        return await super()._program()

    # ---- what would run here

    async def _trusted_program(self) -> RoleProgram:
        """Raises what stands against running it here, before a slot is taken. The code lies here to be looked at, and
        once it is trusted a copy of it is where the program will begin."""
        asked, ledger = self.asked, self.link.ledger
        run = ledger.board.joining.run_of(asked.task)
        joining.joinable(run, asked.role)
        task = ledger.tasks[run.task]
        self._body(run)  # the hash says nothing of the roles in the ledger
        program = RoleProgram.of(ledger, task, asked.role)
        code, digest = asked.code, program.code
        if digest is not None and code is None:
            code, digest = await self._fetched(program, digest)
        program.must_be_trusted(asked.trusted, asked.own, code)
        program.must_have_data(asked.data)
        self._work = self.state.path / "work" / f"{run.id}-{program.role.Name}"
        await trio.to_thread.run_sync(lay_out, self._work, code, digest)
        return program

    def _body(self, run: RolesRun) -> RolesBody:
        task = self.link.ledger.tasks[run.task]
        return body_of_run(task.body, task.name, run.roles)

    async def _ask(self, verb: str, body: dict[str, Any]) -> Any:
        return await self.link.call(verb, body, deadline_s=CALL_S)

    async def _fetched(self, program: RoleProgram, digest: str) -> tuple[Path, str]:
        """Where what the role is given of the code stays, to be looked at, and the hash of just that."""
        listing = self.state.path / "code" / digest.partition(":")[2]
        if not listing.exists():
            listing.parent.mkdir(mode=0o700, exist_ok=True)
            found = await listed(self._ask, digest)
            self.state.write_atomic(f"code/{listing.name}", found.data)
        files = manifest.read(listing.read_bytes(), digest).of_role(program.role.Name, program.roles)
        place = listing.with_name(f"{listing.name}-{program.role.Name}")
        if not place.exists():
            await fetch(self._ask, files, place)
            log.info("fetched the code %s of %s", digest, program.author)
        return place, Manifest(files).digest

    # ---- the slot

    async def _join_slot(self, task: str) -> None:
        key = SlotKey.of(self.asked.secret, self.state.network_id, task)
        place = Place(self.state.network_id, task, self.asked.role, self.state.uid, self.state.incarnation)
        body = {"task": task, "role": self.asked.role, "key": key.public, "proof": key.prove(place), **self._of_group()}
        outcome = await self.propose("SlotJoined", body)
        if (error := outcome.error()) is not None:
            raise error
        self._slot, self._fence = outcome.result["slot"], outcome.result["fence"]
        own = {name: outcome.result[name] for name in ("slot", "index", "attempt", "again")}
        self.said = {"task": task, "role": self.asked.role, **own}
        self.slot = (self._slot, self._fence)
        how = "again, attempt %d" if outcome.result["again"] else "attempt %d"
        log.info(f"joined task %s as %s %d: slot %s, {how}", task, self.asked.role, outcome.result["index"], self._slot,
                 outcome.result["attempt"])  # fmt: skip

    def _of_group(self) -> dict[str, list[int]]:
        """Which slots will do. Raises BadInput for a group that there is not."""
        if self.asked.group is None:
            return {}
        run = self.link.ledger.board.joining.run_of(self.asked.task)
        of = (self._body(run), run.role_named(self.asked.role), self.asked.group, run.task)
        return {"indices": channels.indices(*of)}

    async def _wait_for_others(self) -> None:
        """Until those are there whom the role needs. Raises Unreachable that names who is not."""
        begun_s = trio.current_time()
        said_s = -SAY_EVERY_S
        while missing := self._missing():
            now_s = trio.current_time()
            left_s = begun_s + self.asked.wait_s - now_s
            if left_s <= 0:
                raise Unreachable(
                    f"task {self.asked.task} did not begin within {self.asked.wait_s:g} s: it waits for {missing}",
                    hint="join again when they are there, or wait longer with --wait",
                )
            if now_s - said_s >= SAY_EVERY_S:
                said_s = now_s
                log.info("task %s: waits for %s, %.0f s left", self.asked.task, missing, left_s)
            with trio.move_on_after(min(left_s, said_s + SAY_EVERY_S - now_s)):
                await self._moved.wait()

    def _missing(self) -> str:
        run, slot = self._found()
        if self._why_over(run, slot):
            raise WorkerFailed(self._why_over(run, slot))
        assert run is not None
        return joining.waits_for(run, run.role_named(self.asked.role))

    def _found(self) -> tuple[RolesRun | None, JobSlot | None]:
        run = self.link.ledger.board.jobs.runs.get(int(self._slot.partition(".")[0]))
        return (run, run.slots.get(self._slot)) if isinstance(run, RolesRun) else (None, None)

    def _why_over(self, run: RolesRun | None, slot: JobSlot | None) -> str:
        if run is None or slot is None:
            return f"task {self.asked.task} was deleted"
        if slot.fence != self._fence:
            return f"{slot.role} {slot.index} of task {run.task} was joined elsewhere"
        if slot.ending or not slot.leased:
            return f"{slot.role} {slot.index} of task {run.task} is to end: {slot.ending or slot.reason}"
        return ""

    async def _watch(self) -> None:
        """End the program when the ledger asks for that; a lease that ended while it was out of reach is taken anew."""
        assert self.worker is not None
        while not self._over:
            await self._moved.wait()
            run, slot = self._found()
            if run is not None and self._was_away(run, slot):
                await self._return(run)
            else:
                self._over = self._why_over(run, slot)
        await self.worker.stop()

    def _was_away(self, run: RolesRun | None, slot: JobSlot | None) -> bool:
        if run is None or slot is None or run.over or run.ending or slot.id in run.removed:
            return False
        return slot.state == "lost" and not slot.leased and slot.fence == self._fence

    async def _return(self, run: RolesRun) -> None:
        async with self._telling:
            if self._told_end or not self._was_away(*self._found()):
                return
            try:
                await self._join_slot(run.task)
                await self._tell("running", "it was out of reach, and is back")
            except SwarmError as error:
                self._over = error.message

    async def _tell(self, state: str, reason: str, **more: Any) -> None:
        """Have the ledger know how the slot does, as long as it is this node's. What became of the program counts, also
        where nobody takes word of it any more."""
        if not self._slot:
            return
        body = {"slot": self._slot, "fence": self._fence, "state": state, "reason": printable(reason, REASON_MAX)}
        with trio.move_on_after(LEAVE_S):
            try:
                await self.propose("SlotTold", {**body, **more})
            except SwarmError as error:
                log.warning("the ledger could not be told that slot %s is %s: %s", self._slot, state, error.message)

    # ---- the program

    def _start(self, program: RoleProgram) -> Worker:
        run, slot = self._found()
        assert run is not None
        assert slot is not None
        own = {
            "SWARM_TASK": program.task,
            "SWARM_TASK_ID": str(run.id),
            "SWARM_ROLE": slot.role,
            "SWARM_INDEX": str(slot.index),
            "SWARM_REPLICAS": str(run.wanted[slot.role]),
            **channels.environment(self._body(run), run.role(slot), slot.index),
            "SWARM_SLOT": slot.id,
            "SWARM_ATTEMPT": str(slot.attempt),
            "SWARM_DATA": str(self.asked.data or ""),
        }
        environment = {**Secrets().resolved(program.environment), **own, **self.settings.channel.environment}
        told = with_import_path(os.environ) | environment
        return Worker(program.command(self.asked.data), told, self._work, self.asked.output)

    async def _program_ended(self, worker: Worker, code: int) -> None:
        self.said |= {"exit_code": code, "contract": None, "rounds": 0, "digest": None}
        if (learning := self.learning) is not None:
            contract = learning.contract
            self.said |= {"contract": contract.name, "rounds": contract.commits, "digest": learning.member.holds}
        async with self._telling:
            run, slot = self._found()
            if run is not None and self._was_away(run, slot):  # nobody is heard under a lease that has ended
                with contextlib.suppress(SwarmError):
                    await self._join_slot(run.task)
            await self._tell_end(worker, code)
            self._told_end = True

    async def _tell_end(self, worker: Worker, code: int) -> None:
        if code == 0:
            await self._tell("done", "", exit_code=0)
            return
        if self._over:
            await self._tell("stopped", self._over)
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        lines = [printable(line, LINE_MAX) for line in worker.last_lines]
        await self._tell("failed", f"its program {how}", exit_code=code if code > 0 else 128 - code, lines=lines)

    def _ended(self, error: WorkerFailed, code: int) -> int:
        if self._over:
            raise WorkerFailed(self._over)
        return super()._ended(error, code)

    def _on_applied(self, entry: Entry, applied: Applied) -> None:
        super()._on_applied(entry, applied)
        self._moved.set()
        self._moved = trio.Event()
