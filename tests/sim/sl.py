"""A learning node and its training program: the product's `Member` and `Exchanging`, with simulated IO around them.

It stands in for ``nodes/sl``, ``nodes/learning`` and ``runtime/exchange``. Weights are a few small numbers, one for
each leaf of the contract's schema; a model's digest is a hash of them. The program trains, comes to sync points, ends.
"""

from __future__ import annotations

import struct
from typing import Any

from swarm.core import member_steps as m
from swarm.core.events import (
    Aborted,
    Applied,
    BaseLost,
    Committed,
    ContractCleared,
    Finished,
    MemberGone,
    MemberReady,
    Outcome,
    SnapMade,
)
from swarm.core.member import Member
from swarm.core.rebase import rebase
from tests.sim.attempt import Attempt, Want
from tests.sim.chain import Replica
from tests.sim.client import Client, Surroundings
from tests.sim.disk import ModelDisk
from tests.sim.history import Values
from tests.sim.program import Program, Terms, digest_of, packed, rounded

CONTRACT = "digits"
OF_CONTRACT = (SnapMade, Committed, Aborted, BaseLost, Finished, ContractCleared, MemberGone)
SYNC_S = (0.0005, 0.003)
FETCH_S, REBASE_S = 3.0, 0.001
TICK_S = 1.0
COME_BACK_S, SERVE_LAST_S = 3.0, 60.0
HUGE = 2.0**60


