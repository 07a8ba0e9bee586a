"""`Play`: groups that merge among themselves and, through their leaders, with each other, in exact numbers.

Used by tests of groups. It runs real members against a real ledger, in an order that a seed chooses. A model is one
fraction, and its digest is the digest of its text, so what has to come out can be computed beside it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from swarm.core import member_steps as m
from swarm.core.events import Aborted, BaseLost, Committed, ContractCleared, Finished, MemberGone, SnapMade
from swarm.core.kinds import known
from swarm.core.member import Member, Phase
from swarm.core.rules import KNOWN
from tests.core.scene import INITIAL, SMALL, Actor, Scene, digest

OF_MEMBER = (SnapMade, Committed, Aborted, BaseLost, Finished, ContractCleared, MemberGone)
UPPER = "all"
BRINGS = ("merged", "adopted")


@dataclass
class Seat:
    """A node's part in one contract, with what trains there: a program, or the group below."""

    actor: Actor
    contract: str
    member: Member
    inbox: list[m.Event] = field(default_factory=list)
    climbs: m.Climb | None = None
    above: Seat | None = None
    below: Seat | None = None
    syncs: int = 0
    asked: Fraction = Fraction(0)
    answers: list[Fraction] = field(default_factory=list)
    over: bool = False

    @property
    def leads(self) -> bool:
        return bool(self.member.contract.members[self.actor.uid].leads)


