"""A learning node's part in one contract: the product's `Member` and `Exchanging`, with simulated IO around them.

It stands in for ``nodes/learning``. Who trains (a program, or a group in its upper contract) asks, and is told. What is
held is on disk, a directory for each contract.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from swarm.core import member_steps as m
from swarm.core.contract import Contract
from swarm.core.events import (
    Aborted,
    BaseLost,
    Committed,
    ContractCleared,
    Finished,
    MemberGone,
    MemberReady,
    Outcome,
    SnapMade,
)
from swarm.core.kinds import known
from swarm.core.member import Member
from swarm.core.rebase import rebase
from tests.sim import commitments
from tests.sim.attempt import Attempt, Want
from tests.sim.chain import Replica
from tests.sim.disk import ModelDisk
from tests.sim.history import Values
from tests.sim.program import digest_of, packed
from tests.sim.stepping import stepped

if TYPE_CHECKING:
    from tests.sim.sl import LearningNode

OF_CONTRACT = (SnapMade, Committed, Aborted, BaseLost, Finished, ContractCleared, MemberGone)
SYNC_S = (0.0005, 0.003)
FETCH_S, REBASE_S = 3.0, 0.001


class Mirror(Contract):
    """A contract as this node's replica has it when this looks: all that it knows is what that one knows."""

    __slots__ = ("_contract", "_replica")

    def __init__(self, replica: Replica, contract: str) -> None:
        self._replica = replica
        self._contract = contract

    def look(self) -> None:
        self.__dict__ = self._replica.view.contracts[self._contract].__dict__