class Mirror:
    """The contract as this node's replica has it at this moment."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def __getattr__(self, name: str) -> Any:
        return getattr(self._replica.view.contracts[CONTRACT], name)


class LearningNode(Client):
    role = "sl"

    def __init__(self, around: Surroundings, name: str, organisation: str, terms: Terms, weight: int) -> None:
        super().__init__(around, name, organisation)
        self.terms = terms
        self.weight = weight
        self.disk = ModelDisk(around.world.random)
        self.program = Program(self._weights(), terms.rounds)
        self.done = False
        """The program has the final model, and this node has left."""
        self.lies: dict[str, float] = {}
        """What it lies about, and how often."""

    def _weights(self) -> Values:
        """What a program begins with."""
        return rounded(self.world.random.random() for _ in range(self.terms.leaves))

    # ---- life

    def on_start(self) -> None:
        self.member: Member | None = None
        self.attempt: Attempt | None = None
        self.last: Attempt | None = None
        self._fetch: Fetching | None = None
        self._over_s = 0.0
        self.requests: dict[int, Any] = {}
        self._request = 0
        self._ticking = False
        super().on_start()

    def on_crash(self, power: bool) -> None:
        if power:
            lost, torn = self.disk.cut_power(torn=self.trap == "torn")
            self.around.weather.count("unsynced_write_lost", lost > 0)
            self.around.weather.count("torn_write", torn > 0)
        self.trap = ""
        if not self.program.over:  # it ends with its learning node, and both are started again
            self.note("program_died", self.uid)
            self.program = Program(self._weights(), max(1, self.program.rounds - self.program.asks))

    def on_joined(self, outcome: Outcome) -> None:
        if self.program.over:
            self._leave()
            return
        body = {
            "contract": CONTRACT, "schema": self.terms.schema, "hash": "sha256",
            "initial_base": self.terms.initial_base, "options": self.terms.options, "weight": self.weight,
            "syncFrequency": 10, "data_address": "127.0.0.1:1",
        }  # fmt: skip
        self.propose("Enrolled", body, self._enrolled)

    def _enrolled(self, outcome: Outcome) -> None:
        if not outcome.accepted:
            self.note("refused", "Enrolled", outcome.reason)
            self._leave()  # the contract is finished, and this node was no member of it
            return
        self.member = Member(self.uid, Mirror(self.replica), holds=self.terms.initial_base)  # type: ignore[arg-type]
        if not self._ticking:
            self._ticking = True
            self.later(TICK_S, self._tick)
        self._stand("begin")

    def _tick(self) -> None:
        self.happened(m.Ticked())
        if self.attempt is not None:
            self.attempt.tick()
        self.later(TICK_S, self._tick)

    # ---- the program

    def _stand(self, kind: Any) -> None:
        program = self.program
        program.asking = kind
        digest = self.record(program.values)
        self.note("asked", self.uid, kind, digest)
        self.happened(m.Asked(kind, digest, program.batches, 0))

    def record(self, values: Values) -> str:
        digest = digest_of(values)
        self.world.history.models[digest] = values
        return digest

    def _train(self) -> None:
        low, high = self.terms.train_s
        self.later(low + (high - low) * self.world.random.random(), self._trained, self.program)

    def _trained(self, program: Program) -> None:
        if program is not self.program or self.member is None:
            return
        random = self.world.random
        trained = rounded(value + random.uniform(-5.0, 5.0) for value in program.values)
        # Numbers that cancel each other out, so that the order in which they are added up can be seen.
        program.values = (random.choice((HUGE, -HUGE, trained[0])), *trained[1:])
        program.batches += 10
        program.asks += 1
        self._stand("end" if program.asks >= program.rounds else "sync")

    def _answer(self, answer: m.Answer) -> None:
        program, kind = self.program, self.program.asking
        if answer.how in ("merged", "adopted"):
            program.values = self.disk.files[answer.digest].values
            self._make_durable(answer.digest, lambda: None)
        self.note(
            "told", self.uid, kind, answer.how, answer.round, answer.digest, answer.training_over, program.values,
            answer.note,
        )  # fmt: skip
        program.asking = ""
        if kind == "end" or answer.training_over:
            program.over, self._over_s = True, self.now_s
            self.note("program_over", self.uid, digest_of(program.values))
            self._serve_last()
        else:
            self._train()

    def _serve_last(self) -> None:
        """Others may still fetch the final model."""
        contract = self.replica.view.contracts.get(CONTRACT)
        if contract is None or not contract.to_serve() or self.now_s - self._over_s > SERVE_LAST_S:
            self._leave()
        elif contract.members[self.uid].state != "left":
            self.propose("Leave", {"contract": CONTRACT, "reason": "finished"}, lambda outcome: self._serve_last())
        else:
            self.later(1.0, self._serve_last)

    def _leave(self) -> None:
        self.propose("NodeLeft", {}, self._left)

    def _left(self, outcome: Outcome) -> None:
        """The process ends."""
        self.done = True
        self.alive = False

    def give_up(self, reason: str) -> None:
        """The program is told, and ends; a person starts it again, unless the training is over for everybody."""
        self.note("gave_up", self.uid, reason)
        if self.replica.view.contracts[CONTRACT].finished:
            self.program.over = True
        self.world.after(COME_BACK_S, self._start_again)
        self.crash(power=False)

    def _start_again(self) -> None:
        if not self.alive:
            self.start()

    # ---- what happens to the member

    def on_entries(self, applied: list[Applied]) -> None:
        for each in applied:
            for event in each.events:
                if isinstance(event, MemberReady):
                    self._is_ready(event)
                elif isinstance(event, OF_CONTRACT) and event.contract == CONTRACT:
                    self.happened(event)

    def _is_ready(self, event: MemberReady) -> None:
        now = self.attempt
        if now is not None and (now.snap.round, now.snap.attempt) == (event.round, event.attempt):
            now.held(event.uid)

    def on_link(self) -> None:
        self.happened(m.LedgerLost("no SN answers") if self.lost else m.LedgerBack())

    def happened(self, event: m.Event) -> None:
        member = self.member
        if member is None:
            return
        effects = member.handle(event, self.now_s)
        if self.around.checks:
            member.check()
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: m.Effect) -> None:
        match effect:
            case m.Propose(kind="Offer"):
                base = effect.body["base"]
                self._make_durable(base, lambda: self._offer(effect))
            case m.Propose():
                self.propose(effect.kind, effect.body)
            case m.BeginExchange():
                self._begin(effect)
            case m.EndExchange():
                self._end_attempt()
            case m.Fetch():
                self._fetch = Fetching(self, effect)
                self._fetch.next()
            case m.Rebase():
                self.later(REBASE_S, self._rebase, effect)
            case m.Answer():
                if self.attempt is not None:
                    self.attempt.answered = True
                self._answer(effect)
            case m.GiveUp():
                self.give_up(effect.error.message)

    def _offer(self, effect: m.Propose) -> None:
        contract = self.replica.view.contracts[CONTRACT]
        assert self.member is not None
        mine = (self.member.lineage.origin, effect.body["digest"])  # what a late change is made of, and is
        self.disk.keep_only([effect.body["base"], *mine, *(commit.digest for commit in contract.kept)])

        def judged(outcome: Outcome) -> None:
            self.happened(m.OfferJudged(effect.body["round"], outcome.accepted, outcome.reason))

        self._offer_on_old_base(effect.body)
        self.propose("Offer", effect.body, judged)

    def _offer_on_old_base(self, body: dict[str, Any]) -> None:
        """A liar offers, before it offers in order, on another base than the round's."""
        others = [each.digest for each in self.replica.view.contracts[CONTRACT].kept if each.digest != body["base"]]
        if others and self.world.random.random() < self.lies.get("base", 0.0):
            self.around.weather.count("lie")
            self.propose("Offer", {**body, "base": others[0]})

    def _make_durable(self, digest: str, then: Any) -> None:
        low, spread = SYNC_S
        sync_s = low + spread * self.world.random.random()
        self.later(sync_s, self._synced, digest, then)
        if self.trap and digest in self.disk.files and not self.disk.files[digest].synced:
            self.around.weather.sprung(self, sync_s)

    def _synced(self, digest: str, then: Any) -> None:
        if digest in self.disk.files:
            self.disk.files[digest].synced = True
        then()

    def _rebase(self, effect: m.Rebase) -> None:
        """Put what the program has changed since ``origin`` on another base."""
        files = self.disk.files
        if effect.origin not in files or effect.base not in files:
            self.happened(m.RebaseFailed(effect.base, "the models are not here"))
            return
        parts = (self.program.values, files[effect.origin].values, files[effect.base].values)
        out = bytearray(self.terms.small.nbytes)
        rebase(self.terms.small, *(packed(each, len(out)) for each in parts), memoryview(out))
        moved = struct.unpack_from(f"{len(parts[0])}f", out)
        digest = self.record(moved)
        self.note("rebased", self.uid, digest)
        if self.disk.hold(digest, moved):
            self.happened(m.Rebased(effect.base, digest))
        else:
            self.give_up("no room for a late change")

    # ---- the exchange

    def _begin(self, effect: m.BeginExchange) -> None:
        assert self.member is not None
        offered = next(each.digest for each in effect.snap.members if each.uid == self.uid)
        own = self.program.values if effect.source == "own" else self.disk.files[offered].values
        self._end_attempt()
        self.attempt = self.last = Attempt(self, effect.snap, own, self.last)
        self.attempt.begin()

    def _end_attempt(self) -> None:
        if self.attempt is not None:
            self.attempt.over = True
            self.attempt = None

    # ---- between learning nodes

    def request(self, to: LearningNode, want: Want, on_reply: Any, patience_s: float = 0.0) -> int:
        """Ask another node for bytes; ``on_reply`` gets its replies, or, after ``patience_s`` without one, None."""
        self._request += 1
        number = self._request
        self.requests[number] = on_reply
        self.around.network.send(self, to, to.wanted, self, self.life, number, want)
        if patience_s:
            self.later(patience_s, self._expired, number)
        return number

    def _expired(self, number: int) -> None:
        on_reply = self.requests.pop(number, None)
        if on_reply is not None:
            on_reply(None)

    def replied(self, life: int, number: int, reply: Any) -> None:
        on_reply = self.requests.pop(number, None) if life == self.life else None
        if on_reply is not None:
            on_reply(reply)

    def wanted(self, asker: LearningNode, life: int, number: int, want: Want) -> None:
        self.around.network.send(self, asker, asker.replied, life, number, self._found(asker, want))

    def _found(self, asker: LearningNode, want: Want) -> Any:
        """The bytes; or why not: "refused", "not yet"."""
        if want.what == "model":
            file = self.disk.files.get(want.digest)
            contract = self.replica.view.contracts.get(CONTRACT)
            if contract is None or all(commit.digest != want.digest for commit in contract.kept):
                return "not yet"
            return file.values if file is not None and digest_of(file.values) == want.digest else "refused"
        if self.attempt is None or (self.attempt.snap.round, self.attempt.snap.attempt) < (want.round, want.attempt):
            contract = self.replica.view.contracts.get(CONTRACT)
            known = contract.round if contract is not None else -1
            return "not yet" if known <= want.round else "refused"
        return self.attempt.serve(asker, want)


class Fetching:
    """One fetch of a committed model: from an earlier process of this node, or from the first that has it whole."""

    def __init__(self, node: LearningNode, effect: m.Fetch) -> None:
        self.node = node
        self.digest = effect.digest
        self.holders = list(effect.holders)

    def next(self) -> None:
        node = self.node
        file = node.disk.files.get(self.digest)
        if file is not None and digest_of(file.values) == self.digest:
            node.happened(m.Fetched(self.digest))
            return
        node.disk.files.pop(self.digest, None)
        if not self.holders:
            node.happened(m.FetchFailed(self.digest, "no other member is known to hold it"))
            return
        other = node.around.uids[self.holders.pop(0)]
        node.request(other, Want("model", self.digest), self.came, FETCH_S)

    def came(self, reply: Any) -> None:
        if self.node._fetch is not self:
            return
        good = isinstance(reply, tuple) and digest_of(reply) == self.digest
        if good and not self.node.disk.hold(self.digest, reply):
            self.node.give_up("no room for a model")
        else:
            self.next()
