"""The driver of an SN's ledger: IO around the orderer. Clocks, the store's thread, signatures, messages, waiting.

Run by ``nodes/sn``. Proposals go in through ``propose``, consensus messages through ``receive``; entries come out,
applied, through ``on_applied``, messages through ``send``, which may lose them. Guarantees: an outcome is returned only
for a committed entry, and a committed entry is in this SN's store and in those of the other voters that decided it (or,
while one voter decides alone, in the peer's, unless ``one_copy`` says otherwise); the same proposal gets the same
outcome, however often it is proposed; restarted with its directory an SN has the state that it had. Nothing polls:
proposals wait for the disk and the other SNs, and for nothing else.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import trio

from swarm.core.asking import (
    Answer,
    Blocked,
    Breathed,
    Clocked,
    ClockJudged,
    Heard,
    Install,
    Keep,
    Publish,
    RecoveryAsked,
    Restored,
)
from swarm.core.codec import Codec
from swarm.core.ledger import Applied, Ledger, Outcome
from swarm.core.orderer import SNAPSHOT_EVERY, Effect, Event, Orderer
from swarm.core.ordering import (
    Append,
    Copies,
    EpochProven,
    FetchSnapshot,
    LogEntry,
    ReadAsked,
    Received,
    Refuse,
    Role,
    Send,
    Stored,
    Superseded,
)
from swarm.core.snapshot import restored
from swarm.errors import SwarmError, Unreachable, as_ours
from swarm.runtime.answers import LedgerSuperseded, Questions, Told, as_outcome
from swarm.runtime.change import Change
from swarm.runtime.clock import Clock, EntryClock
from swarm.runtime.founding import check_directory, genesis, node_name, sign_own
from swarm.runtime.inloop import in_loop
from swarm.runtime.news import News, written
from swarm.runtime.notebook import Notebook
from swarm.runtime.snapshots import Call, Snapshots
from swarm.runtime.started import TaskStatus
from swarm.runtime.store import Store
from swarm.runtime.storejobs import Write
from swarm.runtime.tls import Local
from swarm.runtime.voice import Voice
from swarm.wire.entrycodec import SignedCodec
from swarm.wire.order import read_message
from swarm.wire.signed import Entry

TICK_S = 0.1
PIECE_BYTES = 256 * 1024
GENESIS_S = 30.0

log = logging.getLogger("swarm.SN")


class Driver:
    """``call`` asks another network node: uid, verb, body; ``snapshots`` answers its verbs `cosign` and `snapshot`."""

    def __init__(
        self,
        store: Store,
        local: Local,
        *,
        role: Literal["sentinel", "peer"],
        addresses: Callable[[], list[str]],
        on_applied: Callable[[Entry, Applied], None],
        send: Callable[[str, dict[str, Any]], None],
        call: Call,
        on_restored: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        codec: Codec | None = None,
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        self._store = store
        self._local = local
        self._sentinel = role == "sentinel"
        self._addresses = addresses
        self._on_applied = on_applied
        self._on_restored = on_restored
        self._clock = EntryClock(clock or Clock())
        self.snapshots = Snapshots(store, local.state, call, lambda: self.ledger)
        self._orderer = self._make_orderer(codec or SignedCodec(), snapshot_every)
        self._notebook = Notebook(store)
        self._news = News(lambda to, message: send(to, written(message, local.state, self._network_id, self._orderer)))
        self._voice = Voice(self._orderer, store)
        self._events: deque[Event] = deque()
        self._running = self._stepping = self._breathing = False
        self._questions = Questions(self._step)
        self.leadership = Change()
        """Who leads has changed, as far as this node knows."""
        self._end = trio.Event()
        self._error: SwarmError | None = None

    def _make_orderer(self, codec: Codec, snapshot_every: int) -> Orderer:
        state, store = self._local.state, self._store
        kept = store.snapshot()
        return Orderer(
            state.uid,
            state.incarnation,
            store,
            codec,
            lambda kind, body, seq: sign_own(state, self.ledger.network_id, kind, body, seq),
            term=store.term,
            vote=store.vote,
            commit=max(store.commit, min(1, store.last_index)),  # nobody stores a genesis that is not committed
            ledger=restored(kept[0]) if kept else None,
            network_id=state.network_id,
            founder=self._sentinel,
            snapshot_every=snapshot_every,
        )

    # ---- what others ask

    @property
    def ledger(self) -> Ledger:
        return self._orderer.ledger

    @property
    def head(self) -> int:
        return self._orderer.head

    @property
    def last_index(self) -> int:
        """Of the last entry that is stored or under way, committed or not."""
        return self._orderer.last_index

    @property
    def role(self) -> str:
        """leader, candidate, follower or learner."""
        return self._orderer.role

    @property
    def term(self) -> int:
        return self._orderer.consensus.term

    @property
    def voters(self) -> tuple[str, ...]:
        return self._orderer.consensus.voters

    @property
    def partners(self) -> tuple[str, ...]:
        """Whose words about the order of entries are taken: the voters', and on the leader theirs who have yet to be
        told that they were removed."""
        return (*self.voters, *self._orderer.consensus.leaving)

    @property
    def leader_uid(self) -> str | None:
        """Who leads as far as this node knows; while one voter decides alone, that one."""
        return self._orderer.leader or (self.voters[0] if len(self.voters) == 1 else None)

    @property
    def one_copy(self) -> bool:
        return self._orderer.consensus.one_copy

    @property
    def _network_id(self) -> bytes:
        """A peer that has no entry yet has its network's id from the handshake."""
        return self.ledger.network_id or self._local.state.network_id

    def notes(self) -> list[str]:
        """What a status must say of the ledger, a sentence each."""
        return [*self._voice.notes(), *self.snapshots.notes(), *self._clock.notes(self.ledger.time)]

    def entry_at(self, index: int, *, committed: bool = True) -> LogEntry | None:
        """The entry, if it is stored in the log (whose place a snapshot may be taking), and committed if it must be."""
        upto = min(index, self.head) if committed else index
        return next(iter(self._store.read(index - 1, upto, 1)), None)

    def entries_after(self, index: int, max_bytes: int = PIECE_BYTES) -> list[bytes]:
        """The committed entries behind ``index``, as many as fit, at least one if there is one."""
        return self._store.raws_after(index, self.head, max_bytes)

    def alive(self, uids: list[str], going: tuple[tuple[str, bytes], ...] = ()) -> None:
        """Signs of life, seen here or by another SN, and which processes (uid and incarnation) said that they stop."""
        self._step(Heard(tuple(uids), going))

    def judge_clock(self, good: bool) -> None:
        """Whether this node's wall clock is near the other voters'. One that is far off does not lead."""
        self._step(ClockJudged(good))

    def prove_epoch(self, epoch: int) -> None:
        """The signed recovery that begins this epoch has been judged: words of its terms are taken from now on."""
        self._step(EpochProven(epoch))

    async def propose(self, raw: bytes, *, deadline_s: float, by: bytes = b"") -> Outcome:
        """The outcome of these bytes, accepted or refused, once their entry is committed; ``by``: the asking
        organisation's anchor. Raises NotLeader if another node answers; Unreachable when the ledger pauses or time is
        up (then the same bytes may be proposed again, anywhere), Crowded when that organisation asks too much; another
        SwarmError for bytes that nobody can have signed."""
        (answer,) = await self.propose_all([raw], deadline_s=deadline_s, by=by)
        if isinstance(answer, SwarmError):
            raise answer
        return answer

    async def propose_all(
        self, raws: Sequence[bytes], *, deadline_s: float, by: bytes = b""
    ) -> list[Outcome | SwarmError]:
        """The same for many; what ``propose`` raises for one of them, and not for all, is its answer."""
        self._check_running()
        return await self._questions.ask_together(raws, self._clock.wall_ms(), deadline_s, by)

    def propose_for(self, raw: bytes, told: Told, *, deadline_s: float, by: bytes = b"") -> None:
        """The same without anybody who waits: ``told`` gets what ``propose`` returns or raises of it, now or later."""
        self._check_running()
        self._questions.ask_for(raw, self._clock.wall_ms(), deadline_s, told, by)

    async def promote(self, raw: bytes, *, deadline_s: float) -> Outcome:
        """Take a signed ForcedRecovery: this node decides alone from now on. Raises SwarmError when it may not."""
        self._check_running()
        asked = RecoveryAsked(self._questions.number(), raw, self._clock.wall_ms())
        return as_outcome(await self._questions.ask(asked, deadline_s))

    async def catch_up(self, *, deadline_s: float) -> None:
        """Return when the ledger here holds all that was acknowledged before the call. Raises as ``propose`` does."""
        self._check_running()
        await self._questions.ask(ReadAsked(self._questions.number()), deadline_s)

    def _check_running(self) -> None:
        if self._error is not None:
            raise Unreachable(f"the ledger pauses: {self._error.message}", hint=self._error.hint)
        if not self._running:
            raise Unreachable("this network node is starting or stopping")

    def receive(self, sender_uid: str, body: dict[str, Any]) -> None:
        """A consensus message. Raises BadInput when it is malformed or of another network."""
        self._step(Received(sender_uid, read_message(body, self._network_id)))

    # ---- running

    async def run(self, *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        """Drive until cancelled; started when the stored ledger is applied (and a lone voter leads).

        Raises SwarmError when the directory cannot be used or the disk fails, and LedgerSuperseded when a forced
        recovery went past this node.
        """
        try:
            await self._replay()
            check_directory(self._local.state, self.ledger, sentinel=self._sentinel)
            self._start()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._guarded, self._keep_time)
                nursery.start_soon(self._news.run)
                nursery.start_soon(self._guarded, self.snapshots.run, self._step, self._in_loop)
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
            self._questions.release(Unreachable(f"the ledger pauses: {error.message}", hint=error.hint))

    async def _replay(self) -> None:
        """Apply what is known to be committed; whoever follows has it already, or reads it when this node has begun."""
        while self._orderer.behind:
            for effect in self._orderer.handle(Breathed()):
                if isinstance(effect, Keep):
                    self.snapshots.perform(effect)
            await trio.lowlevel.checkpoint()

    def _start(self) -> None:
        if self.head:
            self._local.state.set_network_id(self.ledger.network_id)
        self._in_loop = in_loop(lambda function, *values: function(*values))
        self._running = True
        self._store.start(in_loop(lambda number: self._step(Stored(number))), in_loop(self._note_trouble))

    def _stop(self) -> None:
        if self._running:
            self._store.submit(Write(meta={"commit": self._orderer.consensus.commit}))
        self._running = False
        self._questions.release(Unreachable("this network node is stopping"))
        self._store.close()

    async def _begin(self, task_status: TaskStatus) -> None:
        """A lone voter leads, has committed what it had stored, and has a genesis."""
        founds = self._sentinel and not self.last_index
        if founds or self.voters == (self._local.state.uid,):
            while self.role != "leader":
                await self.leadership.wait()
            if founds:
                raw = genesis(self._local, self._addresses(), self._clock.wall_ms())
                outcome = await self.propose(raw, deadline_s=GENESIS_S)
                if (error := outcome.error()) is not None:
                    raise error
            else:
                with contextlib.suppress(Unreachable):
                    await self.catch_up(deadline_s=GENESIS_S)
        if self._error is None:
            task_status.started()

    async def _keep_time(self) -> None:
        while True:
            now_s = self._clock.now_s()
            self._step(Clocked(now_s, self._clock.wall_ms()))
            self._notebook.note_commit(self._orderer.consensus.commit, now_s)
            self._questions.expire()
            await trio.sleep(TICK_S)

    def _note_trouble(self) -> None:
        if self._store.failure is not None:
            self._fail(self._store.failure)
        elif self._store.trouble is not None:
            log.error("ledger pauses here: %s (%s)", self._store.trouble.message, self._store.trouble.hint)
            self._step(Blocked(self._store.trouble.message, self._store.trouble.hint))
        else:
            log.info("the ledger store %s can be written again", self._store.path)
            self._step(Blocked())

    # ---- the orderer

    def _step(self, event: Event) -> None:
        """Hand an event to the orderer and do what it says; events that arise meanwhile wait for their turn."""
        if self._running:
            self._events.append(event)
        self._breathing &= not isinstance(event, Breathed)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._events and self._running and self._error is None:
                for effect in self._orderer.handle(event := self._events.popleft()):
                    self._perform(effect)
                if self._events:
                    continue
                if number := self._notebook.write():  # behind what leaves without waiting for it
                    self._events.append(Stored(number))
                elif self._orderer.behind and not isinstance(event, Breathed):
                    self._events.append(Breathed())  # behind what others wait for
        except Exception as error:  # who called cannot help it, and trio would end with a traceback
            self._fail(as_ours(error, f"the ledger ends here, behind entry {self.head}"))
        finally:
            self._stepping = False
        if self._orderer.behind and not self._breathing and self._running and self._error is None:
            self._breathing = True
            self._in_loop(self._step, Breathed())

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Append():
                self._notebook.take(effect, self._orderer.consensus.commit, self._clock.now_s())
            case Send():
                self._news.send(effect)
            case Publish():
                self._publish(effect)
            case _ if isinstance(effect, Answer):
                self._questions.answer(effect)
            case Keep() | FetchSnapshot() | Install():
                self._notebook.submit()  # the store's work is done in its order
                self.snapshots.perform(effect)
            case Restored():
                self._local.state.set_network_id(self.ledger.network_id)
                self._on_restored()
            case Superseded():
                who = node_name(self.ledger, effect.peer)
                self._fail(LedgerSuperseded(who, effect.index, effect.epoch))
            case Refuse():
                self._voice.refuse(effect)
            case Role() | Copies():
                self._voice.tell(effect)
                self.leadership.tell()

    def _publish(self, effect: Publish) -> None:
        h = effect.header
        if h.index == 1:
            self._local.state.set_network_id(self.ledger.network_id)
        entry = Entry(h.index, h.term, h.time, h.prev_hash, effect.proposal, effect.entry.raw, h.hash)
        self._on_applied(entry, effect.applied)
