"""The checkers of jobs and roles (P5): each job once, no role over its maximum, no item of work to two at a time.

They know of a task what its proposal said, of a slot what the events say, and which role it has; the rest is counted
here. What `checkers` holds against any slot (fences, reports, leases) holds for these too.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.sim.history import Entry, Fact, History
from tests.sim.verdict import Check

ENDED = ("done", "failed", "stopped")
TASK_ENDED = (*ENDED, "partial")
UNHEARD_S = 60.0
"""An operator that was down or frozen lately may not know yet that its lease has ended."""


@dataclass
class Slot:
    """Of what is leased now: ``fence`` and ``holder``. ``failures`` counts since the task was last tried again."""

    state: str = "waiting"
    leased: bool = False
    holder: str = ""
    failures: int = 0


@dataclass
class Run:
    """``roles``: by name, what the proposal said of them; of plain jobs there are ``terms``."""

    number: int
    terms: dict[str, Any]
    roles: dict[str, dict[str, Any]]
    slots: defaultdict[str, Slot] = field(default_factory=lambda: defaultdict(Slot))
    state: str = ""
    line: list[tuple[float, str, str, bool, bool]] = field(default_factory=list)
    """What became of its slots: when, which, its state, whether it has a lease, whether it has just got it."""
    items: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By key: the slot that did it, and with which number."""
    takers: dict[tuple[str, int], str] = field(default_factory=dict)
    put: set[str] = field(default_factory=set)


