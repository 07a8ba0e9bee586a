"""The contract: what a training agreed on, who is enrolled, which model is the base, and the round under way.

Called by the ledger, which has checked that the author is admitted and has the role. Guarantees: the first enrolment
fixes tensors, hash and options, and a later one that differs is refused with the field named; the base changes by
COMMIT and BaseLost only (I3, I7, I8); a member's weight is what it enrolled with; refusals change nothing.

Round numbers only grow: after COMMIT and after ABORT the next round has the next number (after ABORT with the same
base), and a reset contract goes on counting, so that a late message never means another round than its author meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from swarm.core import outer
from swarm.core.agreement import Enrolment, Options
from swarm.core.dispute import Dispute, convicts
from swarm.core.doubts import Doubts
from swarm.core.events import (
    Aborted,
    BaseLost,
    Committed,
    Event,
    Finished,
    MemberEnrolled,
    MemberGone,
    Misbehaved,
    SnapMade,
)
from swarm.core.interval import Interval
from swarm.core.kept import Commit, Kept
from swarm.core.level import Level
from swarm.core.membership import MEMBER, Member
from swarm.core.names import Identity
from swarm.core.offer import Offer, Terms
from swarm.core.round import HEARD, Phase, Round, quorum
from swarm.errors import Refused

__all__ = ["MEMBER", "Commit", "Contract", "Enrolment", "Member", "Options"]
_DECIDED = (Committed, Aborted)


class Contract:
    """One training contract. Methods answer with the events that follow, or raise the refusal and change nothing."""

    def __init__(self, name: str, fixed: Enrolment, *, first_round: int = 0) -> None:
        self.name = name
        self._fixed = fixed
        self.schema = fixed.schema
        self.hash = fixed.hash
        self.initial_base = fixed.initial_base
        self.options = fixed.options
        self.momenta = outer.momenta(self.schema) if self.options.outer == "nesterov" else None
        """The tensors that a base has beside the model's, which its digest covers too."""
        self.members: dict[str, Member] = {}
        self.finished = False
        self.commits = 0
        self.kept = Kept(self.members)
        self.interval = Interval(self.options.useAdaptiveSync)
        self.level = Level(self.options.upperEvery if self.options.upper else 0)
        self.dispute: Dispute | None = None
        self.doubts = Doubts(self.members)
        self.current = Round(first_round, self.initial_base, self._terms(self.initial_base))

    # ---- reading

    @property
    def round(self) -> int:
        return self.current.number

    @property
    def base(self) -> str:
        """The digest of the model that the next offers are made on; `initial_base` while there is none."""
        return self.current.base

    @property
    def has_model(self) -> bool:
        return self.base != self.initial_base

    @property
    def offers(self) -> Mapping[str, Offer]:
        return self.current.offers

    @property
    def snap(self) -> SnapMade | None:
        return self.current.attempt.snap if self.current.attempt else None

    @property
    def phase(self) -> str:
        return "finished" if self.finished else self.current.phase.value

    def live(self) -> list[str]:
        return sorted(uid for uid, member in self.members.items() if member.state == "live")

    def to_serve(self) -> list[str]:
        """Who may still come for the model: members that have neither left nor are lost."""
        return sorted(uid for uid, member in self.members.items() if member.state in ("live", "dropped", "restarted"))

    def waiting_for(self) -> list[str]:
        """Whose word the round lacks: offers of live members, then Readys of the attempt's."""
        if self.finished:
            return []
        if self.current.attempt:
            return [uid for uid in self.current.attempt.uids if uid not in self.current.attempt.ready]
        return self.current.awaited(self._taken())

    def sits_out(self, uid: str) -> bool:
        """Whether the round takes others: the member offers nothing, and has what they merge from them."""
        return self.current.line.is_behind(uid) or uid in self.left_out()

    def left_out(self) -> list[str]:
        """Whom the round does without for a doubt."""
        return self.doubts.out(self.current, self.options.minPeers) if self.doubts else []

    def _taken(self) -> list[str]:
        return sorted(set(self.live()).difference(self.left_out()))

    def behind(self) -> list[str]:
        """Members that lack the base and find nobody to get it from: they know it, and contribute nothing."""
        return [] if self.finished else self.kept.lacking()

    def state_of(self, uid: str) -> str:
        """For people: the member's state, and whether it is behind, or left out."""
        return "behind" if uid in self.behind() else "left out" if uid in self.left_out() else self.members[uid].state

    def standing(self) -> dict[str, Any]:
        return {"round": self.round, "base": self.base, "finished": self.finished}

    # ---- enrolling

    def enrol(self, uid: str, identity: Identity, asked: Enrolment) -> tuple[dict[str, Any], list[Event]]:
        self._fixed.must_fit(self.name, uid, identity, asked, self.members)
        known = self.members.get(uid)
        if known is not None:
            known.must_be_honest(self.name)
        if known is None and self.finished:
            raise Refused(
                f"training contract {self.name} is finished: its final model is {self.base}",
                hint=f"swarm contract reset {self.name}",
            )
        how: Literal["new", "again"] = "again" if known else "new"
        if asked.leads:
            for other in self.members.values():
                other.leads = False
        anchor = known.anchor if known and self.current.attempt else asked.anchors.get(uid, b"")  # as a merge counts it
        self.members[uid] = asked.member(identity, known.ordinal if known else len(self.members), anchor)
        if known is None:
            self.doubts.take_over(uid)
        if self.current.phase is Phase.COLLECTING:
            self.current.offers.pop(uid, None)  # its program began anew
        self.current.line.join(uid)
        result = {**self.standing(), "joined": how, "hash": self.hash, "options": self.options.to_wire()}
        return result, [MemberEnrolled(self.name, uid, how)]

    # ---- rounds

    def handle(
        self, kind: str, uid: str, body: Mapping[str, Any], *, group: int | None, met: bool, settles: bool
    ) -> list[Event]:
        """What a member or an SN says about the round or the model; ``group``: what the group weighs that it offers;
        ``met``, ``settles``: as for `core/level` and `core/round`."""
        match kind:
            case "Offer":
                return self.offer(uid, body, group)
            case "WindowClosed":
                return self.close_window(body)
            case "Ready":
                return self.ready(uid, body, settles=settles)
            case "Suspect":
                return self.suspect(uid, body)
            case "DeadlinePassed":
                return self.pass_deadline(body)
            case "Missing":
                return self.missing(uid, body["digest"], met=met)
            case "Leave":
                return self.leave(uid, body["reason"])
            case "Evidence":
                return self.evidence(uid, body)
        raise AssertionError(f"{kind} is in the table of kinds and nobody handles it")

    def offer(self, uid: str, body: Mapping[str, Any], group: int | None = None) -> list[Event]:
        member = self._speaking(uid, body, "Offer")
        if member.state == "restarted":
            raise Refused(f"{member} began anew since it enrolled in contract {self.name}: it has to enrol again")
        if body["base"] != self.base:
            raise Refused(
                f"{member} offers on base {body['base']}, round {self.round} of contract {self.name} is on {self.base}"
            )
        offered = Offer.of(member, body, self.current.terms, group)
        self.current.line.join(uid)
        member.on("offered")
        events: list[Event] = []
        if not self.sits_out(uid):  # else it says only that this member, who may have been gone, is there
            events = self.current.offer(uid, offered)
            self.interval.tell(uid, body.get("measured"))
        if self.kept.newest:
            self.kept.newest.held_by(uid)
        return self._settle(events)

    def close_window(self, body: Mapping[str, Any]) -> list[Event]:
        self._heard(body, "WindowClosed")
        self.current.close_window(self.left_out())
        return self._settle([])

    def ready(self, uid: str, body: Mapping[str, Any], *, settles: bool = False) -> list[Event]:
        last = self.kept.newest
        if last and (last.round, last.digest) == (body["round"], body["digest"]) and uid in self.members:
            # After COMMIT it means only: I, too, hold these bytes and serve them.
            last.signers = sorted({*last.signers, uid})
            last.held_by(uid)
            return []
        self._speaking(uid, body, "Ready")
        shards = tuple(body.get("shards", ()))
        return self._settle(self.current.ready(uid, body["attempt"], body["digest"], shards, settles=settles))

    def suspect(self, uid: str, body: Mapping[str, Any]) -> list[Event]:
        self._speaking(uid, body, "Suspect")
        return self._settle(self.current.suspect(uid, body["attempt"], body["uid"], alive=body.get("alive", False)))

    def pass_deadline(self, body: Mapping[str, Any]) -> list[Event]:
        self._heard(body, "DeadlinePassed")
        return self._settle(self.current.pass_deadline(body["attempt"], fewest=body.get("fewest", False)))

    def missing(self, uid: str, digest: str, *, met: bool = False) -> list[Event]:
        """A member finds nobody to get this model from. When nobody can have it any more, the base is lost.

        Not that of a finished contract: those who left it have loaded it, and there is one final model for all.
        """
        self._member(uid)
        commit = self.kept.of(digest)
        if commit is None:
            raise Refused(f"{digest} is none of the models that members of contract {self.name} keep")
        commit.missed_by(uid)
        lost = not self.finished and commit is self.kept.newest and not self.kept.servable(commit)
        return self._lose_base(f"nobody holds the base {digest} any more", met=met) if lost else self._settle([])

    def rebase(self, digest: str, who: Identity, *, met: bool) -> list[Event]:
        """A person gives up a base that nobody at hand can serve, though its holders may live somewhere."""
        if self.finished:
            hint = f"swarm contract reset {self.name} begins anew"
            raise Refused(f"contract {self.name} is finished: its final model stays {self.base}", hint=hint)
        self.kept.must_be_out_of_reach(digest, self.base, self.name)
        return self._lose_base(f"{who} has given up the base {digest}", met=met)

    def evidence(self, uid: str, body: Mapping[str, Any]) -> list[Event]:
        """What an owner signed for one shard; the verifier has checked that it did. Two different ones convict it."""
        self._member(uid)
        accused = self._member(body["uid"])
        if accused.state == "excluded" or not convicts(self.dispute, body, accused, self.name):
            return []
        accused.on("excluded")
        self.doubts.take_back(body["uid"])
        did = Misbehaved(self.name, body["uid"], body["round"], body["attempt"], body["shard"])
        reason = f"signed two different results for shard {did.shard} in attempt {did.attempt} of round {did.round}"
        return [did, *self._settle(self.current.without([did.uid], "excluded", reason))]

    def gone(self, uid: str, what: Literal["lost", "restarted", "left"], reason: str) -> list[Event]:
        """The member's node is lost or restarted, or it has left. Nothing for who is no member or has left before."""
        member = self.members.get(uid)
        if member is None or (member.state, what) not in MEMBER:
            return []
        member.on(what)
        return self._settle(self.current.without([uid], what, reason))

    def leave(self, uid: str, reason: str) -> list[Event]:
        member = self._member(uid)
        if member.state == "left":
            raise Refused(f"{member} has left contract {self.name} already")
        return self.gone(uid, "left", f"left: {reason}" if reason else "left")

    def draw(self, entry: bytes) -> None:
        """Who takes part in the round that the entry of this hash has begun."""
        self.current.line.draw(self.name, self.round, entry, self.live(), self.left_out())

    def back(self, uid: str) -> None:
        """The node of a member is live again: it is waited for once it has offered."""
        if uid in self.members:
            self.members[uid].on("back")

    # ---- how

    def _terms(self, base: str) -> Terms:
        has_model, stage = base != self.initial_base, self.level.stage
        return Terms.of(self.name, self.options, self.schema, self.members, has_model=has_model, stage=stage)

    def _member(self, uid: str) -> Member:
        if uid not in self.members:
            raise Refused(f"{uid} is not enrolled in contract {self.name}")
        return self.members[uid]

    def _speaking(self, uid: str, body: Mapping[str, Any], kind: str) -> Member:
        member = self._member(uid)
        member.must_be_in(self.name)
        self._heard(body, kind)
        return member

    def _heard(self, body: Mapping[str, Any], kind: str) -> None:
        if self.finished:
            raise Refused(f"contract {self.name} is finished: it takes no {kind}")
        if body["round"] != self.round:
            raise Refused(
                f"this {kind} is for round {body['round']} of contract {self.name}, which is in round {self.round}"
            )
        if kind not in HEARD[self.current.phase]:
            raise Refused(f"round {self.round} of contract {self.name} is {self.phase}: it takes no {kind}")

    def _settle(self, events: list[Event]) -> list[Event]:
        """Let the contract follow what its round has decided, and see whether that makes a snap due."""
        if not self.finished and not any(isinstance(event, _DECIDED) for event in events):
            events = [*events, *self.current.snap_if_due(self._taken())]
        settled: list[Event] = []
        for event in events:
            settled.append(event)
            match event:
                case MemberGone(uid=uid, what="dropped"):
                    self.members[uid].on("dropped")
                case Committed():
                    settled += self._commit(event)
                case Aborted():
                    if event.disputed and self.snap:
                        self.dispute = Dispute.of(event, self.snap)
                    owners = {self.snap.owner_of(piece) for piece in event.disputed} if self.snap else ()
                    self.doubts.aborted(event, owners)
                    self._next_round(self.base)
                case Finished():  # without a merge: all who offered are inactive and have stopped
                    self.finished = True
                    self._next_round(self.base)
        return settled

    def _commit(self, event: Committed) -> list[Event]:
        assert len(event.signers) >= quorum(len(event.members)), "I2: a majority of equal Readys"
        assert set(event.signers) <= set(event.members), "I2: only members sign"
        if self.dispute and self.doubts.until(self.dispute.outvoted) <= event.round:
            self.dispute = None
        self.doubts.committed(event.signers)
        self.kept.add(event)
        self.commits += 1
        self.finished = event.finished
        assert self.snap is not None, "I2: what is committed was merged"
        merged = {member.uid: member.weight for member in self.snap.members}
        self.level.committed(event.digest, sum(merged.values()), ending=self.current.ending)
        self._next_round(event.digest, merged)
        return [Finished(self.name, event.digest)] if event.finished else []

    def _next_round(self, base: str, merged: Mapping[str, int] | None = None) -> None:
        self.interval.next_round(merged or {})
        self.current = Round(self.current.number + 1, base, self._terms(base))

    def _lose_base(self, reason: str, *, met: bool) -> list[Event]:
        lost = self.base
        events = self.current.cancel(reason)
        base = self.kept.lose() or self.initial_base
        self.level.lost(lost, met=met)
        if base == self.initial_base:
            self.level.begin_anew()
        self._next_round(base)
        return [*events, BaseLost(self.name, lost, base)]

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        fixed = {
            "schema": self.schema.to_wire(), "hash": self.hash, "initial_base": self.initial_base,
            "options": self.options.to_wire(),
        }  # fmt: skip
        members = [[uid, *m.to_state()] for uid, m in sorted(self.members.items())]
        return {
            "name": self.name, "fixed": fixed, "members": members, "finished": self.finished, "commits": self.commits,
            "kept": self.kept.to_state(), "round": self.current.to_state(), **self.doubts.to_state(),
            "dispute": self.dispute and self.dispute.to_state(), **self.interval.to_state(), **self.level.to_state(),
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Contract:
        fixed = {**state["fixed"], "weight": 1, "syncFrequency": 1, "data_address": ""}
        new = cls(state["name"], Enrolment.of(fixed))
        new.members.update({uid: Member(*rest) for uid, *rest in state["members"]})
        new.finished, new.commits = state["finished"], state["commits"]
        new.kept.restore(state["kept"])
        new.interval.restore(state)
        new.level.restore(state)
        new.doubts.restore(state)
        new.dispute = Dispute.from_state(state["dispute"]) if state.get("dispute") else None
        new.current = Round.from_state(state["round"], new._terms(state["round"]["base"]))
        return new

    def check(self) -> None:
        """The invariants that hold between any two entries."""
        self.current.check()
        self.level.check()
        self.doubts.check()
        self.kept.check(self.round, self.base, self.initial_base)
        assert set(self.offers) <= set(self.members)
        for uid in self.offers if self.current.attempt is None else self.current.attempt.uids:
            assert self.members[uid].state == "live", f"I10: {uid} is waited for and is {self.members[uid].state}"
        if self.options.pickPeers and not self.current.attempt:
            assert self.current.line.holds(self.live()), "I10: who is live is picked, or is next"
        if self.finished:
            assert not self.current.offers, "I1: a finished contract collects nothing"
