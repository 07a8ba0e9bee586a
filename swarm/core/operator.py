"""The operator: what a SWOP does about the slots of its host, from a lease to the last report.

Called by ``nodes/swop``, which performs what ``handle`` returns. The machine reads the leases as this node's own
replica of the ledger has them, and decides anew after every event, so that no missed event is missed for good.
Guarantees: nothing is started before the intent to start it is on disk, nor while anything else runs at its place of
the profile; what runs under a lease that is over is ended, and of it nothing more is said; a lease is over when an
entry of the ledger says so, never by a clock of this host; each attempt is concluded once.

    kept ──held──► waiting ──its place is free──► judging ─► looking ──ran──► running ──ended──► over
      │              ▲ leased                        │          │                ▲  │
      │                                              │          └─nothing─► intending ─► starting ─►┘
      └──not held──► reaping ──reaped──► over        └─refused─► over             ▲  its learning node died │
                                                                                  └─────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from swarm.core import operator_steps as o
from swarm.core.events import SlotAssigned, TaskrunnerCleared
from swarm.core.jobrun import JobRun
from swarm.core.jobslot import JobSlot
from swarm.core.ledger import Ledger
from swarm.core.operator_steps import Effect, Event, Refusal, Verdict
from swarm.core.slot import Slot
from swarm.core.task import RUN_JOBS, RUN_SWARM
from swarm.core.timekeeper import LEASE_S
from swarm.errors import Refused

RESTARTS_MAX = 3
"""Of one attempt's learning node: what dies of the same thing each time is for a person to look at."""
SAVING_S = 60.0
JOBS_ALONE_S = 25.0
"""So long a job goes on without the ledger: less than a lease, whose end gives its slot to another operator."""
STOPPED = "its operator was stopped"

Key = tuple[str, int]
"""The slot and its fence."""


class Phase(Enum):
    KEPT = "kept"
    """Its directory lies here from before; what runs there has not been looked at."""
    WAITING = "waiting"
    JUDGING = "judging"
    PREPARING = "preparing"
    LOOKING = "looking"
    INTENDING = "intending"
    STARTING = "starting"
    RUNNING = "running"
    REAPING = "reaping"
    OVER = "over"


IDLE = (Phase.KEPT, Phase.WAITING, Phase.OVER)
"""What is in none of these has its place of the profile to itself."""


@dataclass
class Attempt:
    lease: SlotAssigned
    phase: Phase
    on_disk: bool = False
    """Something may have been started in its directory."""
    why: str = ""
    """It was told to end, and why."""
    hurried: bool = False
    """It has no grace left."""
    killed: bool = False
    ran: bool = False
    """Its program has been started at least once."""
    mended: str = ""
    """How its learning node died before, and that it was started again."""
    last: o.Report | None = None
    """To be said once what runs has been reaped."""

    @property
    def key(self) -> Key:
        return (self.lease.slot, self.lease.fence)