class Jobs(Check):
    sees = (
        "outcome", "SlotAssigned", "SlotChanged", "TaskChanged", "slot_role", "item_taken",
        "worker_started", "worker_ended", "crash", "start", "pause", "resume",
    )  # fmt: skip

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._runs: dict[int, Run] = {}
        self._roles: dict[str, str] = {}
        self._gang: list[tuple[Run, str, str]] = []
        """What the entry at hand has leased of gangs."""
        self._works: dict[str, dict[int, str]] = defaultdict(dict)
        """By slot, then fence: where its program runs."""
        self._upset_s: dict[str, float] = {}

    def see(self, fact: Fact) -> None:
        match fact:
            case ("outcome", at_s, _, _, hash_, accepted):
                self._end_of_entry(at_s)
                if accepted:
                    self._enter(self._history.entries[hash_])
            case ("SlotAssigned", at_s, _, slot, _, swop, *_) if (run := self._run_of(slot)) is not None:
                self._assigned(run, at_s, slot, swop)
            case ("SlotChanged", at_s, _, slot, _, _, state, leased) if (run := self._run_of(slot)) is not None:
                self._changed(run, at_s, slot, state, leased)
            case ("TaskChanged", _, _, _, number, _, state) if number in self._runs:
                self._runs[number].state = state
            case ("slot_role", _, _, slot, role):
                self._roles[slot] = role
            case ("item_taken", at_s, name, slot, _, key, number) if (run := self._run_of(slot)) is not None:
                if run.takers.setdefault((key, number), slot) != slot:
                    self.broken("P5", f"{key} was given twice as number {number} at {at_s:.3f} s, on {name} too")
            case ("worker_started", at_s, name, slot, fence) if self._run_of(slot) is not None:
                self._started(at_s, name, slot, fence)
            case ("worker_ended", _, _, slot, fence, _):
                self._works[slot].pop(fence, None)
            case ("crash" | "start" | "pause" | "resume", at_s, name, *_):
                self._upset_s[name] = at_s

    def _run_of(self, slot: str) -> Run | None:
        return self._runs.get(int(slot.partition(".")[0]))

    # ---- proposals

    def _enter(self, entry: Entry) -> None:
        body = entry.body
        match entry.kind:
            case "JobsSubmitted":
                self._runs[entry.index] = Run(entry.index, body["terms"], {})
            case "RolesSubmitted":
                self._runs[entry.index] = Run(entry.index, {}, {role["name"]: role for role in body["roles"]})
            case "JobsRetried":
                for run in self._runs.values():
                    for slot in run.slots.values():
                        slot.failures = 0
            case "WorkPut" if (run := self._run_of(body["slot"])) is not None:
                run.put.update(key for key, _ in body["items"])
            case "WorkDone" if (run := self._run_of(body["slot"])) is not None:
                did = (body["slot"], body["lease"])
                if body["key"] not in run.put:
                    self.broken("P5", f"{body['key']} is done and was never put")
                if run.items.setdefault(body["key"], did) != did:
                    self.broken("P5", f"{body['key']} was done twice: {run.items[body['key']]} and {did}")

    # ---- slots

    def _assigned(self, run: Run, at_s: float, id_: str, swop: str) -> None:
        slot = run.slots[id_]
        if run.state in TASK_ENDED:
            self.broken("P5", f"slot {id_} was leased at {at_s:.3f} s, and its task is {run.state}")
        if run.terms.get("gang"):
            self._gang.append((run, id_, swop))
        elif run.terms:
            self._dealt(run, at_s, id_)
        slot.state, slot.leased, slot.holder = "assigned", True, swop
        run.line.append((at_s, id_, slot.state, True, True))

    def _dealt(self, run: Run, at_s: float, id_: str) -> None:
        """A job on its own."""
        if run.slots[id_].state == "done":
            self.broken("P5", f"slot {id_} was done, and is run twice from {at_s:.3f} s on")
        probe = run.terms["probe"]
        tested = sum(slot.state == "done" for slot in run.slots.values())
        if tested < probe <= int(id_.partition(".")[2]):
            self.broken("P5", f"slot {id_} was leased at {at_s:.3f} s with {tested} of {probe} testers done")

    def _end_of_entry(self, at_s: float) -> None:
        """A gang is leased whole and to one operator, by one entry."""
        gang, self._gang = self._gang, []
        for run in {run.number: run for run, _, _ in gang}.values():
            places = [swop for other, _, swop in gang if other is run]
            if len(places) != run.terms["slots"] or len(set(places)) != 1:
                self.broken("P5", f"before {at_s:.3f} s {len(places)} of a gang of {run.terms['slots']} were leased")

    def _changed(self, run: Run, at_s: float, id_: str, state: str, leased: bool) -> None:
        slot = run.slots[id_]
        if run.terms and not run.terms["gang"]:
            if slot.state == "done" != state:
                self.broken("P5", f"slot {id_} was done, and is {state} at {at_s:.3f} s")
            slot.failures += state == "failed"
            if slot.failures > run.terms["restart"] + 1:
                self.broken("P5", f"slot {id_} failed {slot.failures} times by {at_s:.3f} s")
        slot.state, slot.leased = state, leased
        run.line.append((at_s, id_, state, leased, False))

    def _started(self, at_s: float, name: str, slot: str, fence: int) -> None:
        """No two programs of a slot run at once, but where the first one's operator could not know."""
        for other, place in self._works[slot].items():
            if other != fence and at_s - self._upset_s.get(place, -UNHEARD_S) >= UNHEARD_S:
                self.broken("P5", f"slot {slot} is run twice at once: on {place}, and on {name} from {at_s:.3f} s on")
        self._works[slot][fence] = name

    # ---- the end

    def end(self) -> None:
        for run in self._runs.values():
            for id_, slot in run.slots.items():
                if slot.leased or slot.state not in (*ENDED, "lost"):
                    self.broken("P5", f"slot {id_} has not ended: it is {slot.state}, at {slot.holder}")
            done = [id_ for id_, slot in run.slots.items() if slot.state == "done"]
            if run.terms and run.state == "done" and len(done) != run.terms["slots"]:
                self.broken(
                    "P5", f"run {run.number} is done with {len(done)} of {run.terms['slots']} jobs: one is lost"
                )
            if run.roles:
                self._judge_roles(run)

    def _judge_roles(self, run: Run) -> None:
        """Over the whole course, now that it is known which role each slot has."""
        now: dict[str, tuple[str, bool]] = {}
        well = False
        for at_s, id_, state, leased, fresh in run.line:
            role = run.roles.get(self._roles.get(id_, ""))
            if role is None:  # it was leased for a moment, and nobody has looked
                continue
            if fresh:
                self._may_start(run, at_s, id_, role, now)
            now[id_] = (state, leased)
            held = sum(has for other, (_, has) in now.items() if self._roles[other] == role["name"])
            if fresh and held > role["high"]:
                self.broken("P5", f"{held} slots of {role['name']} have a lease at {at_s:.3f} s, of {role['high']}")
            well = well or (role["lead"] and state == "done")
        ended = defaultdict(int)
        for id_, (state, _) in now.items():
            ended[self._roles[id_]] += state == "done"
        if run.state == "done" and not well and any(ended[name] < role["low"] for name, role in run.roles.items()):
            self.broken("P5", f"run {run.number} is done, and the minimum of its roles is not: {dict(ended)}")

    def _may_start(
        self, run: Run, at_s: float, id_: str, role: dict[str, Any], now: dict[str, tuple[str, bool]]
    ) -> None:
        if role["owner"] != "swop":
            return  # it joins when it likes, and its program waits
        for name in role["needs"]:
            up = sum(state in ("running", "done") for other, (state, _) in now.items() if self._roles[other] == name)
            if up < run.roles[name]["low"]:
                self.broken("P5", f"slot {id_} of {role['name']} was leased at {at_s:.3f} s with {up} {name} running")
