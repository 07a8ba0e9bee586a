"""The contract: what a training agreed on, who is enrolled, which model is the base, and the round under way.

Called by the ledger, which has checked that the author is admitted and has the role. Guarantees: the first enrolment
fixes tensors, hash and options, and a later one that differs is refused with the field named; the base changes by
COMMIT and BaseLost only (I3, I7, I8); a member's weight is what it enrolled with; refusals change nothing.

Round numbers only grow: after COMMIT and after ABORT the next round has the next number (after ABORT with the same
base), and a reset contract goes on counting, so that a late message never means another round than its author meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from swarm.core.agreement import Enrolment, Options
from swarm.core.events import Aborted, BaseLost, Committed, Event, Finished, MemberEnrolled, MemberGone, SnapMade
from swarm.core.names import Identity
from swarm.core.round import HEARD, Offer, Phase, Round, Terms
from swarm.errors import ModelError, Refused

__all__ = ["MEMBER", "MODELS_KEPT", "Commit", "Contract", "Enrolment", "Member", "Options", "State"]

MODELS_KEPT = 2
"""Committed models that members keep: the base and the one before it."""

State = Literal["live", "dropped", "lost", "restarted", "left"]

MEMBER: dict[tuple[State, str], State] = {
    ("live", "enrolled"): "live",
    ("dropped", "enrolled"): "live",
    ("lost", "enrolled"): "live",
    ("restarted", "enrolled"): "live",
    ("left", "enrolled"): "live",
    ("live", "offered"): "live",
    ("dropped", "offered"): "live",
    ("lost", "offered"): "live",
    ("live", "dropped"): "dropped",
    ("live", "lost"): "lost",
    ("dropped", "lost"): "lost",
    ("lost", "back"): "dropped",
    ("live", "restarted"): "restarted",
    ("dropped", "restarted"): "restarted",
    ("lost", "restarted"): "restarted",
    ("live", "left"): "left",
    ("dropped", "left"): "left",
    ("lost", "left"): "left",
    ("restarted", "left"): "left",
}
"""A member's states and what moves them. A pair that is not here changes nothing.