class Operator:
    """The attempts of one SWOP. ``ledger`` gives this node's replica of the ledger as it is now."""

    def __init__(self, uid: str, ledger: Callable[[], Ledger]) -> None:
        self.uid = uid
        self.attempts: dict[Key, Attempt] = {}
        self.following = self.stopping = False
        self._ledger = ledger
        self._declined: set[int] = set()
        self._lost: tuple[float, str] | None = None
        self._sure_s: float | None = None
        """When a majority of the ledger was asked for last, and answered; while something runs that must not go on
        without."""

    def handle(self, event: Event, now_s: float) -> list[Effect]:
        return [*self._on(event, now_s), *self._follow()]

    def at_work(self) -> list[SlotAssigned]:
        """What runs here, is being started or is being ended."""
        return [attempt.lease for attempt in self.attempts.values() if attempt.phase not in IDLE]

    def holds(self, lease: SlotAssigned) -> bool:
        """Whether the ledger has leased this slot, with this fence, to this operator."""
        return self._slot(lease) is not None

    def _on(self, event: Event, now_s: float) -> list[Effect]:
        match event:
            case o.Kept(lease):
                attempt = Attempt(lease, Phase.KEPT, on_disk=True)
                self.attempts.setdefault(attempt.key, attempt)  # it may be known, and being ended
                return []
            case o.CaughtUp():
                self.following = True
                return []
            case o.LedgerMoved():
                return []
            case TaskrunnerCleared(run=run, by=by):
                return self._let_go((one for one in self._running() if one.lease.run == run), f"by {by}")
            case o.LedgerLost(reason):
                self._lost = self._lost or (now_s if self._sure_s is None else self._sure_s, reason)
                return []
            case o.LedgerSure(asked_s):
                self._sure_s = asked_s
                return []
            case o.LedgerBack():
                self._lost = None
                return []
            case o.Ticked():
                return self._ticked(now_s)
            case o.Stopped():
                return self._stop()
            case _:
                attempt_ = self.attempts.get((event.lease.slot, event.lease.fence))
                return self._on_attempt(attempt_, event) if attempt_ is not None else []

    def _on_attempt(self, attempt: Attempt, event: Event) -> list[Effect]:
        match event, attempt.phase:
            case o.Judged(), Phase.JUDGING:
                return self._judged(attempt, event)
            case o.Prepared(verdict=verdict, description=description), Phase.PREPARING:
                attempt.phase = Phase.OVER
                return self._say(attempt, verdict.state, verdict.reason, description=description)
            case o.Looked(ran=ran), Phase.LOOKING:
                return self._go_on(attempt, *((Phase.RUNNING, o.Adopt) if ran else (Phase.INTENDING, o.Intend)))
            case o.Intended(), Phase.INTENDING:
                attempt.on_disk = True
                return self._go_on(attempt, Phase.STARTING, o.Start)
            case o.Started(), Phase.STARTING:
                attempt.phase = Phase.RUNNING
                said = self._say(attempt, "starting", "") if not attempt.mended else []
                return [*said, *(self._end(attempt, STOPPED, 0.0) if self.stopping else [])]
            case o.NotStarted(why=why), Phase.PREPARING | Phase.INTENDING | Phase.STARTING:
                attempt.phase = Phase.OVER
                return [self._failure(attempt, why)] if self.holds(attempt.lease) else []
            case o.ProgramStarted(sl_uid=sl_uid), Phase.RUNNING:
                attempt.ran = True
                return self._say(attempt, "running", "", sl_uid=sl_uid, description=attempt.mended)
            case o.Ended(), Phase.RUNNING:
                return self._ended(attempt, event)
            case o.Reaped(), Phase.REAPING:
                attempt.phase = Phase.OVER
                return [attempt.last] if attempt.last is not None and self.holds(attempt.lease) else []
        return []

    # ---- what the ledger says

    def _leases(self) -> list[Slot]:
        return self._ledger().board.leases_of(self.uid)

    def _slot(self, lease: SlotAssigned) -> Slot | None:
        """The slot, if this very lease goes on."""
        held = (slot for slot in self._leases() if (slot.id, slot.fence) == (lease.slot, lease.fence))
        return next(held, None)

    def _follow(self) -> list[Effect]:
        """What the leases ask for by now."""
        if not self.following:
            return []
        leases = self._leases()
        held = {(slot.id, slot.fence) for slot in leases}
        effects: list[Effect] = []
        for attempt in [attempt for key, attempt in self.attempts.items() if key not in held]:
            effects += self._drop(attempt)
            over = attempt.phase is Phase.OVER  # its last report is in the ledger
            if over and not self._is_current(attempt.lease.run):
                del self.attempts[attempt.key]
                effects += [o.Forget(attempt.lease)] if attempt.on_disk else []
        effects += self._let_go(one for one in self._running() if self._is_cleared(one.lease.run) and not one.why)
        for attempt in self._running():
            if why := self._asked_to_end(attempt.lease):
                effects += self._end(attempt, why, 0.0, kill=self._is_killed(attempt.lease.run))
        return effects if self.stopping else [*effects, *self._take(leases)]

    def _take(self, leases: list[Slot]) -> list[Effect]:
        """Begin with what was leased, one after the other at each place of the profile."""
        effects: list[Effect] = []
        for slot in leases:
            attempt = self.attempts.get((slot.id, slot.fence))
            if attempt is None:
                attempt = self.attempts[slot.id, slot.fence] = Attempt(slot.assigned(), Phase.WAITING)
            if attempt.phase is Phase.KEPT:
                attempt.phase = Phase.WAITING
            if attempt.phase is Phase.WAITING and self._is_free(attempt.lease):
                attempt.phase = Phase.JUDGING
                effects.append(o.Judge(attempt.lease))
        return effects

    def _is_free(self, lease: SlotAssigned) -> bool:
        place = self._place(lease)
        return all(one.phase in IDLE for one in self.attempts.values() if self._place(one.lease) == place)

    def _place(self, lease: SlotAssigned) -> int | str:
        """Where one thing runs at a time: a node of the profile; for jobs, of which there is room for more, a slot."""
        task = self._ledger().tasks.get(lease.task)
        return lease.slot if task is None or task.run in self._ledger().board.jobs.runs else lease.index

    def runs_alone(self) -> bool:
        """Whether something runs here that has to end when the ledger is out of reach for long."""
        return any(self._is_alone(attempt.lease) for attempt in self._running())

    def _is_alone(self, lease: SlotAssigned) -> bool:
        """Whether it runs without a learning node, whose offers count under the current fence only."""
        slot = self._slot(lease)
        return isinstance(slot, JobSlot) and not self._ledger().board.jobs.runs[slot.run].merges(slot)

    def _asked_to_end(self, lease: SlotAssigned) -> str:
        """Why the ledger asks for the end of what it still leases to this operator; empty if it does not."""
        slot = self._slot(lease)
        return slot.ending if isinstance(slot, JobSlot) else ""

    def _is_killed(self, run: int) -> bool:
        found = self._ledger().board.run(run)
        return isinstance(found, JobRun) and found.killed

    def _drop(self, attempt: Attempt) -> list[Effect]:
        """Its lease is over: what runs is ended; what is under way is ended where it next asks to go on."""
        if attempt.phase is Phase.RUNNING:
            return self._end(attempt, self._why_over(attempt.lease), 0.0)
        return self._reap(attempt) if attempt.phase in (Phase.KEPT, Phase.WAITING) else []

    def _why_over(self, lease: SlotAssigned) -> str:
        try:
            _, slot = self._ledger().board.slot(lease.slot)
        except Refused:
            return "its lease is over: its run is"
        return "its slot was leased anew" if slot.fence != lease.fence else f"its lease is over: {slot.reason}"

    def _is_cleared(self, run: int) -> bool:
        try:
            return self._ledger().board.run(run).cleared
        except Refused:
            return True

    def _is_current(self, run: int) -> bool:
        runners = self._ledger().taskrunners.values()
        return any(runner.current is not None and runner.current.number == run for runner in runners)

    def _let_go(self, attempts: Iterable[Attempt], by: str = "") -> list[Effect]:
        """The taskrunner was reset: they end at once, or once they have saved the final model of their contract."""
        why = f"the taskrunner was reset {by}".rstrip()
        return [
            effect
            for attempt in attempts
            for effect in self._end(attempt, why, SAVING_S if self._saves(attempt) else 0.0)
        ]

    def _saves(self, attempt: Attempt) -> bool:
        uids = {slot.sl_uid for slot in self._leases() if slot.id == attempt.lease.slot}
        return any(contract.finished and uids & set(contract.members) for contract in self._ledger().contracts.values())

    # ---- one attempt

    def _running(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts.values() if attempt.phase is Phase.RUNNING]

    def _judged(self, attempt: Attempt, event: o.Judged) -> list[Effect]:
        lease = attempt.lease
        if not self.holds(lease):
            return self._reap(attempt)
        if event.refused is not None and attempt.on_disk:  # it was started when it was still accepted
            said = f"{event.refused.reason} ({event.refused.hint})"
            return self._reap(attempt, o.Report(lease, "stopped", said))
        if event.unfit is not None:  # by another profile, it may have been started
            return self._reap(attempt, self._failure(attempt, event.unfit))
        if event.refused is not None:
            attempt.phase = Phase.OVER
            new, self._declined = lease.fence not in self._declined, {*self._declined, lease.fence}
            return [o.Decline(lease, event.refused)] if new else []  # once for all that were leased at once
        if self._ledger().tasks[lease.task].type not in (RUN_SWARM, RUN_JOBS):
            return self._go_on(attempt, Phase.PREPARING, o.Prepare)
        return self._go_on(attempt, *((Phase.LOOKING, o.Look) if attempt.on_disk else (Phase.INTENDING, o.Intend)))

    def _go_on(self, attempt: Attempt, phase: Phase, effect: Callable[[SlotAssigned], Effect]) -> list[Effect]:
        """The next step, if the slot is still to be run."""
        if self.stopping or not self.holds(attempt.lease):
            return self._reap(attempt)
        if phase is not Phase.RUNNING and (why := self._asked_to_end(attempt.lease)):
            return self._reap(attempt, o.Report(attempt.lease, "stopped", why))
        attempt.phase = phase
        return [effect(attempt.lease)]

    def _reap(self, attempt: Attempt, last: o.Report | None = None) -> list[Effect]:
        if not attempt.on_disk:
            attempt.phase = Phase.OVER
            return [last] if last is not None and self.holds(attempt.lease) else []
        attempt.phase, attempt.last = Phase.REAPING, last
        return [o.Reap(attempt.lease)]

    def _end(self, attempt: Attempt, why: str, grace_s: float, *, kill: bool = False) -> list[Effect]:
        if kill and not attempt.killed:
            attempt.why, attempt.hurried, attempt.killed = attempt.why or why, True, True
            return [o.Kill(attempt.lease, attempt.why)]
        if attempt.hurried:
            return []
        attempt.why, attempt.hurried = attempt.why or why, grace_s <= 0
        return [o.End(attempt.lease, attempt.why, grace_s)]

    def _ended(self, attempt: Attempt, event: o.Ended) -> list[Effect]:
        verdict = event.verdict
        wanted = not attempt.why and not self.stopping and self.holds(attempt.lease)
        if verdict.died and event.starts <= RESTARTS_MAX and wanted:
            attempt.mended = f"{verdict.reason}; it was started again, {event.starts} of {RESTARTS_MAX} times"
            said = self._say(attempt, "running" if attempt.ran else "starting", attempt.mended)
            return [*said, *self._go_on(attempt, Phase.STARTING, o.Start)]
        if verdict.died and event.starts > RESTARTS_MAX:
            verdict = replace(verdict, reason=f"{verdict.reason}, {event.starts} times: it is not started again")
        if verdict.state in ("failed", "stopped") and event.asked:
            verdict = Verdict("stopped", attempt.why, verdict.exit_code)
        attempt.phase = Phase.OVER
        lines = event.lines if verdict.state == "failed" else ()
        said = self._say(attempt, verdict.state, verdict.reason, exit_code=verdict.exit_code, lines=lines)
        made = [replace(report, output=verdict.output) for report in said if isinstance(report, o.Report)]
        return [o.Conclude(attempt.lease, verdict), *made]

    def _failure(self, attempt: Attempt, why: Refusal) -> o.Report:
        """The report of a slot that could not be started."""
        lines = (o.printable(why.hint)[: o.LINE_MAX],) if why.hint else ()
        return o.Report(attempt.lease, "failed", why.reason, lines=lines)

    def _say(
        self,
        attempt: Attempt,
        state: str,
        reason: str,
        *,
        exit_code: int | None = None,
        sl_uid: str = "",
        description: str = "",
        lines: tuple[str, ...] = (),
    ) -> list[Effect]:
        """Nobody takes a report of a lease that is over."""
        if not self.holds(attempt.lease):
            return []
        return [o.Report(attempt.lease, state, reason, exit_code, sl_uid, description, lines)]

    # ---- the host

    def _stop(self) -> list[Effect]:
        """Workers end before their operator does; what was on its way to run never will."""
        self.stopping = True
        left = [one for one in self.attempts.values() if one.phase in (Phase.KEPT, Phase.WAITING) and one.on_disk]
        ending = [effect for attempt in self._running() for effect in self._end(attempt, STOPPED, 0.0)]
        return [*ending, *(effect for attempt in left for effect in self._reap(attempt))]

    def _ticked(self, now_s: float) -> list[Effect]:
        """A ledger out of reach ends no learning node: whether another runs the slots, only its entries say.

        A job is ended before anybody else can be given its slot.
        """
        if not self.runs_alone():
            self._sure_s = None
        if self._lost is None or not self._running():
            return []
        since_s, reason = self._lost
        jobs = [one for one in self._running() if self._is_alone(one.lease)]
        if now_s - since_s >= JOBS_ALONE_S and any(not one.why for one in jobs):
            why = f"the ledger was out of reach for {JOBS_ALONE_S:g} s: {reason}"
            return [effect for one in jobs for effect in self._end(one, why, 0.0)]
        if now_s - since_s < LEASE_S:
            return []
        self._lost = (now_s, reason)
        slots = ", ".join(attempt.lease.slot for attempt in self._running())
        return [o.Tell(f"the ledger is out of reach ({reason}): slots {slots} go on until it says that they are over")]
