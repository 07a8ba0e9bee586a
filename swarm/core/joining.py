"""Participants: who has joined which slot of a task with roles, and what they say of it.

Kept by the board (`core/board`); the slots themselves are of `core/rolesrun`, leased by `core/jobs` as any others.
Guarantees: a slot that was joined once is bound to a key and to the identity that a certificate proved, for as long as
its task is there; only both together join it again, with a new fence, wherever they do it, until the slot has failed
(then anybody may), or was removed; who has one slot of a role has no second one; a slot that is done stays done;
nothing of a task runs or is done before it was started; refusals change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from swarm.core.claims import EntryHeader, Verified
from swarm.core.events import Event
from swarm.core.jobs import Answer, Jobs
from swarm.core.jobslot import Holder, JobSlot
from swarm.core.names import Identity
from swarm.core.organisations import Anchors, label
from swarm.core.roles import Role
from swarm.core.rolesrun import RolesRun
from swarm.core.tally import GIVEN_UP
from swarm.errors import Refused


@dataclass(frozen=True, slots=True)
class Binding:
    """What a slot was joined with: a key (its public half), and organisation, role and name of a certificate."""

    key: bytes
    anchor: bytes
    name: str
    organisation: str

    def is_of(self, identity: Identity) -> bool:
        return (self.anchor, self.name) == (identity.anchor, identity.name)

    def __str__(self) -> str:
        return f"{self.name} ({self.organisation})"


class Joining:
    """``bindings``: by slot, for reading. ``jobs``: the board's own. ``anchors``: the ledger's."""

    def __init__(self, jobs: Jobs, anchors: Anchors) -> None:
        self.bindings: dict[str, Binding] = {}
        self._jobs, self._anchors = jobs, anchors
        self.kinds: dict[str, Callable[[Verified, EntryHeader, Identity], Answer]] = {
            "SlotJoined": self._joined,
            "SlotTold": self._told,
        }

    # ---- joining

    def _joined(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        body = claim.body
        run = self.run_of(body["task"])
        role = joinable(run, body["role"])
        self._must_be_invited(run, role, identity)
        slot = self._own(run, role, body["key"], identity) or self._free(run, role, body.get("indices", ()))
        events = self._vacated(run, slot, claim, header)
        if slot.sl_uid == claim.uid:  # it does not replace itself
            slot.sl_uid = ""
        before = self.bindings.get(slot.id)
        again = before is not None and before.key == body["key"]
        self.bindings[slot.id] = Binding(body["key"], identity.anchor, identity.name, identity.organisation)
        holder = Holder(claim.uid, f"{identity.name} ({identity.organisation})", identity.anchor)
        events += self._jobs.lease(run, [slot], holder, [()], header.index, header.time)
        events += self._jobs.then_deal(run, [], header)
        told = {"slot": slot.id, "index": slot.index, "fence": slot.fence, "attempt": slot.attempt, "again": again}
        return told, events

    def _must_be_invited(self, run: RolesRun, role: Role, identity: Identity) -> None:
        if role.organisations and f"sha256:{identity.anchor.hex()}" not in role.organisations:
            keys = {f"sha256:{key.hex()}": label(self._anchors, key) for key in self._anchors}
            who = ", ".join(keys.get(key, key) for key in role.organisations)
            raise Refused(
                f"{identity} cannot join {role.name} of task {run.task}: it is for participants of {who}",
                hint="Organisations of the role, in the task's file, says whose participants may join",
            )

    def run_of(self, task: str) -> RolesRun:
        run = self._jobs.of(task)
        if not isinstance(run, RolesRun):
            raise Refused(f"there is no task {task} with roles: nobody can join it", hint="swarm task ls shows them")
        return run

    def _own(self, run: RolesRun, role: Role, key: bytes, identity: Identity) -> JobSlot | None:
        """The slot that this key and this identity have; raises when one of them has one and the other has not."""
        for slot in run.slots_of(role.name):
            binding = self.bindings.get(slot.id)
            if binding is None or (binding.key != key and not binding.is_of(identity)):
                continue
            if binding.key != key:
                raise Refused(
                    f"{role.name} {slot.index} of task {run.task} is {binding}'s under another key",
                    hint="join with the key file that it was joined with first",
                )
            if not binding.is_of(identity):
                raise Refused(
                    f"the key is that of {role.name} {slot.index} of task {run.task}, which {binding} joined: "
                    f"{identity} is another certificate",
                    hint="a slot is joined again with the same key and the same certificate",
                )
            if slot.state == "done":
                raise Refused(f"{role.name} {slot.index} of task {run.task} is done: there is nothing left to join")
            return slot
        return None

    def _free(self, run: RolesRun, role: Role, indices: Sequence[int]) -> JobSlot:
        """One that nobody has joined, or that whoever did has failed, with one of these indices; with any, if none.

        Before the start, if there is no other, one that was given back, too.
        """
        there = [slot for slot in run.slots_of(role.name) if not indices or slot.index in indices]
        idle = GIVEN_UP if not run.unstarted else (*GIVEN_UP, "waiting")
        left = [slot for slot in there if not slot.leased and slot.state != "done"]
        if free := [slot for slot in left if slot.id not in self.bindings or slot.state in idle]:
            return min(free, key=lambda slot: run.unstarted and slot.id in self.bindings)
        holders = ", ".join(str(self.bindings[slot.id]) for slot in there if slot.id in self.bindings)
        more = run.wanted[role.name] < role.high
        room = f"swarm scale {run.task} {role.name}=+1" if more else "it has as many as it may have"
        if not there:
            raise Refused(f"there is no slot of {role.name} of task {run.task} in this group", hint=room)
        which = " of this group" if indices else ""
        raise Refused(
            f"all {len(there)} slots of {role.name} of task {run.task}{which} are taken: by {holders}", hint=room
        )

    def _vacated(self, run: RolesRun, slot: JobSlot, claim: Verified, header: EntryHeader) -> list[Event]:
        """The lease under which it ran before ends, unless another process still holds it."""
        if not slot.leased:
            return []
        if slot.swop != claim.uid and slot.state != "lost":
            raise Refused(
                f"{slot.role} {slot.index} of task {run.task} is run by another process with this certificate and key",
                hint="stop that one first; join from its state directory to go on where it was",
            )
        return self._jobs.then_deal(run, run.vacate(slot, "its participant joined anew", header.time), header)

    def let_go(self, slot: str) -> None:
        """It was removed, and has ended: whoever comes may have it next."""
        self.bindings.pop(slot, None)

    # ---- going on

    def _told(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        """As an operator reports of its slots."""
        number = int(claim.body["slot"].partition(".")[0])
        run = self._jobs.with_roles.get(number)
        slot = run.slots.get(claim.body["slot"]) if run is not None else None
        if run is None or slot is None or slot.id not in self.bindings:
            raise Refused(f"there is no slot {claim.body['slot']} that a participant has joined")
        if run.unstarted and (state := claim.body["state"]) in ("running", "done"):
            raise Refused(
                f"{slot.role} {slot.index} of task {run.task} cannot be {state}: nobody has started the task",
                hint=f"swarm task start {run.task}",
            )
        return {"state": slot.state}, self._jobs.report(run, slot, claim, header)

    # ---- keeping

    def prune(self) -> None:
        """Forget what was bound to slots of tasks that are gone."""
        for id_ in [id_ for id_ in self.bindings if int(id_.partition(".")[0]) not in self._jobs.runs]:
            del self.bindings[id_]

    def to_state(self) -> dict[str, Any]:
        """Nothing while nobody has joined anything."""
        if not self.bindings:
            return {}
        rows = [[id_, b.key, b.anchor, b.name, b.organisation] for id_, b in sorted(self.bindings.items())]
        return {"joined": rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.bindings = {id_: Binding(*rest) for id_, *rest in state.get("joined", [])}

    def check(self) -> None:
        for id_ in self.bindings:
            run = self._jobs.runs[int(id_.partition(".")[0])]
            assert isinstance(run, RolesRun)
            assert run.role(run.slots[id_]).owner == "participant"


def joinable(run: RolesRun, name: str) -> Role:
    """The role, if participants may join it now; raises Refused."""
    if run.over or run.ending:
        raise Refused(f"task {run.task} is {run.state}: nobody can join it any more", hint=run.reason)
    if run.state == "draft":
        raise Refused(
            f"task {run.task} is a draft: nobody can join it yet",
            hint=f"when its author says swarm task finalize {run.task}",
        )
    role = run.role_named(name)
    if role.owner != "participant":
        people = [each.name for each in run.roles if each.owner == "participant"]
        raise Refused(
            f"role {name} of task {run.task} is run by operators, nobody joins it",
            hint=f"participants join as {' or '.join(people)}" if people else "no role of this task takes participants",
        )
    return role


def waits_for(run: RolesRun, role: Role) -> str:
    """Whom a participant of this role has to wait for before its program starts; empty: for nobody."""
    parts = [f"its start (swarm task start {run.task})"] if run.unstarted else []
    parts += [_missing(run, needed, ("running", "done"), "run") for needed in map(run.role_named, role.needs)]
    people = (each for each in run.roles if each.owner == "participant" and each.name not in role.needs)
    parts += [_missing(run, each, ("assigned", "starting", "running", "done"), "joined") for each in people]
    return "; ".join(part for part in parts if part)


def _missing(run: RolesRun, role: Role, states: Iterable[str], word: str) -> str:
    there = sum(slot.state in tuple(states) for slot in run.slots_of(role.name))
    return f"{role.low - there} more {role.name} ({there} of {role.low} {word})" if there < role.low else ""