class Learning:
    """``told``: who trains hears so what it asked, and the answer."""

    def __init__(
        self,
        node: LearningNode,
        contract: str,
        disk: ModelDisk,
        told: Callable[[str, m.Answer], None],
        climb: Callable[[m.Climb], None] | None = None,
        *,
        origin: str = "",
    ) -> None:
        self.node = node
        self.name = contract
        self.disk = disk
        self.attempt: Attempt | None = None
        self.values: Values = ()
        """As the training has them that asked last; then as it was told."""
        self._told = told
        self._climb = climb
        self._asking = ""
        self._last: Attempt | None = None
        self._fetching: Fetching | None = None
        self._mirror = Mirror(node.replica, contract)
        self._mirror.look()
        self.member = Member(node.uid, self._mirror, holds=node.terms.initial_base, origin=origin)

    @property
    def contract(self) -> Any:
        return self.node.replica.view.contracts[self.name]

    def note(self, kind: str, *about: Any) -> None:
        self.node.note(kind, self.name, self.node.uid, *about)

    # ---- who trains

    def ask(self, kind: Any, values: Values, batches: int) -> None:
        self._asking, self.values = kind, values
        digest = self.node.record(values)
        self.note("asked", kind, digest)
        self.happened(m.Asked(kind, digest, batches, 0))

    def _answer(self, answer: m.Answer) -> None:
        if self.attempt is not None:
            self.attempt.answered = True
        if answer.how in ("merged", "adopted"):
            self.values = self._model(self.disk.files[answer.digest].values)
            self._make_durable(answer.digest, lambda: None)
        kind, self._asking = self._asking, ""
        self.note("told", kind, answer.how, answer.round, answer.digest, answer.training_over, self.values, answer.note)
        self._told(kind, answer)

    # ---- what happens to the member

    def tick(self) -> None:
        self.happened(m.Ticked())
        if self.attempt is not None:
            self.attempt.tick()

    def applied(self, event: Any) -> None:
        if isinstance(event, MemberReady) and event.contract == self.name:
            self._is_ready(event)
        elif isinstance(event, OF_CONTRACT) and event.contract == self.name:
            self.happened(event)

    def _is_ready(self, event: MemberReady) -> None:
        now = self.attempt
        if now is not None and (now.snap.round, now.snap.attempt) == (event.round, event.attempt):
            now.held(event.uid)

    def happened(self, event: m.Event) -> None:
        self._mirror.look()
        effects = self.member.handle(event, self.node.now_s)
        if self.node.around.checks:
            self.member.check()
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: m.Effect) -> None:
        match effect:
            case m.Propose(kind="Offer"):
                base = effect.body["base"]
                self._make_durable(base, lambda: self._offer(effect))
            case m.Propose():
                self.node.propose(effect.kind, known(effect.kind, effect.body, self.node.replica.view.rules))
            case m.BeginExchange():
                self._begin(effect)
            case m.EndExchange():
                self._end_attempt()
            case m.Show() if self.node.terms.full and self.attempt is not None:
                for body in self.attempt.evidence(effect.shards):
                    self.node.propose("Evidence", body)
            case m.Fetch():
                self._fetching = Fetching(self, effect)
                self._fetching.next()
            case m.Rebase():
                self.node.later(REBASE_S, self._rebase, effect)
            case m.Climb() if self._climb is not None:
                self._climb(effect)
            case m.Answer():
                self._answer(effect)
            case m.GiveUp():
                self.node.give_up(effect.error.message)

    def _offer(self, effect: m.Propose) -> None:
        if (effect.body["round"], effect.body["base"]) == (self.contract.round, self.contract.base):
            mine = (self.member.lineage.origin, effect.body["digest"])  # what a late change is made of, and is
            self.disk.keep_only([effect.body["base"], *mine, *(commit.digest for commit in self.contract.kept)])

        def judged(outcome: Outcome) -> None:
            self.happened(m.OfferJudged(effect.body["round"], outcome.accepted, outcome.reason))

        body = {**effect.body, **self._root(effect.body["digest"])}
        self._offer_on_old_base(body)
        self.node.propose("Offer", body, judged)

    def _root(self, digest: str) -> dict[str, bytes]:
        """What commits to every leaf of an offer, where the contract asks for it."""
        models = self.node.world.history.models
        return {"root": commitments.root(self._model(models[digest]))} if self.node.terms.full else {}

    def _model(self, values: Values) -> Values:
        """Of a base, without the momentum that it may have."""
        return values[: self.node.terms.leaves]

    def stepped(self, base: str, merged: Values) -> Values:
        """What is made of a merge: the next base."""
        contract = self.contract
        if contract.momenta is None:
            return merged
        before = self.disk.files[base].values if base != contract.initial_base else None
        return stepped(self.node.terms.small, contract.options, merged, before)

    def _offer_on_old_base(self, body: dict[str, Any]) -> None:
        """A liar offers, before it offers in order, on another base than the round's."""
        node = self.node
        others = [each.digest for each in self.contract.kept if each.digest != body["base"]]
        if others and node.world.random.random() < node.lies.get("base", 0.0):
            node.around.weather.count("lie")
            node.propose("Offer", {**body, "base": others[0]})

    def _rebase(self, effect: m.Rebase) -> None:
        """Put what the training has changed since ``origin`` on another base."""
        files, small = self.disk.files, self.node.terms.small
        if effect.origin not in files or effect.base not in files:
            self.happened(m.RebaseFailed(effect.base, "the models are not here"))
            return
        parts = (self.values, *(self._model(files[each].values) for each in (effect.origin, effect.base)))
        out = bytearray(small.nbytes)
        rebase(small, *(packed(each, len(out)) for each in parts), memoryview(out))
        moved = struct.unpack_from(f"{len(parts[0])}f", out)
        digest = self.node.record(moved)
        self.note("rebased", digest)
        if self.hold(digest, moved):
            self.happened(m.Rebased(effect.base, digest))
        else:
            self.node.give_up("no room for a late change")

    # ---- the disk

    def hold(self, digest: str, values: Values) -> bool:
        """Whether there was room."""
        return not self.node.disk.full and self.disk.hold(digest, values)

    def _make_durable(self, digest: str, then: Any) -> None:
        node, (low, spread) = self.node, SYNC_S
        sync_s = low + spread * node.world.random.random()
        node.later(sync_s, self._synced, digest, then)
        if node.trap and digest in self.disk.files and not self.disk.files[digest].synced:
            node.around.weather.sprung(node, sync_s)

    def _synced(self, digest: str, then: Any) -> None:
        if digest in self.disk.files:
            self.disk.files[digest].synced = True
        then()

    # ---- the exchange

    def _begin(self, effect: m.BeginExchange) -> None:
        offered = next(each.digest for each in effect.snap.members if each.uid == self.node.uid)
        own = self.values if effect.source == "own" else self._model(self.disk.files[offered].values)
        self._end_attempt()
        self.attempt = self._last = Attempt(self, effect.snap, own, self._last)
        self.attempt.begin()

    def _end_attempt(self) -> None:
        if self.attempt is not None:
            self.attempt.over = True
            self.attempt = None

    def fetched(self, fetching: Fetching, reply: Any) -> None:
        """Another node's reply to what is being fetched, if that is still wanted."""
        if self._fetching is fetching:
            fetching.take(reply)

    def found(self, fetching: Fetching) -> None:
        """What is being fetched was here."""
        if self._fetching is fetching:
            self.happened(m.Fetched(fetching.digest))


class Fetching:
    """One fetch of a committed model: from an earlier process of this node, or from the first that has it whole."""

    def __init__(self, learning: Learning, effect: m.Fetch) -> None:
        self.learning = learning
        self.digest = effect.digest
        self.holders = list(effect.holders)

    def next(self) -> None:
        learning, node = self.learning, self.learning.node
        file = learning.disk.files.get(self.digest)
        if file is not None and digest_of(file.values) == self.digest:
            node.later(0.0, learning.found, self)  # behind what the entries say of which one has led to this
            return
        learning.disk.files.pop(self.digest, None)
        if not self.holders:
            learning.happened(m.FetchFailed(self.digest, "no other member is known to hold it"))
            return
        other = node.around.uids[self.holders.pop(0)]
        want = Want("model", learning.name, self.digest)
        node.request(other, want, lambda reply: learning.fetched(self, reply), FETCH_S)

    def take(self, reply: Any) -> None:
        good = isinstance(reply, tuple) and digest_of(reply) == self.digest
        if good and not self.learning.hold(self.digest, reply):
            self.learning.node.give_up("no room for a model")
        else:
            self.next()
