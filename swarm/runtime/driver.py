"""The driver of an SN's ledger: consensus, store, ledger and timekeeper in one loop.

Run by ``nodes/sn``. Proposals go in through ``propose``, consensus messages through ``receive``; entries come out,
applied, through ``on_applied``, messages through ``send``, which may lose them. Guarantees: an outcome is returned only
for a committed entry, and a committed entry is in this SN's store and, unless ``one_copy`` says otherwise, in the
peer's; the same proposal gets the same outcome, however often it is proposed; restarted with its directory an SN has
the state that it had. Nothing polls: proposals wait for the disk and the peer, and for nothing else.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import trio

from swarm.core.consensus import Consensus
from swarm.core.events import Claim, NodeGone, NodeKnown, Unverified, Verified
from swarm.core.ledger import Applied, Ledger, Outcome
from swarm.core.ordering import (
    Append,
    Commit,
    Configuration,
    Configured,
    Copies,
    Effect,
    Event,
    Proposed,
    Received,
    Refuse,
    Role,
    Send,
    Stored,
    Ticked,
)
from swarm.errors import BY_CODE, InternalError, Refused, SwarmError, Unreachable
from swarm.runtime.clock import Clock
from swarm.runtime.durations import Durations
from swarm.runtime.founding import FORK_HINT, check_directory, genesis, node_name
from swarm.runtime.pending import NotLeader, Pending, Waiter
from swarm.runtime.replica import Replica
from swarm.runtime.started import TaskStatus
from swarm.runtime.store import Store, Write
from swarm.runtime.tls import Local
from swarm.wire.order import log_entry, read_message, write_message
from swarm.wire.signed import Entry, decode_entry, proposal_digest, verify_proposal

TICK_S = 0.1
NOTE_COMMIT_S = 1.0
PIECE_BYTES = 256 * 1024
GENESIS_S = 30.0
BREATH = 32
"""Entries applied before the loop gets its turn."""

log = logging.getLogger("swarm.SN")


class Driver:
    def __init__(
        self,
        store: Store,
        local: Local,
        *,
        role: Literal["sentinel", "peer"],
        addresses: Callable[[], list[str]],
        on_applied: Callable[[Entry, Applied], None],
        send: Callable[[str, dict[str, Any]], None],
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._local = local
        self._sentinel = role == "sentinel"
        self._addresses = addresses
        self._on_applied = on_applied
        self._send = send
        self._clock = clock or Clock()
        self._replica = Replica(local.state.network_id)
        self._durations = Durations(self.ledger, local.state, self._append)
        self._machine: Consensus | None = None
        self._events: deque[Event] = deque()
        self._stepping = False
        self._leading = trio.Event()
        self._committed = trio.Event()
        self._pending = Pending()
        self._noted = (0, 0.0)  # the commit index on disk, and when it was written
        self._refusal = ""
        self._end = trio.Event()
        self._error: SwarmError | None = None

    # ---- what others ask

    @property
    def ledger(self) -> Ledger:
        return self._replica.ledger

    @property
    def head(self) -> int:
        return self._replica.head_index

    @property
    def role(self) -> str:
        return self._machine.role if self._machine else "learner"

    @property
    def term(self) -> int:
        return self._machine.term if self._machine else 0

    @property
    def leader_uid(self) -> str | None:
        return (self._machine.leader if self._machine else "") or self.ledger.sentinel or None

    @property
    def one_copy(self) -> bool:
        return self._machine is None or self._machine.one_copy

    @property
    def _network_id(self) -> bytes:
        """A peer that has no entry yet has its network's id from the handshake."""
        return self.ledger.network_id or self._local.state.network_id

    def notes(self) -> list[str]:
        """What a status must say of the ledger, a sentence each."""
        notes = ["ledger has one copy"] if self.one_copy else []
        if self._store.trouble is not None:
            notes.append(f"ledger pauses here: {self._store.trouble.message}")
        if self._refusal:
            notes.append(self._refusal)
        if self._machine is not None and self.role != "leader":
            silent_s = self._clock.now_s() - self._machine.heard_s
            if silent_s > 2.0:
                since = f"for {silent_s:.0f} s" if silent_s < float("inf") else "since this node started"
                notes.append(f"ledger pauses: no word from the sentinel {self._name(self.leader_uid)} {since}")
        return notes

    def entries_after(self, index: int, max_bytes: int = PIECE_BYTES) -> list[bytes]:
        """The committed entries behind ``index``, as many as fit (at least one if there is one)."""
        return [entry.raw for entry in self._store.read(index, self.head, max_bytes)]

    def alive(self, uids: list[str]) -> None:
        """Signs of life, seen here or by another SN."""
        self._durations.alive(uids, self._clock.now_s())

    async def propose(self, raw: bytes, *, deadline_s: float) -> Outcome:
        """The outcome of these bytes, accepted or refused, once their entry is committed.

        Raises NotLeader on a peer; Unreachable when the ledger pauses or the deadline passes, after which the same
        bytes may be proposed again, here or elsewhere; another SwarmError for bytes that nobody can have signed.
        """
        claim = self._verified(raw)
        if isinstance(claim, Unverified) and (last := self._pending.last()) is not None:
            with trio.move_on_after(deadline_s):
                await last.done.wait()
            claim = self._verified(raw)  # it may have rested on what was under way
        if isinstance(claim, Verified) and (recorded := self.ledger.outcome_of_same(claim)) is not None:
            return recorded
        self._check_leading()
        waiter = self._pending.find(proposal_digest(raw))
        if waiter is None:
            if isinstance(claim, Unverified):
                raise BY_CODE.get(claim.code, InternalError)(claim.reason, hint=claim.hint)
            self._check_writing()
            waiter = self._append(raw)
        with trio.move_on_after(deadline_s):
            await waiter.done.wait()
        if waiter.outcome is not None:
            return waiter.outcome
        self._check_leading()
        self._check_writing()
        raise Unreachable(f"the ledger did not acknowledge entry {waiter.index} within {deadline_s:g} s")

    def _verified(self, raw: bytes) -> Claim:
        return verify_proposal(raw, self.ledger, max(self._pending.time, self._clock.wall_ms()))

    def receive(self, sender_uid: str, body: dict[str, Any]) -> None:
        """A consensus message. Raises BadInput when it is malformed or of another network."""
        self._step(Received(sender_uid, read_message(body, self._network_id)))

    # ---- running

    async def run(self, *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        """Drive until cancelled; started when the stored ledger is applied (and the sentinel leads one).

        Raises SwarmError when the directory cannot be used, when the disk fails, and when a peer holds entries that
        this sentinel lost.
        """
        try:
            await self._replay()
            check_directory(self._local.state, self.ledger, sentinel=self._sentinel, fork=self._store.fork)
            self._start()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._guarded, self._apply_committed)
                nursery.start_soon(self._guarded, self._keep_time)
                nursery.start_soon(self._guarded, self._begin, task_status)
                await self._end.wait()
                nursery.cancel_scope.cancel()
            assert self._error is not None
            raise self._error
        finally:
            self._stop()

    async def _guarded(self, task: Callable[..., Awaitable[None]], *values: Any) -> None:
        try:
            await task(*values)
        except SwarmError as error:
            self._fail(error)

    def _fail(self, error: SwarmError) -> None:
        if self._error is None:
            self._error = error
            self._end.set()
            self._pending.release()

    async def _replay(self) -> None:
        """Apply what is known to be committed. The first entry always is: nobody stores a genesis that is not."""
        upto = max(self._store.commit, min(1, self._store.last_index))
        while self.head < upto:
            for entry in self._store.read(self.head, upto, PIECE_BYTES):
                self._replica.take(entry.raw)
                if entry.index % BREATH == 0:
                    await trio.lowlevel.checkpoint()

    def _start(self) -> None:
        state, store = self._local.state, self._store
        if self.head:
            state.set_network_id(self.ledger.network_id)
        if store.last_index:
            self._pending.follow(decode_entry(store.entry(store.last_index).raw))
        self._replica.on_applied = self._note_applied
        self._machine = Consensus(
            state.uid, store, term=store.term, vote=store.vote, commit=self.head, configuration=self._configuration()
        )
        token = trio.lowlevel.current_trio_token()

        def in_loop(function: Callable[..., None], *values: Event) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(function, *values)

        store.start(lambda number: in_loop(self._step, Stored(number)), lambda: in_loop(self._note_trouble))

    def _stop(self) -> None:
        machine, self._machine = self._machine, None
        self._pending.release()
        if machine is not None:
            self._store.submit(Write(meta={"commit": machine.commit}))
        self._store.close()

    def _configuration(self) -> Configuration:
        """Who decides and who stores along. A lost SN remains: only leaving ends that."""
        sentinel = self.ledger.sentinel or (self._local.state.uid if self._sentinel else "")
        sns = (uid for uid, node in self.ledger.nodes.items() if node.identity.role == "sn" and node.state != "left")
        return Configuration((sentinel,) if sentinel else (), tuple(sorted(uid for uid in sns if uid != sentinel)))

    async def _begin(self, task_status: TaskStatus) -> None:
        """The sentinel leads, commits what it had stored, and has a genesis."""
        if self._sentinel:
            await self._leading.wait()
            if not self._pending.index:
                raw = genesis(self._local, self._addresses(), self._clock.wall_ms())
                outcome = await self.propose(raw, deadline_s=GENESIS_S)
                if (error := outcome.error()) is not None:
                    raise error
            elif self.head < self._pending.index:
                await self._append(b"").done.wait()
        if self._error is None:
            task_status.started()

    # ---- consensus

    def _step(self, event: Event) -> None:
        """Hand an event to the machine and do what it says; events that arise meanwhile wait for their turn."""
        self._events.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._events and self._machine is not None:
                for effect in self._machine.handle(self._events.popleft()):
                    self._perform(self._machine, effect)
        except SwarmError as error:
            self._fail(error)
        finally:
            self._stepping = False

    def _perform(self, machine: Consensus, effect: Effect) -> None:
        match effect:
            case Append():
                meta: dict[str, int | str] = {"term": effect.term, "vote": effect.vote, "commit": machine.commit}
                self._store.submit(Write(effect.number, effect.entries, meta))
                self._noted = (machine.commit, self._clock.now_s())
            case Send():
                self._send(effect.to, write_message(effect.message, self._network_id))
            case Commit():
                committed, self._committed = self._committed, trio.Event()
                committed.set()
            case Role(name="leader"):
                log.info("this sentinel orders the ledger's entries, in term %d", effect.term)
                self._leading.set()
            case Role():
                sentinel = self._name(effect.leader)
                log.info("the ledger's entries come from the sentinel %s, in term %d", sentinel, effect.term)
            case Copies(in_step=()):
                log.warning("ledger has one copy: no other SN stores it in step")
            case Copies():
                log.info("ledger is stored in step by %s", ", ".join(map(self._name, effect.in_step)))
            case Refuse():
                self._refuse(machine, effect)

    def _refuse(self, machine: Consensus, refusal: Refuse) -> None:
        peer = self._name(refusal.peer)
        if machine.role != "leader":
            self._refusal = (
                f"the sentinel {peer} does not have entry {refusal.index} as this node holds it: it was started from "
                "an old copy of its state directory, or lost its disk; this node keeps its own and takes nothing more"
            )
            log.error("%s (%s)", self._refusal, FORK_HINT)
            return
        text = (
            f"{peer} holds a ledger that differs from entry {refusal.index} on: the state directory "
            f"{self._local.state.path} of this sentinel is an old copy, or lost what it had stored"
        )
        self._store.submit(Write(meta={"fork": text}))
        self._fail(Refused(text, hint=FORK_HINT))

    def _note_trouble(self) -> None:
        if self._store.failure is not None:
            self._fail(self._store.failure)
        elif self._store.trouble is not None:
            log.error("ledger pauses here: %s (%s)", self._store.trouble.message, self._store.trouble.hint)
        else:
            log.info("the ledger store %s can be written again", self._store.path)

    # ---- leading

    def _check_leading(self) -> None:
        if self._error is not None:
            raise Unreachable(f"the ledger pauses: {self._error.message}", hint=self._error.hint)
        if self._machine is None:
            raise Unreachable("this network node is starting or stopping")
        if self.role != "leader":
            raise NotLeader(self.leader_uid)

    def _check_writing(self) -> None:
        if (trouble := self._store.trouble) is not None:
            raise Unreachable(f"the ledger pauses: {trouble.message}", hint=trouble.hint)

    def _append(self, raw: bytes) -> Waiter:
        """Make the next entry. Only while leading."""
        entry, waiter = self._pending.make(raw, self.term, self._clock.wall_ms())
        self._step(Proposed((log_entry(entry),)))
        return waiter

    async def _keep_time(self) -> None:
        while True:
            now_s = self._clock.now_s()
            self._step(Ticked(now_s))
            self._note_commit(now_s)
            if self._leading.is_set() and self._store.trouble is None:
                self._durations.tick(now_s)
            await trio.sleep(TICK_S)

    def _note_commit(self, now_s: float) -> None:
        """So that a node that restarts alone has what it knew to be committed. Appends note it in passing."""
        commit, noted_s = self._noted
        if self._machine is not None and self._machine.commit > commit and now_s - noted_s >= NOTE_COMMIT_S:
            self._noted = (self._machine.commit, now_s)
            self._store.submit(Write(meta={"commit": self._machine.commit}))

    # ---- applying

    async def _apply_committed(self) -> None:
        while self._machine is not None:
            committed = self._committed
            for entry in self._store.read(self.head, self._machine.commit, PIECE_BYTES):
                self._replica.take(entry.raw)
                if entry.index % BREATH == 0:
                    await trio.lowlevel.checkpoint()
            if self.head >= self._machine.commit:
                await committed.wait()

    def _note_applied(self, entry: Entry, applied: Applied) -> None:
        if entry.index == 1:
            self._local.state.set_network_id(self.ledger.network_id)
        self._on_applied(entry, applied)
        self._pending.settle(entry.index, applied.outcome)
        if any(isinstance(event, NodeKnown | NodeGone) for event in applied.events):
            self._configure()
        self._durations.applied(applied.events)

    def _configure(self) -> None:
        configuration = self._configuration()
        if self._machine is not None and configuration != self._machine.configuration:
            self._step(Configured(configuration))

    def _name(self, uid: str | None) -> str:
        return node_name(self.ledger, uid)
