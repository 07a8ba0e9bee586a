"""The proposals about tasks with roles: who may make them, and what follows. Their runs are kept by `core/jobs`.

Called by the board. Guarantees: a task is scaled by its author's organisation, or by a slot of its own for as long as
its lease goes on; refusals change nothing. Kinds: `core/role_kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from swarm.core.claims import EntryHeader, Verified
from swarm.core.events import Event
from swarm.core.jobs import Answer, Jobs
from swarm.core.jobslot import JobSlot
from swarm.core.names import Identity
from swarm.core.roles import Role
from swarm.core.rolesrun import RolesRun
from swarm.core.task import RUN_SWARM
from swarm.errors import BadInput, Refused


class RolesBoard:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
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
        roles = tuple(Role.of(role) for role in body["roles"])
        run = RolesRun.of(roles, body["within_s"], body["clean"], *where, *author)
        run.longest_s = body.get("longest_s", 0)
        if "variant" in body:
            run.variant = self._jobs.sweeps.variant(body["variant"], run.task, run.id, identity)
            run.id += run.variant.id == run.id  # the first brings the sweep, which has an id, too
        result, events = self._jobs.admit(RUN_SWARM, run, claim, header, identity)
        whole = self._jobs.sweeps.whole(run)
        return {**result, **({"sweep": whole.id, "state": whole.state} if whole else {})}, events

    def _scaled(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        body = claim.body
        if ("to" in body) == ("by" in body):
            raise BadInput("RolesScaled says either how many slots there are to be, or how many more or fewer")
        run, who = self._to_scale(claim, identity)
        name = run.role_named(body["role"]).name
        count = body["to"] if "to" in body else run.wanted[name] + body["by"]
        added, removed, events = run.scale(name, count, f"removed by {who}", header.time)
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
        return {"new": run.work.put(items, claim.body["within_s"])}, []

    def _work_taken(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        run, slot = self.held(claim, claim.body)
        item = run.work.take(slot.id, claim.body["nonce"])
        return {"key": item.key, "value": item.value, "lease": item.lease}, []

    def _work_done(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        run, slot = self.held(claim, claim.body)
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
