"""Whole rounds by chance: real members and a real ledger, with replicas that lag, exchanges of names, and crashes.

`Rounds(seed).run()` plays one history: everything that may happen next happens in an order that the seed chooses. First
with faults, then without: then every program has to end with the same model. Weights are digests: what was merged from
what is in their text. Checked all along: the ledger's and the members' own invariants, the observer's (`scene`), that
two answers for one round hand over one model, and that no program's change is gone without a word.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from swarm.core import member_steps as m
from swarm.core.events import Aborted, BaseLost, Committed, ContractCleared, Finished, MemberGone, Outcome, SnapMade
from swarm.core.kinds import known
from swarm.core.ledger import Ledger
from swarm.core.member import Member, Phase
from swarm.core.rules import KNOWN
from swarm.core.timekeeper import Tick, Timekeeper
from tests.core.scene import CONTRACT, INITIAL, Actor, Scene, digest

OF_MEMBER = (SnapMade, Committed, Aborted, BaseLost, Finished, ContractCleared, MemberGone)
STEP_S = 0.5
BATCHES = 4


@dataclass
class Exchange:
    snap: SnapMade
    here: set[str] = field(default_factory=set)
    said: set[str] = field(default_factory=set)


@dataclass
class Program:
    """What is trained: ``model`` it was handed last, and how often it has synced."""

    syncs: int
    model: str = ""
    batches: int = 0
    stage: str = "begin"
    asked: m.Asked | None = None
    offered: set[str] = field(default_factory=set)


class Node:
    """A learning node with its replica, its disk and its program."""

    def __init__(self, actor: Actor, syncs: int) -> None:
        self.actor = actor
        self.ledger = Ledger()
        self.read = 0
        self.disk: set[str] = set()
        self.program = Program(syncs)
        self.member: Member | None = None
        self.inbox: list[m.Event] = []
        self.said: list[m.Propose] = []
        self.judging: list[tuple[int, m.OfferJudged]] = []
        self.fetch: m.Fetch | None = None
        self.exchange: Exchange | None = None
        self.alive = True
        self.silent = False
        self.final = ""

    def __str__(self) -> str:
        return self.actor.identity.name


class Rounds:
    def __init__(
        self, seed: int, *, nodes: int = 4, min_peers: int = 2, syncs: int = 4, liars: int = 0, **options: Any
    ) -> None:
        """``liars``: so many are Ready with what nobody else holds whenever they may."""
        self.chance = random.Random(seed)
        self.scene = Scene(rules=KNOWN if liars else 3 if options else 1)
        self.syncs = syncs
        self.liars = [f"sl-{number}" for number in range(1, liars + 1)]
        self.options = {"minPeers": min_peers, "tooFewPeersSeconds": 0, **options}
        self.nodes = [Node(Actor("sl", f"sl-{number}", "ab"[number % 2]), syncs) for number in range(1, nodes + 1)]
        self.keeper = Timekeeper(self.scene.ledger, self.scene.sn.uid, 0.0)
        self.now_s = 0.0
        self.told = len(self.scene.events)
        self.handed: dict[int, str] = {}
        self.merged: set[str] = set()
        """Digests of weights that are in a committed merge."""
        self.changes: dict[str, str] = {}
        """The program's own weights of which these are made."""
        self.ended: set[str] = set()
        """Weights of programs that have ended: they are offered anew until all have."""
        self.lost = 0
        for node in self.nodes:
            self._enrol(node, INITIAL)

    # ---- the play

    def run(self, steps: int = 400) -> None:
        for _ in range(steps):
            self._step(hurry=0.1)
            if self.chance.random() < 0.02:
                self._fault(self.chance.choice(self.nodes))
        for node in self.nodes:
            node.silent = False
            if not node.alive:
                self._restart(node)
        for _ in range(1500 * self.syncs):
            if all(node.final for node in self.nodes):
                break
            self._step(hurry=0.02)
        assert {node.final for node in self.nodes} == {self.scene.contract.base}, "I10: all end with the final model"
        assert self.scene.contract.finished

    def _step(self, hurry: float) -> None:
        """Somebody does something, and with a chance of ``hurry`` time passes: the more, the later all are."""
        node = self.chance.choice(self.nodes)
        act = self.chance.choice([self._think, self._speak, self._read, self._move, self._work, self._hear])
        if node.alive and not node.silent:
            act(node)
        if self.chance.random() < hurry:
            self._tick()

    def _tick(self) -> None:
        self.now_s += STEP_S
        for node in self.nodes:
            if node.alive and not node.silent:
                self.keeper.alive(node.actor.uid, self.now_s)
                if self.chance.random() < 0.2:
                    node.inbox.append(m.Ticked())
        for proposal in self.keeper.handle(Tick(self.now_s)):
            self.scene.say(self.scene.sn, proposal.kind, proposal.body)
        self._tell_keeper()

    def _tell_keeper(self) -> None:
        while self.told < len(self.scene.events):
            event = self.scene.events[self.told]
            self.told += 1
            self.keeper.handle(event)
            if isinstance(event, Committed):
                snap = self.scene.observer.snaps[event.contract, event.round, event.attempt]
                self._count([member.digest for member in snap.members if member.weight])

    def _count(self, merged: list[str]) -> None:
        for weights in merged:
            change = self.changes[weights]
            again = change in {self.changes[each] for each in self.merged}
            assert not again or change in self.ended, "a change counts once"
            self.merged.add(weights)

    # ---- faults

    def _fault(self, node: Node) -> None:
        if not node.alive:
            self._restart(node)
        elif self.chance.random() < 0.4:
            node.silent = not node.silent  # cut off, or frozen: it lives, and nobody hears it
        else:
            node.alive = False
            node.inbox, node.exchange, node.fetch, node.judging = [], None, None, []
            node.said = [each for each in node.said if self.chance.random() < 0.5]  # what was on its way may arrive
            for proposal in node.said:
                self._say(node, proposal)
            node.said = []

    def _restart(self, node: Node) -> None:
        """Its program begins anew, or has lived on and finds its new learning node."""
        program, survives = node.program, self.chance.random() < 0.5
        node.alive, node.silent = True, False
        node.actor.restart()
        assert self.scene.join(node.actor).accepted
        if not survives or not program.model:
            node.program = Program(program.syncs)
        elif program.stage == "waiting":
            program.stage = "asks again"
        self._enrol(node, node.program.model)

    def _enrol(self, node: Node, origin: str) -> None:
        if not node.actor.seq:
            assert self.scene.join(node.actor).accepted
        assert self.scene.enrol(node.actor, **self.options).accepted
        self._tell_keeper()
        self._catch_up(node, len(self.scene.log))
        contract = node.ledger.contracts[CONTRACT]
        node.member = Member(node.actor.uid, contract, holds=contract.initial_base, origin=origin)
        node.inbox.clear()

    # ---- acts of a node

    def _read(self, node: Node) -> None:
        self._catch_up(node, min(len(self.scene.log), node.read + self.chance.randint(1, 3)))

    def _catch_up(self, node: Node, upto: int) -> None:
        for header, claim in self.scene.log[node.read : upto]:
            events = node.ledger.apply(header, claim).events
            node.inbox += [event for event in events if isinstance(event, OF_MEMBER)]
        node.read = upto
        due = [judged for index, judged in node.judging if index <= node.read]
        node.judging = [each for each in node.judging if each[0] > node.read]
        node.inbox += due

    def _speak(self, node: Node) -> None:
        if node.said:
            proposal = node.said.pop(0)
            outcome = self._say(node, proposal)
            if proposal.kind == "Offer":
                judged = m.OfferJudged(proposal.body["round"], outcome.accepted, outcome.reason)
                node.judging.append((len(self.scene.log), judged))

    def _say(self, node: Node, proposal: m.Propose) -> Outcome:
        body = {**proposal.body, "root": bytes(32)} if proposal.kind == "Offer" else proposal.body
        outcome = self.scene.say(node.actor, proposal.kind, known(proposal.kind, body, self.scene.rules))
        self._tell_keeper()
        return outcome

    def _think(self, node: Node) -> None:
        if node.inbox and node.member is not None:
            effects = node.member.handle(node.inbox.pop(0), self.now_s)
            for effect in effects:
                self._perform(node, effect)
            node.member.check()

    def _hear(self, node: Node) -> None:
        """A fetch ends: at somebody's who has the model, or nowhere."""
        fetch, node.fetch = node.fetch, None
        if fetch is None:
            return
        others = [
            other for other in self.nodes if other.actor.uid in fetch.holders and other.alive and not other.silent
        ]
        if fetch.digest in node.disk or any(fetch.digest in other.disk for other in others):
            node.disk.add(fetch.digest)
            node.inbox.append(m.Fetched(fetch.digest))
        else:
            node.inbox.append(m.FetchFailed(fetch.digest, "nobody has it"))

    def _move(self, node: Node) -> None:
        """Bytes of one contribution arrive, or their sender is given up."""
        exchange = node.exchange
        if exchange is None:
            return
        snap = exchange.snap
        missing = [each for each in snap.members if each.weight and each.uid not in exchange.here]
        if not missing:
            result = digest(f"{[(each.digest, each.weight) for each in snap.members if each.weight]}")
            if str(node) in self.liars:
                result = digest(f"{result} by {node}")
            node.disk.add(result)
            node.exchange = None
            node.inbox.append(m.Merged(snap.round, snap.attempt, result))
            return
        uid = self.chance.choice(missing).uid
        sender = next(each for each in self.nodes if each.actor.uid == uid)
        serves = sender.alive and not sender.silent
        asked = sender.member is not None and sender.member.part is not None and sender.member.part.snap == snap
        if uid == node.actor.uid or (serves and (asked or uid in exchange.here)):
            exchange.here.add(uid)
        elif (not serves or sender.read >= node.read) and uid not in exchange.said and self.chance.random() < 0.2:
            exchange.said.add(uid)
            node.inbox.append(m.Stalled(snap.round, snap.attempt, uid, "no byte for 5 s"))

    def _work(self, node: Node) -> None:
        """The program trains, and comes to its next sync point."""
        program, member = node.program, node.member
        if member is None or program.stage in ("waiting", "ended"):
            return
        if program.stage == "asks again":  # its learning node is another, its weights are the same
            assert program.asked is not None
            program.stage = "waiting"
            node.inbox.append(program.asked)
            return
        kind: Any = "begin" if program.stage == "begin" else "sync"
        if kind == "sync":
            program.batches += BATCHES
            program.syncs -= 1
            kind = "end" if program.syncs <= 0 else kind
        program.stage = "waiting"
        own = digest(f"{node.actor.uid} {node.actor.starts} {program.batches} on {program.model}")
        program.offered = {own}
        program.asked = m.Asked(kind, own, program.batches, 0)
        self.changes[own] = own
        self.ended |= {own} if kind == "end" else set()
        node.inbox.append(program.asked)

    # ---- effects

    def _perform(self, node: Node, effect: m.Effect) -> None:
        match effect:
            case m.Propose():
                if effect.kind == "Offer":
                    node.program.offered.add(effect.body["digest"])
                    assert effect.body["base"] in node.disk | {INITIAL}, "I8: nothing is offered on what is not here"
                node.said.append(effect)
            case m.BeginExchange():
                node.exchange = Exchange(effect.snap)
            case m.EndExchange():
                node.exchange = None
            case m.Fetch():
                node.fetch = effect
            case m.Rebase():
                assert node.program.asked is not None
                own = node.program.asked.digest
                moved = digest(f"{own} from {effect.origin} to {effect.base}")
                self.changes[moved] = own
                assert effect.base in node.disk, "a late change is put on a model that is here"
                failed = m.RebaseFailed(effect.base, "its model is gone")
                node.inbox.append(m.Rebased(effect.base, moved) if effect.origin in node.disk else failed)
            case m.Answer():
                self._answered(node, effect)
            case m.GiveUp():
                raise AssertionError(f"{node} gives up: {effect.error}")

    def _answered(self, node: Node, answer: m.Answer) -> None:
        program = node.program
        contract = node.ledger.contracts[CONTRACT]
        if answer.how in ("merged", "adopted"):
            assert answer.digest in node.disk, "I6: what is handed over is here, whole"
            round_ = contract.kept.of(answer.digest)
            assert round_ is not None, "I7: only what is committed is handed over"
            assert self.handed.setdefault(round_.round, answer.digest) == answer.digest, "P1: one model a round"
            counts = bool(program.offered & self.merged)
            trained = program.model and not answer.training_over
            assert counts or not trained or "gave up" in answer.note, "P3: a change that is in no merge is told"
            self.lost += "gave up" in answer.note
            program.model = answer.digest
        program.stage = "train"
        if answer.training_over:
            program.stage, node.final = "ended", answer.digest
        assert node.member is not None
        assert node.member.phase is Phase.RESTING
