"""The proposals about tasks with roles: who may make them, and what follows. Their runs are kept by `core/jobs`.

Called by the board. Guarantees: a task is scaled by its author's organisation, or by a slot of its own for as long as
its lease goes on; refusals change nothing. Kinds: `core/role_kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from swarm.core.claims import EntryHeader, Verified
from swarm.core.events import Event
from swarm.core.jobs import Answer, Jobs
from swarm.core.jobslot import JobSlot
from swarm.core.names import Identity
from swarm.core.organisations import Anchors, key_of
from swarm.core.roles import TASK_SLOTS_MAX, Role
from swarm.core.rolesrun import RolesRun
from swarm.core.rules import Rules
from swarm.core.task import RUN_SWARM
from swarm.errors import BadInput, Refused

WORK_BYTES_MAX = 64 << 20
"""Of the items of all tasks of one organisation: every network node keeps them."""
NARROW_SINCE = 4
"""The version of the rules from which on a sweep has so many slots at most."""


class RolesBoard:
    """``let_go`` is told of a slot that was removed and is there again, for anybody. The rest: the ledger's own."""

    def __init__(self, jobs: Jobs, let_go: Callable[[str], None], anchors: Anchors, rules: Rules) -> None:
        self._jobs, self._let_go, self._anchors, self._rules = jobs, let_go, anchors, rules
        self.kinds: dict[str, Callable[[Verified, EntryHeader, Identity], Answer]] = {
            "RolesSubmitted": self._submitted,
            "RolesScaled": self._scaled,
            "GoalReached": self._goal_reached,
            "StartLapsed": self._start_lapsed,
            "RunLapsed": self._run_lapsed,
            "WorkPut": self._work_put,
            "WorkTaken": self._work_taken,
            "WorkDone": self._work_done,
            "WorkForgotten": self._work_forgotten,
            "WorkLapsed": self._work_lapsed,
        }

    def held(self, claim: Verified, body: Mapping[str, Any]) -> tuple[RolesRun, JobSlot]:
        """The slot for which its holder speaks, under the lease that it has now."""
        number = int(body["slot"].partition(".")[0])
        run = self._jobs.with_roles.get(number)
        slot = run.slots.get(body["slot"]) if run is not None else None
        if run is None or slot is None:
            raise Refused(f"there is no slot {body['slot']} of a task with roles")
        if not slot.leased or (slot.swop, slot.fence) != (claim.uid, body.get("fence")):
            raise Refused(f"{slot} is not leased to {claim.uid} with fence {body.get('fence')}")
        return run, slot

    def _submitted(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        body = claim.body
        where = (header.index, self._jobs.next_id, body["taskrunner"], body["name"])
        author = (claim.uid, identity.anchor, str(identity), header.time)
        roles = tuple(self._meant(Role.of(role)) for role in body["roles"])
        run = RolesRun.of(roles, body["within_s"], body["clean"], *where, *author)
        run.longest_s = body.get("longest_s", 0)
        if "variant" in body:
            if people := [role.name for role in roles if role.owner == "participant"]:
                raise Refused(
                    f"the role {people[0]} of task {run.task} is of participants, who join one swarm: none of a sweep's"
                )
            self._must_be_narrow(body["variant"]["of"], body["variant"]["count"] * run.terms.slots)
            run.variant = self._jobs.sweeps.variant(
                body["variant"], run.task, run.id, identity, draft=body.get("draft", False)
            )
            run.id += run.variant.id == run.id  # the first brings the sweep, which has an id, too
        result, events = self._jobs.admit(RUN_SWARM, run, claim, header, identity)
        whole = self._jobs.sweeps.whole(run)
        return {**result, **({"sweep": whole.id, "state": whole.state} if whole else {})}, events

    def _must_be_narrow(self, sweep: str, slots: int) -> None:
        """``slots``: as many as it may have if all of its swarms are like this one; each of them is asked."""
        if self._rules.active >= NARROW_SINCE and slots > TASK_SLOTS_MAX:
            raise Refused(
                f"the swarms of sweep {sweep} may have {slots} slots, expected at most {TASK_SLOTS_MAX} together",
                hint="list fewer values, or let Replicas have a smaller max",
            )

    def _meant(self, role: Role) -> Role:
        """With the organisations as key hashes: names are only unique at the moment they are read."""
        return replace(role, organisations=tuple(sorted({key_of(self._anchors, text) for text in role.organisations})))

    def _scaled(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        body = claim.body
        if ("to" in body) == ("by" in body):
            raise BadInput("RolesScaled says either how many slots there are to be, or how many more or fewer")
        run, who = self._to_scale(claim, identity)
        name = run.role_named(body["role"]).name
        count = body["to"] if "to" in body else run.wanted[name] + body["by"]
        added, removed, events = run.scale(name, count, f"removed by {who}", header.time)
        for slot in (slot for slot in added if not slot.leased):
            self._let_go(slot.id)
        events = self._jobs.then_deal(run, events, header)
        changed = {"added": _named(added), "removed": _named(removed)}
        return {"task": run.task, "role": name, "slots": count, **changed}, events

    def _to_scale(self, claim: Verified, identity: Identity) -> tuple[RolesRun, str]:
        body = claim.body
        if identity.role == "swop":
            if "slot" not in body:
                raise Refused(f"{identity} scales for no slot: an operator asks for what a slot of its own has asked")
            run, slot = self.held(claim, body)
            if body["task"] != run.task:
                raise Refused(
                    f"{slot} is of task {run.task}, and cannot scale {body['task']}: a slot scales its own task"
                )
            return run, f"{slot.role} {slot.index}"
        found = self._jobs.own(claim, identity, "scaled")
        if not isinstance(found, RolesRun):
            raise Refused(f"task {found.task} has no roles: it cannot be scaled")
        if found.state == "draft":
            raise Refused(
                f"task {found.task} is a draft: it cannot be scaled", hint=f"swarm task finalize {found.task}"
            )
        return found, str(identity)

    def _goal_reached(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        run, slot = self.held(claim, claim.body)
        return {}, self._jobs.then_deal(run, run.reach(slot, claim.body["reason"], header.time), header)

    def _start_lapsed(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        run = self._run(claim.body["run"])
        events: list[Event] = run.lapse(header.time)
        return {}, self._jobs.then_deal(run, events, header)

    def _run_lapsed(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        run = self._run(claim.body["run"])
        events: list[Event] = run.expire(header.time)
        return {}, self._jobs.then_deal(run, events, header)

    def _run(self, number: int) -> RolesRun:
        if number not in self._jobs.with_roles:
            raise Refused(f"there is no run {number} of a task with roles")
        return self._jobs.with_roles[number]

    # ---- items of work

    def _work_put(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        run, _ = self.held(claim, claim.body)
        items = [(key, value) for key, value in claim.body["items"]]
        self._must_have_room(run, sum(len(text.encode()) for item in items for text in item))
        return {"new": run.work.put(items, claim.body["within_s"])}, []

    def _must_have_room(self, run: RolesRun, more: int) -> None:
        """Of the items of all tasks of its organisation."""
        kept = sum(other.work.bytes for other in self._jobs.with_roles.values() if other.anchor == run.anchor)
        if kept + more > WORK_BYTES_MAX:
            raise Refused(
                f"the tasks of the organisation of {run.user} have items of {kept} bytes in the ledger, "
                f"and {more} more are over {WORK_BYTES_MAX}",
                hint="swarm.work.forget(keys) lets go of those that are done, swarm task rm of a task's",
            )

    def _work_taken(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        run, slot = self.held(claim, claim.body)
        item = run.work.take(slot.id, claim.body["nonce"])
        return {"key": item.key, "value": item.value, "lease": item.lease}, []

    def _work_done(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        run, slot = self.held(claim, claim.body)
        self._must_have_room(run, len(claim.body["result"].encode()))
        run.work.done(slot.id, claim.body["key"], claim.body["lease"], claim.body["result"])
        return {}, []

    def _work_forgotten(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        run, _ = self.held(claim, claim.body)
        return {"forgotten": run.work.forget(claim.body["keys"])}, []

    def _work_lapsed(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        self._run(claim.body["run"]).work.lapse(claim.body["key"], claim.body["lease"])
        return {}, []


def _named(slots: list[JobSlot]) -> list[dict[str, Any]]:
    return [{"id": slot.id, "role": slot.role, "index": slot.index} for slot in slots]
