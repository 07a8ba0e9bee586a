"""One program's training on a learning node: performs what the member machine asks, against ledger, peers and channel.

Started by ``nodes/sl`` when the program has enrolled; ends with its session. Everything that happens (the program's
asks, ledger events, finished exchanges and fetches, ticks) goes through one inbox into ``core/member``, in order.
Guarantees: peers read what the program handed over only until that is answered; a model is handed over only with its
digest verified and committed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

import numpy as np
import trio

from swarm.core import events as e
from swarm.core import member_steps as m
from swarm.core.contract import Contract
from swarm.core.kinds import known
from swarm.core.member import Member
from swarm.errors import InternalError, SwarmError
from swarm.nodes import mergemethods, serving
from swarm.nodes.attempt import Attempt
from swarm.nodes.climbing import Climbing, GroupSession
from swarm.nodes.contribution import Offers
from swarm.nodes.fetching import Fetching
from swarm.nodes.ledgerlink import LedgerLink
from swarm.nodes.models import ModelFile, Models
from swarm.nodes.offering import Offering
from swarm.nodes.progress import Progress
from swarm.nodes.rebasing import rebased
from swarm.nodes.roundtimes import RoundTimes
from swarm.nodes.stepping import stepped
from swarm.runtime import hashing
from swarm.runtime.channel_server import Session
from swarm.runtime.data import DataClient, Region, Want
from swarm.runtime.data_rates import Rates
from swarm.runtime.exchange import Exchange
from swarm.runtime.exchange_news import Done, News, Owing, Scattered, Stalling, Stuck
from swarm.runtime.exchange_staging import Staging
from swarm.runtime.inloop import in_loop
from swarm.runtime.tls import Peer
from swarm.wire.certnames import printable
from swarm.wire.messages import Merged, Sync

TICK_S = 0.5
OF_CONTRACT = (e.SnapMade, e.Committed, e.Aborted, e.BaseLost, e.Finished, e.ContractCleared, e.MemberGone)
log = logging.getLogger("swarm.SL")


class Learning:
    def __init__(
        self,
        session: Session | GroupSession,
        link: LedgerLink,
        client: DataClient,
        models: Models,
        progress: Progress,
        contract: Contract,
        member: Member,
        bytes_sent: Callable[[], int],
        rates: Rates,
        climbing: Climbing | None = None,
    ) -> None:
        self.session = session
        self.contract = contract
        self.member = member
        self.models = models
        self.error: SwarmError | None = None
        """Why the program cannot go on in this contract."""
        self._link = link
        self._client = client
        self._progress = progress
        self._bytes_sent = bytes_sent
        self._rates = rates
        self.climbing = climbing
        self._round: Attempt | None = None
        """What this node serves of the attempt that it knows last."""
        self._brought = ""  # the digest of the model that lies where the program reads it
        self._staging = Staging(contract.schema.nbytes)
        self._times = RoundTimes()
        self._answered = trio.Event()
        self._answer: Merged | None = None
        self._inbox, self._events = trio.open_memory_channel[m.Event](float("inf"))
        self._offers = Offers(contract, in_loop(lambda text: session.note("info", text)))
        self._offering = Offering(session, contract, models, self._offers, rates)
        self._fetching = Fetching(contract, models, client, self.happened)

    async def run(self) -> None:
        """Until cancelled, or until the member gives up."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            nursery.start_soon(self._tick)
            if self._link.lost:
                self.happened(m.LedgerLost(self._link.lost))
            async for event in self._events:
                for effect in self.member.handle(event, trio.current_time()):
                    try:
                        await self._perform(effect)
                    except SwarmError as error:  # no room for a result, for one
                        self.give_up(error)
                if self.error is not None:
                    break
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """The session is over: nothing of the program's buffer is served any more."""
        self._end_exchange()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(TICK_S)
            self.happened(m.Ticked())

    # ---- what happens

    def happened(self, event: m.Event) -> None:
        self._inbox.send_nowait(event)

    def applied(self, events: tuple[Any, ...]) -> None:
        """Ledger events; those of this contract concern the member."""
        for event in events:
            if isinstance(event, OF_CONTRACT) and event.contract == self.contract.name:
                self.happened(event)
            if isinstance(event, e.MemberReady) and event.contract == self.contract.name:
                self._told_ready(event)

    def _told_ready(self, event: e.MemberReady) -> None:
        if self._round is not None and self._round.is_of(event.round, event.attempt):
            self._round.exchange.held(event.uid)
            if event.uid == self.member.uid:
                self._reach(self._round.snap, "ready")

    def ledger_changed(self, lost: str) -> None:
        self.happened(m.LedgerLost(lost) if lost else m.LedgerBack())

    async def ask(self, request: Sync) -> Merged:
        """The program stands at a sync point: what it is to do. Raises what the program is to be told instead."""
        if self.error is not None:
            raise self.error
        self._times = RoundTimes(self._bytes_sent())
        self._answer, self._answered = None, trio.Event()
        of = (self.contract.schema, self.session.out, self.contract.hash)
        digest = await trio.to_thread.run_sync(hashing.digest, *of)
        self._times.reach("hashed")
        self._offering.asked(request.metrics)
        self.happened(m.Asked(request.kind, digest, request.batches, request.epochs))
        await self._answered.wait()
        return self._given()

    def _given(self) -> Merged:
        if self._answer is None:
            raise self.error or InternalError("a sync point had no answer")
        return self._answer

    # ---- effects

    async def _perform(self, effect: m.Effect) -> None:
        match effect:
            case m.Propose():
                self.nursery.start_soon(self._propose, effect)
            case m.BeginExchange():
                self._begin(effect)
            case m.EndExchange():
                self._end_exchange()
            case m.Show():
                self._show(effect)
            case m.Fetch():
                self.nursery.start_soon(self._fetching.fetch, effect, self._fetching.anew())
            case m.Rebase():
                self.nursery.start_soon(self._rebase, effect)
            case m.Climb() if self.climbing is not None:
                self.nursery.start_soon(self.climbing.climb, effect, self)
            case m.Answer():
                await self._hand_over(effect)
            case m.Tell():
                self._say(effect.text)
            case m.GiveUp():
                self.give_up(effect.error)

    def _say(self, text: str) -> None:
        log.info("%s", text)
        self._progress.line("waiting", text=text)
        self.session.note("info", text)

    def give_up(self, error: SwarmError) -> None:
        log.error("%s", error.message)
        self.error = error
        self._end_exchange()
        self._answered.set()

    async def _propose(self, effect: m.Propose) -> None:
        body = effect.body
        if effect.kind == "Offer":
            await self._make_durable(body["base"])
            self._offering.keeps(body, self.member.lineage.origin)
            before = self._round.rates if self._round else {}  # the same to all; offers are there for some only
            body = await self._offering.completed(body, before)
        outcome = await self._link.propose(effect.kind, known(effect.kind, body, self._link.ledger.rules.active))
        if not outcome.accepted:
            log.info("%s refused: %s", effect.kind, outcome.reason)
        if effect.kind == "Offer":
            self.happened(m.OfferJudged(body["round"], outcome.accepted, outcome.reason))

    # ---- the exchange of one attempt

    def _begin(self, effect: m.BeginExchange) -> None:
        snap = effect.snap
        self._end_exchange()  # of the round before: slower peers have gathered from it until now
        self._times.reach("snapped")
        offered = next(member.digest for member in snap.members if member.uid == self.member.uid)
        content = self.session.out if effect.source == "own" else self.models.bytes_of(offered)
        own = self._offers.take(offered, snap.base, content)
        handed = self.contract.momenta is None  # else the program gets what is made of the merge
        result = self.models.result() if handed else self.models.incoming(state=False)
        self._brought = ""
        exchange = Exchange(
            snap=snap,
            uid=self._link.state.uid,
            network_id=self._link.state.network_id,
            node_key=self._link.state.node_key,
            node_keys={uid: node.node_key for uid, node in self._link.ledger.nodes.items()},
            schema=self.contract.schema,
            hash_name=self.contract.hash,
            method=mergemethods.find(self.contract.options.mergeMethod),
            max_faulty=self.contract.options.maxFaulty,
            own=own.content,
            base=self.models.file_of(snap.base).read if self.models.get(snap.base) else None,
            result=self.session.incoming if handed else result.bytes,
            store=result.write if handed else None,
            coding=own.coding,
            most=self.contract.options.maxDeltaNorm / 1000,
            steps=self.contract.momenta is not None,
            staging=self._staging,
            client=self._client,
            rates=self._rates,
            tell=in_loop(self._exchanged),
        )
        self._round = Attempt(snap, own, result, handed, exchange, self.contract.options.mergeMethod)
        exchange.start()
        self._reach(snap, "scatter")

    def _exchanged(self, snap: e.SnapMade, news: News) -> None:
        """What the exchange of this attempt has to say."""
        now = self._round
        if now is None or not now.is_of(snap.round, snap.attempt):
            return
        match news:
            case Scattered():
                self._reach(snap, "gather")
            case Owing():
                self.happened(m.Owed(snap.round, snap.attempt, news.owed))
            case Stalling():
                log.info("round %d: %s", snap.round, news.reason)
                reason = printable(news.reason, 500)
                self.happened(m.Stalled(snap.round, snap.attempt, news.uid, reason, news.alive))
            case Done() if self.contract.momenta is not None or self._offering.drifts:
                self.nursery.start_soon(self._work_on, now, news)
            case Done():
                self._hold(now, news, now.result, news.digest)
            case Stuck():
                self.give_up(news.error)

    async def _work_on(self, now: Attempt, done: Done) -> None:
        """Drift, and the outer step. The merge itself stays as it is while slower peers gather from it."""
        merged = self.session.incoming if now.handed else now.result.bytes
        file, digest, base, began_s = now.result, done.digest, self.models.get(now.snap.base), monotonic()
        try:
            if self._offering.drifts and base is not None and not self.member.lineage.moved:
                await trio.to_thread.run_sync(self._offering.merged, base.bytes, merged)
            if self.contract.momenta is not None:
                of = (self.contract, self.models, merged, now.snap.base)
                file, digest = await trio.to_thread.run_sync(stepped, *of)
        except SwarmError as error:
            self.give_up(error)
            return
        if self._round is not now:  # the attempt is over, and what it brought is gone
            if file is not now.result:
                self.models.drop(file)
            return
        done.phases_s["merge"] += monotonic() - began_s
        self._hold(now, done, file, digest)

    def _hold(self, now: Attempt, done: Done, file: ModelFile, digest: str) -> None:
        self._times.exchanged(done.phases_s)
        self._brought = digest if now.handed else ""
        self.models.hold(file, digest)
        self.happened(m.Merged(now.snap.round, now.snap.attempt, digest, done.shards))

    def _reach(self, snap: e.SnapMade, phase: str) -> None:
        """Say where in the attempt this node is, for who watches."""
        where = {"contract": snap.contract, "round": snap.round, "attempt": snap.attempt}
        self._progress.line("phase", **where, phase=phase, at_s=monotonic())

    def _end_exchange(self) -> None:
        if self._round is not None:
            self._round.exchange.cancel()
            self._round.own.end("the round is over")
            if not self.models.holds(self._round.result):
                self.models.drop(self._round.result)
            self._round = None

    def _show(self, effect: m.Show) -> None:
        """Put before everybody what the owners of these shards signed for the bytes that they sent here."""
        if self._round is None or not self._round.is_of(effect.round, effect.attempt):
            return
        for body in self._round.evidence(effect.shards):
            self.nursery.start_soon(self._propose, m.Propose("Evidence", body))

    # ---- the committed model

    async def _rebase(self, effect: m.Rebase) -> None:
        try:
            moved = await trio.to_thread.run_sync(rebased, self.contract, self.models, self.session.out, effect)
        except SwarmError as error:
            self.happened(m.RebaseFailed(effect.base, error.message))
            return
        self.models.hold(*moved)
        self.happened(m.Rebased(effect.base, moved[1]))

    async def _hand_over(self, answer: m.Answer) -> None:
        if self._round is not None:  # slower peers may still gather this node's shard; the program's buffer is its own
            self._round.own.end("the round is over")
        if answer.how != "merged":
            self._offering.came_to_nothing()
        if answer.how in ("merged", "adopted"):
            self._times.reach("committed")
            await self._bring(answer.digest)
            self._report(answer)
            self.nursery.start_soon(self._make_durable, answer.digest)
        elif answer.note:
            log.info("%s", answer.note)
        self._answer = Merged(
            round=answer.round,
            digest=answer.digest,
            members=answer.members,
            training_over=answer.training_over,
            how=answer.how,
            note=answer.note,
            interval=self.contract.interval.scale,
        )
        self._answered.set()

    async def _bring(self, digest: str) -> None:
        """Have the model where the program reads it."""
        file = self.models.file_of(digest)
        if digest == self._brought:
            return
        if self._round is not None and self._round.handed:
            self._end_exchange()
        await trio.to_thread.run_sync(self._load, file)
        self._brought = digest

    def _load(self, file: ModelFile) -> None:
        self._staging.settle()
        np.copyto(np.frombuffer(self.session.incoming, np.uint8), np.frombuffer(file.bytes, np.uint8))

    async def _make_durable(self, digest: str) -> None:
        """Begun while the program trains, done before the next offer, which rests on this model."""
        file = self.models.get(digest)
        if file is None:
            return
        try:
            await trio.to_thread.run_sync(file.sync)
        except SwarmError as error:
            self.give_up(error)

    def _report(self, answer: m.Answer) -> None:
        log.info("round %d: %s, %d peers", answer.round, answer.digest, answer.members)
        self._progress.line(
            "round",
            contract=self.contract.name,
            round=answer.round,
            how=answer.how,
            digest=answer.digest,
            members=answer.members,
            seconds=self._times.seconds,
            bytes_sent=self._bytes_sent(),
            bytes_before=self._times.bytes_before,
            asked_at_s=self._times.asked_s,
            phases_s=self._times.phases_s(),
        )

    # ---- serving peers (called by the data server's threads)

    def find(self, peer: Peer, want: Want) -> Region:
        serving.check_member(self.contract, peer, want)
        if want.what == "model":
            return serving.model(self.contract, self.models, want)
        return serving.part(self.contract, self._round, self.member.phase, peer, want)