class Play:
    """``groups``: by name, the weights of its members; the first one leads."""

    def __init__(
        self,
        groups: dict[str, list[int]],
        *,
        every: int,
        syncs: int,
        seed: int = 1,
        min_peers: int = 0,
        upper_peers: int = 0,
        rules: int = KNOWN,
    ) -> None:
        self.chance = random.Random(seed)
        self.scene = Scene(rules=rules)
        self.every, self.groups = every, groups
        self.values: dict[str, Fraction] = {}
        self.seats: list[Seat] = []
        for name, weights in groups.items():
            for weight in weights:
                actor = Actor("sl", f"sl-{len(self.seats) + 1}", "ab"[len(self.seats) % 2])
                assert self.scene.join(actor).accepted
                least = min_peers or len(weights)
                above = {"upper": UPPER, "upperEvery": every, "upperPeers": upper_peers or len(groups)}
                options = {"minPeers": least, **above}
                leads = weight is weights[0] and not any(seat.contract == name for seat in self.seats)
                self.seats.append(self.sit(actor, name, options, weight=weight, leads=leads, syncs=syncs))

    def sit(
        self, actor: Actor, name: str, options: dict[str, Any], *, weight: int = 1, leads: bool = False, syncs: int = 0
    ) -> Seat:
        body = {
            "contract": name, "schema": SMALL.to_wire(), "hash": "blake3", "initial_base": INITIAL, "options": options,
            "weight": weight, "syncFrequency": 1, "data_address": "127.0.0.1:1", **({"leads": True} if leads else {}),
        }  # fmt: skip
        outcome = self.scene.say(actor, "Enrolled", body)
        assert outcome.accepted, outcome.reason
        contract = self.scene.ledger.contracts[name]
        return Seat(actor, name, Member(actor.uid, contract, holds=INITIAL), syncs=syncs)

    def digest(self, value: Fraction) -> str:
        made = digest(str(value))
        self.values[made] = value
        return made

    # ---- the programs: each adds its own number at every step

    def step_of(self, seat: Seat) -> Fraction:
        return Fraction(self.seats.index(seat) + 1) * len(seat.answers)

    def ask(self, seat: Seat) -> None:
        """At the next sync point; the first has the initial weights, the last the final ones."""
        model = seat.answers[-1] if seat.answers else Fraction(self.seats.index(seat))
        seat.asked = model + self.step_of(seat)
        kind = "begin" if not seat.answers else "end" if len(seat.answers) >= seat.syncs else "sync"
        seat.inbox.append(m.Asked(kind, self.digest(seat.asked), len(seat.answers), 0))

    # ---- the play

    def run(self, steps: int = 20_000) -> None:
        for _ in range(steps):
            if all(seat.over for seat in self.seats):
                return
            self.step()
        raise AssertionError(f"nothing goes on: {[(seat.contract, seat.member.phase) for seat in self.everybody()]}")

    def everybody(self) -> list[Seat]:
        return [*self.seats, *(seat.above for seat in self.seats if seat.above is not None)]

    def step(self, without: str = "") -> None:
        """``without``: the group whose members stand still."""
        still = {seat.actor.uid for seat in self.seats if seat.contract == without}
        seat = self.chance.choice([seat for seat in self.everybody() if seat.actor.uid not in still])
        if seat.inbox:
            for effect in seat.member.handle(seat.inbox.pop(0), 0.0):
                self.perform(seat, effect)
            seat.member.check()
        elif seat.below is None and seat.member.phase is Phase.RESTING and not seat.over:
            self.ask(seat)

    def perform(self, seat: Seat, effect: m.Effect) -> None:
        match effect:
            case m.Propose():
                body = known(effect.kind, effect.body, self.scene.rules)
                applied = self.scene.take(self.scene.claim(seat.actor, effect.kind, body))
                if effect.kind == "Offer":
                    outcome = applied.outcome
                    seat.inbox.append(m.OfferJudged(effect.body["round"], outcome.accepted, outcome.reason))
                self.tell(list(applied.events))
            case m.BeginExchange():
                seat.inbox.append(self.merged(effect.snap))
            case m.Fetch():
                assert effect.digest in self.values
                seat.inbox.append(m.Fetched(effect.digest))
            case m.Climb():
                self.climb(seat, effect)
            case m.Answer():
                self.answered(seat, effect)
            case m.GiveUp():
                raise effect.error

    def tell(self, events: list[Any]) -> None:
        for event in events:
            for other in self.everybody():
                if isinstance(event, OF_MEMBER) and event.contract == other.contract:
                    other.inbox.append(event)

    def merged(self, snap: SnapMade) -> m.Merged:
        counted = [(each.weight, self.values[each.digest]) for each in snap.members if each.weight]
        mean = sum(weight * value for weight, value in counted) / sum(weight for weight, _ in counted)
        return m.Merged(snap.round, snap.attempt, self.digest(Fraction(mean)))

    def climb(self, seat: Seat, effect: m.Climb) -> None:
        group = seat.member.contract
        if seat.above is None:
            options = group.options.above().to_wire()
            seat.above = self.sit(seat.actor, UPPER, options)
            seat.above.member = Member(
                seat.actor.uid, seat.above.member.contract, holds=INITIAL, origin=group.level.handed
            )
            seat.above.below = seat
        seat.climbs = effect
        kind = "begin" if effect.again else "end" if effect.ending else "sync"
        seat.above.inbox.append(m.Asked(kind, effect.base, 0, 0))

    def answered(self, seat: Seat, answer: m.Answer) -> None:
        if seat.below is not None:
            effect = seat.below.climbs
            assert effect is not None
            brought = answer.digest if answer.how in BRINGS else effect.base
            seat.below.inbox.append(m.Lifted(effect.base, brought, answer.training_over))
            return
        assert answer.how in BRINGS or "aborted" in answer.note, answer.note
        seat.answers.append(self.values[answer.digest] if answer.how in BRINGS else seat.asked)
        seat.over = answer.training_over

    def restart(self, seat: Seat) -> None:
        """Its node and its program begin anew."""
        seat.actor.restart()
        self.tell(self.scene.told(seat.actor, "NodeJoined", self.scene.joined(seat.actor)))
        contract, leads = seat.member.contract, seat.leads
        weight = contract.members[seat.actor.uid].weight
        options = contract.options.to_wire()
        anew = self.sit(seat.actor, seat.contract, options, weight=weight, leads=leads, syncs=seat.syncs)
        self.seats[self.seats.index(seat)] = anew

    # ---- what has to come out

    def expected(self, sync: int, models: dict[str, Fraction]) -> dict[str, Fraction]:
        """By group: the model after this many syncs, where ``models`` were the ones before."""
        found, weights = {}, {}
        for name, own in self.groups.items():
            seats = [seat for seat in self.seats if seat.contract == name]
            start = {id(seat): models.get(name, Fraction(self.seats.index(seat))) for seat in seats}
            trained = [start[id(seat)] + Fraction(self.seats.index(seat) + 1) * sync for seat in seats]
            weights[name] = sum(own)
            found[name] = sum(w * x for w, x in zip(own, trained, strict=True)) / Fraction(sum(own))
        if (sync + 1) % self.every == 0:
            above = sum(weights[name] * found[name] for name in found) / Fraction(sum(weights.values()))
            return dict.fromkeys(found, above)
        return found