live = is waited for · dropped = missed a round, may offer · lost = its node is lost · restarted = its process began
anew and has to enrol again · left.
"""


@dataclass(slots=True)
class Member:
    name: str
    organisation: str
    ordinal: int
    weight: int
    sync_frequency: int
    data_address: str
    state: State = "live"

    def on(self, happened: str) -> None:
        self.state = MEMBER.get((self.state, happened), self.state)

    def __str__(self) -> str:
        return f"{self.name} ({self.organisation})"


@dataclass(slots=True)
class Commit:
    """A committed model that members still keep. ``signers`` said Ready with it; ``holders`` had it when last heard."""

    round: int
    digest: str
    signers: list[str]
    holders: list[str]


class Contract:
    """One training contract. Methods answer with the events that follow, or raise the refusal and change nothing."""

    def __init__(self, name: str, fixed: Enrolment, *, first_round: int = 0) -> None:
        self.name = name
        self.schema = fixed.schema
        self.hash = fixed.hash
        self.initial_base = fixed.initial_base
        self.options = fixed.options
        self.members: dict[str, Member] = {}
        self.finished = False
        self.commits = 0
        self.kept: list[Commit] = []
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

    def waiting_for(self) -> list[str]:
        """Whose word the round lacks: offers of live members, then Readys of the attempt's."""
        if self.finished:
            return []
        if self.current.attempt:
            return [uid for uid in self.current.attempt.uids if uid not in self.current.attempt.ready]
        return [uid for uid in self.live() if uid not in self.offers]

    def holders(self, digest: str) -> list[str]:
        """Members that had the committed model when last heard, by uid."""
        return next((sorted(commit.holders) for commit in reversed(self.kept) if commit.digest == digest), [])

    def standing(self) -> dict[str, Any]:
        return {"round": self.round, "base": self.base, "finished": self.finished}

    # ---- enrolling

    def enrol(self, uid: str, identity: Identity, asked: Enrolment) -> tuple[dict[str, Any], list[Event]]:
        self._fits(identity, asked)
        known = self.members.get(uid)
        if known is None and self.finished:
            raise Refused(
                f"training contract {self.name} is finished: its final model is {self.base}",
                hint=f"swarm contract reset {self.name}",
            )
        how: Literal["new", "again"] = "again" if known else "new"
        member = Member(
            identity.name,
            identity.organisation,
            known.ordinal if known else len(self.members),
            asked.weight,
            asked.sync_frequency,
            asked.data_address,
        )
        self.members[uid] = member
        if self.current.phase is Phase.COLLECTING:
            self.current.offers.pop(uid, None)  # its program began anew
        result = {**self.standing(), "joined": how, "hash": self.hash, "options": self.options.to_wire()}
        return result, [MemberEnrolled(self.name, uid, how)]

    def _fits(self, identity: Identity, asked: Enrolment) -> None:
        hint = f"use the contract's, or another training contract; `swarm contract reset {self.name}` starts it anew"
        if not self.options.admits(identity):
            raise Refused(f"contract {self.name} does not admit the organisation {identity.organisation}")
        tensors = self.schema.first_difference(asked.schema)
        if tensors:
            raise ModelError(f"the model does not fit contract {self.name}: {tensors}", hint=hint)
        options = self.options.difference(asked.options)
        if options:
            raise Refused(f"the options do not fit contract {self.name}: {options}", hint=hint)
        if self.hash != asked.hash:
            raise Refused(f"contract {self.name} has hash {self.hash}, this node has {asked.hash}", hint=hint)
        if self.initial_base != asked.initial_base:
            raise ModelError(
                f"contract {self.name} starts from {self.initial_base}, this node says {asked.initial_base} "
                "for the same tensors: they run different versions"
            )

    # ---- rounds

    def handle(self, kind: str, uid: str, body: Mapping[str, Any]) -> list[Event]:
        """What a member or an SN says about the round or the model."""
        match kind:
            case "Offer":
                return self.offer(uid, body)
            case "WindowClosed":
                return self.close_window(body)
            case "Ready":
                return self.ready(uid, body)
            case "Suspect":
                return self.suspect(uid, body)
            case "DeadlinePassed":
                return self.pass_deadline(body)
            case "Missing":
                return self.missing(uid, body["digest"])
            case "Leave":
                return self.leave(uid, body["reason"])
        raise AssertionError(f"{kind} is in the table of kinds and nobody handles it")

    def offer(self, uid: str, body: Mapping[str, Any]) -> list[Event]:
        member = self._speaking(uid, body, "Offer")
        if member.state == "restarted":
            raise Refused(f"{member} began anew since it enrolled in contract {self.name}: it has to enrol again")
        if body["base"] != self.base:
            raise Refused(
                f"{member} offers on base {body['base']}, round {self.round} of contract {self.name} is on {self.base}"
            )
        weight = 0 if body.get("inactive", False) else member.weight * int(body.get("weight_permille", 1000))
        offer = Offer(body["digest"], weight, body.get("stop", False), member.data_address, member.ordinal, str(member))
        events = self.current.offer(uid, offer)
        member.on("offered")
        if self.kept and uid not in self.kept[-1].holders:
            self.kept[-1].holders.append(uid)
        return self._settle(events)

    def close_window(self, body: Mapping[str, Any]) -> list[Event]:
        self._heard(body, "WindowClosed")
        self.current.close_window()
        return self._settle([])

    def ready(self, uid: str, body: Mapping[str, Any]) -> list[Event]:
        last = self.kept[-1] if self.kept else None
        if last and (last.round, last.digest) == (body["round"], body["digest"]) and uid in self.members:
            # After COMMIT it means only: I, too, hold these bytes and serve them.
            last.signers = sorted({*last.signers, uid})
            last.holders = sorted({*last.holders, uid})
            return []
        self._speaking(uid, body, "Ready")
        shards = tuple(body.get("shards", ()))
        return self._settle(self.current.ready(uid, body["attempt"], body["digest"], shards))

    def suspect(self, uid: str, body: Mapping[str, Any]) -> list[Event]:
        self._speaking(uid, body, "Suspect")
        return self._settle(self.current.suspect(uid, body["attempt"], body["uid"]))

    def pass_deadline(self, body: Mapping[str, Any]) -> list[Event]:
        self._heard(body, "DeadlinePassed")
        return self._settle(self.current.pass_deadline(body["attempt"]))

    def missing(self, uid: str, digest: str) -> list[Event]:
        """A member finds nobody to get this model from. When nobody can have it any more, the base is lost.

        Not that of a finished contract: those who left it have loaded it, and there is one final model for all.
        """
        self._member(uid)
        commit = next((commit for commit in reversed(self.kept) if commit.digest == digest), None)
        if commit is None:
            raise Refused(f"{digest} is none of the models that members of contract {self.name} keep")
        commit.signers = [signer for signer in commit.signers if signer != uid]
        commit.holders = [holder for holder in commit.holders if holder != uid]
        lost = not self.finished and commit is self.kept[-1] and not self._servable(commit)
        return self._lose_base() if lost else self._settle([])

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

    def back(self, uid: str) -> None:
        """The node of a member is live again: it is waited for once it has offered."""
        if uid in self.members:
            self.members[uid].on("back")

    # ---- how

    def _terms(self, base: str) -> Terms:
        first = self.options.initialModel == "first" and base == self.initial_base
        return Terms(
            self.name, self.options.minPeers, self.options.topology, self.schema.leaves, self.schema.nbytes, first
        )

    def _member(self, uid: str) -> Member:
        if uid not in self.members:
            raise Refused(f"{uid} is not enrolled in contract {self.name}")
        return self.members[uid]

    def _speaking(self, uid: str, body: Mapping[str, Any], kind: str) -> Member:
        member = self._member(uid)
        if member.state == "left":
            raise Refused(f"{member} has left contract {self.name}: it has to enrol again")
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
        if not self.finished and not any(isinstance(event, Committed | Aborted) for event in events):
            events = [*events, *self.current.snap_if_due(self.live())]
        settled: list[Event] = []
        for event in events:
            settled.append(event)
            match event:
                case MemberGone(uid=uid, what="dropped"):
                    self.members[uid].on("dropped")
                case Committed():
                    settled += self._commit(event)
                case Aborted():
                    self._next_round(self.base)
                case Finished():  # without a merge: all who offered are inactive and have stopped
                    self.finished = True
                    self._next_round(self.base)
        return settled

    def _commit(self, event: Committed) -> list[Event]:
        signers = list(event.signers)
        self.kept = [*self.kept, Commit(event.round, event.digest, signers, list(signers))][-MODELS_KEPT:]
        self.commits += 1
        self.finished = event.finished
        self._next_round(event.digest)
        return [Finished(self.name, event.digest)] if event.finished else []

    def _next_round(self, base: str) -> None:
        self.current = Round(self.current.number + 1, base, self._terms(base))

    def _servable(self, commit: Commit) -> bool:
        """Some signer has neither left nor missed it, or another live member had it when last heard."""
        return self._at_hand(commit) or any(self.members[uid].state != "left" for uid in commit.signers)

    def _at_hand(self, commit: Commit) -> bool:
        return any(self.members[uid].state in ("live", "dropped") for uid in commit.holders)

    def _lose_base(self) -> list[Event]:
        lost = self.base
        events = self.current.cancel(f"nobody holds the base {lost} any more")
        self.kept.pop()
        while self.kept and not self._at_hand(self.kept[-1]):
            self.kept.pop()
        base = self.kept[-1].digest if self.kept else self.initial_base
        self._next_round(base)
        return [*events, BaseLost(self.name, lost, base)]

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        fixed = {
            "schema": self.schema.to_wire(), "hash": self.hash, "initial_base": self.initial_base,
            "options": self.options.to_wire(),
        }  # fmt: skip
        members = [[uid, *(getattr(m, f.name) for f in fields(m))] for uid, m in sorted(self.members.items())]
        kept = [[c.round, c.digest, sorted(c.signers), sorted(c.holders)] for c in self.kept]
        return {
            "name": self.name, "fixed": fixed, "members": members, "finished": self.finished, "commits": self.commits,
            "kept": kept, "round": self.current.to_state(),
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Contract:
        fixed = {**state["fixed"], "weight": 1, "syncFrequency": 1, "data_address": ""}
        new = cls(state["name"], Enrolment.of(fixed))
        new.members = {uid: Member(*rest) for uid, *rest in state["members"]}
        new.finished, new.commits = state["finished"], state["commits"]
        new.kept = [Commit(*commit) for commit in state["kept"]]
        new.current = Round.from_state(state["round"], new._terms(state["round"]["base"]))
        return new

    def check(self) -> None:
        """The invariants that hold between any two entries."""
        self.current.check()
        assert self.base == (self.kept[-1].digest if self.kept else self.initial_base), "I8: the newest committed base"
        assert len(self.kept) <= MODELS_KEPT
        rounds = [*(commit.round for commit in self.kept), self.round]
        assert rounds == sorted(set(rounds)), "I1: one decision a round"
        assert set(self.offers) <= set(self.members)
        for uid in self.offers if self.current.attempt is None else self.current.attempt.uids:
            assert self.members[uid].state == "live", f"{uid} counts in the round and is {self.members[uid].state}"
        if self.finished:
            assert not self.current.offers, "a finished contract collects nothing"
