"""One program's training on a learning node: performs what the member machine asks, against ledger, peers and channel.

Started by ``nodes/sl`` when the program opens its session; ends when the program does. Everything that happens (the
program's asks, ledger events, finished exchanges and fetches, ticks) goes through one inbox into ``core/member`` in
order. Guarantees: the program's buffer is read by peers only while the program waits; a model is handed over only with
its digest verified and committed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from swarm.core import member as m
from swarm.core.contract import Contract
from swarm.core.events import Aborted, BaseLost, Committed, SnapMade
from swarm.core.tensors import Schema
from swarm.errors import Refused, SwarmError
from swarm.nodes.ledgerlink import LedgerLink
from swarm.nodes.models import ModelFile, Models
from swarm.nodes.progress import Progress
from swarm.runtime.channel_server import Session
from swarm.runtime.data import DataClient, Region, Want
from swarm.runtime.exchange import Exchange
from swarm.runtime.tls import Peer
from swarm.wire import tensorbytes

TICK_S = 0.5
SNAP_LAG_S = 5.0
log = logging.getLogger("swarm.SL")


@dataclass
class Round:
    """What this node serves of the round in flight."""

    snap: SnapMade
    own: Region
    result: ModelFile
    exchange: Exchange


@dataclass
class Learning:
    session: Session
    link: LedgerLink
    client: DataClient
    models: Models
    progress: Progress
    contract: Contract
    schema: Schema
    hash_name: str
    member: m.Member
    bytes_sent: Callable[[], int]
    error: SwarmError | None = None
    _phases: dict[str, float] = field(default_factory=dict)
    _round: Round | None = None
    _inbox: trio.MemorySendChannel[m.Event] = field(init=False)
    _events: trio.MemoryReceiveChannel[m.Event] = field(init=False)
    _token: trio.lowlevel.TrioToken = field(init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _asked_s: float = 0.0

    def __post_init__(self) -> None:
        self._inbox, self._events = trio.open_memory_channel(float("inf"))
        self._token = trio.lowlevel.current_trio_token()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(TICK_S)
            self.happened(m.Ticked())

    async def run(self) -> None:
        """Until the program is gone or cannot go on."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._tick)
            async for event in self._events:
                for effect in self.member.handle(event, trio.current_time()):
                    await self._perform(effect)
                if self.error is not None:
                    break
            nursery.cancel_scope.cancel()

    def happened(self, event: m.Event) -> None:
        self._inbox.send_nowait(event)

    def applied(self, events: list[Any]) -> None:
        """Ledger events; those of this contract concern the member."""
        for event in events:
            if isinstance(event, SnapMade | Committed | Aborted | BaseLost) and event.contract == self.contract.name:
                self.happened(event)

    # ---- the program's asks

    async def asked(self, kind: str, batches: int, epochs: int) -> None:
        self._asked_s = trio.current_time()
        digest = await trio.to_thread.run_sync(self._digest_of_own)
        if digest is not None:
            self.happened(m.Asked(kind, digest, batches, epochs))  # type: ignore[arg-type]

    def _digest_of_own(self) -> str:
        return tensorbytes.digest(self.schema, self.session.out, self.hash_name)

    # ---- effects

    async def _perform(self, effect: m.Effect) -> None:
        match effect:
            case m.Propose():
                self._nursery.start_soon(self._propose, effect)
            case m.BeginExchange():
                self._begin(effect)
            case m.EndExchange():
                self._end_exchange()
            case m.Fetch():
                self._nursery.start_soon(self._fetch, effect)
            case m.Answer():
                await self._answer(effect)
            case m.Tell():
                log.info("%s", effect.text)
                self.progress.line("waiting", text=effect.text)
                await self.session.note("info", effect.text)
            case m.GiveUp():
                await self.fail(effect.error)

    async def fail(self, error: SwarmError) -> None:
        """The program gets the sentence; the contract goes on without this node."""
        log.error("%s", error.message)
        self.error = error
        self._end_exchange()
        await self.session.fail(error)
        self._events.close()

    async def _propose(self, effect: m.Propose) -> None:
        outcome = await self.link.propose(effect.kind, effect.body)
        if not outcome.accepted:
            log.info("%s refused: %s", effect.kind, outcome.reason)
        if effect.kind == "Offer":
            self.happened(m.OfferJudged(effect.body["round"], outcome.accepted, outcome.reason))

    def _begin(self, effect: m.BeginExchange) -> None:
        snap = effect.snap
        own = self.session.out if effect.source == "own" else self.models.bytes_of(self.member.holds)
        result = self.models.incoming()
        exchange = Exchange(
            snap=snap,
            uid=self.link.state.uid,
            network_id=self.link.state.network_id,
            node_key=self.link.state.node_key,
            node_keys={uid: node.node_key for uid, node in self.link.ledger.nodes.items()},
            schema=self.schema,
            hash_name=self.hash_name,
            method=self.contract.options.mergeMethod,
            own=own,
            result=result.bytes,
            client=self.client,
            on_done=self._threaded(lambda digest, phases: self._merged(snap, result, digest, phases)),
            on_stalled=self._threaded(
                lambda uid, reason: self.happened(m.Stalled(snap.round, snap.attempt, uid, reason))
            ),
        )
        self._serve(Round(snap, Region.complete(own), result, exchange))
        exchange.start()

    def _merged(self, snap: SnapMade, result: ModelFile, digest: str, phases: dict[str, float]) -> None:
        if self._round is None or self._round.result is not result:
            return
        self.models.hold(result, digest)
        self._phases = phases
        self.happened(m.Merged(snap.round, snap.attempt, digest))

    def _end_exchange(self) -> None:
        if self._round is not None:
            self._round.exchange.cancel()
            self._round.own.fail("the round is over")
            self._serve(None)

    async def _fetch(self, effect: m.Fetch) -> None:
        file = self.models.get(effect.digest)
        if file is None:
            try:
                file = await trio.to_thread.run_sync(self._fetch_blocking, effect)
            except SwarmError as error:
                self.happened(m.FetchFailed(effect.digest, error.message))
                return
            self.models.hold(file, effect.digest)
        self.happened(m.Fetched(effect.digest))

    def _fetch_blocking(self, effect: m.Fetch) -> ModelFile:
        """The model's bytes from the first holder that has them whole and true."""
        reasons = []
        for uid in effect.holders:
            file = self.models.incoming()
            want = Want(self.contract.name, 0, "model", 0, effect.digest, 0, self.schema.nbytes)
            try:
                self.client.fetch(self.contract.members[uid].data_address, uid, want, file.bytes)
                found = tensorbytes.digest(self.schema, file.bytes, self.hash_name)
                if found == effect.digest:
                    return file
                reasons.append(f"{self.contract.members[uid].name} sent {found}")
            except SwarmError as error:
                reasons.append(error.message)
            self.models.drop(file)
        raise Refused("; ".join(reasons) or "no other member is known to hold it")

    async def _answer(self, answer: m.Answer) -> None:
        held = answer.how in ("merged", "adopted")
        if held:
            file = self.models.get(answer.digest)
            assert file is not None
            await trio.to_thread.run_sync(self._load, file)
            self._report_round(answer)
            log.info("round %d: %s, %d peers", answer.round - 1, answer.digest, answer.members)
        elif answer.note:
            log.info("%s", answer.note)
        if self._round is not None:
            # Peers that are slower may still gather this node's shard; the program's buffer is its own again.
            self._round.own.fail("the round is over")
        await self.session.answer(answer)
        if held:
            await trio.to_thread.run_sync(self.models.get(answer.digest).sync)  # type: ignore[union-attr]
            self.models.keep_only([answer.digest, *[commit.digest for commit in self.contract.commits[-2:]]])

    def _report_round(self, answer: m.Answer) -> None:
        self.progress.line(
            "round",
            contract=self.contract.name,
            round=answer.round - 1,
            how=answer.how,
            digest=answer.digest,
            members=answer.members,
            seconds=round(trio.current_time() - self._asked_s, 6),
            bytes_sent=self.bytes_sent(),
            phases_s=self._phases,
        )

    def _load(self, file: ModelFile) -> None:
        self.session.in_[:] = file.bytes

    # ---- serving peers (called by the data server's threads)

    def find(self, peer: Peer, want: Want) -> Region:
        if want.contract != self.contract.name or peer.uid not in self.contract.members:
            raise Refused(f"{peer.identity} is no member of contract {want.contract!r} on this node")
        if want.what == "model":
            file = self.models.get(want.digest)
            if file is None:
                raise Refused(f"this node does not hold the model {want.digest}")
            return Region.complete(file.bytes)
        with self._changed:
            # A peer may know of the snap a moment earlier than this node.
            self._changed.wait_for(lambda: self._reached(want), timeout=SNAP_LAG_S)
            now = self._round
        if now is None or (now.snap.round, now.snap.attempt) != (want.round, want.attempt):
            raise Refused(f"this node is not in attempt {want.attempt} of round {want.round}")
        return now.own if want.what == "offer" else now.exchange.region

    def _reached(self, want: Want) -> bool:
        return self._round is not None and (self._round.snap.round, self._round.snap.attempt) >= (want.round, want.attempt)

    def _serve(self, now: Round | None) -> None:
        with self._changed:
            self._round = now
            self._changed.notify_all()

    def _threaded(self, function: Callable[..., None]) -> Callable[..., None]:
        """For calls from the exchange's threads: the same call, in the trio loop."""

        def call(*args: Any) -> None:
            try:
                self._token.run_sync_soon(function, *args)
            except trio.RunFinishedError:
                pass  # the node is ending; nobody waits for this any more

        return call
