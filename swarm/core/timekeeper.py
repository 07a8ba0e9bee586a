"""The timekeeper: the durations that the leader times by its own monotonic clock, and ends by proposing.

Run by the driver while its node leads; a new leader starts a new one, so every duration begins anew. Reads the ledger,
changes nothing: what it proposes is judged like anybody's. Guarantees: each round's window closes, each attempt passes
its deadline, each silent node is declared lost and its leases end, as long as ticks come; a pause of the leader counts
against nobody.

    duration   begins when                                    ends with         length
    window     minPeers have offered and a live one has not   WindowClosed      clamp(1.5 x observed, 2 s, 30 s)
    line       fewer have, and others stand behind them;      WindowClosed      tooFewPeersSeconds
               or some have, and others are left out
    deadline   an attempt begins                              DeadlinePassed    (20 s + 3 x expected) x 1.5 an attempt
    start      the first slot of a task with roles was dealt  StartLapsed      as the task says
    run        the same, where the task says how long         RunLapsed        as the task says
    item       an item of its work is taken                   WorkLapsed       as who put it there says
    silence    the last sign of life                          NodeLost          9 s, 27 s of many at once; none if
                                                                                it said that it stops
    lease      the last sign of life of the slot's operator   LeaseEnded        30 s

What is expected of an attempt follows from the bytes that it moves and the rates that its members have measured, or
from how long the attempts before it took, if that is more. The 20 s are for suspicion, which is by progress: a member
whose bytes do not come is named by those who wait for them before the deadline, also one that gives signs of life. Each
Ready says that the attempt works: whoever is not so far is given as long again. Both are bounded, or members that are
Ready one after the other, each just before the deadline, would put it off without an end.

Many that are silent at once are more likely behind a machine or a link that is slow, and come back, than dead: where
most of the others are silent too, each is given three times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from swarm.core import layout
from swarm.core.contract import Contract
from swarm.core.events import Committed, Event, MemberReady, NodeKnown, SnapMade
from swarm.core.exchanging_silence import PATIENCE, SILENT_S
from swarm.core.ledger import Ledger

GRACE_S = (2.0, 30.0)
MARGIN_S = PATIENCE * SILENT_S + 5.0
LONGER = 1.5
LONGEST = 4
"""So many times what its bytes alone ask for is the most that an attempt is given for what earlier ones took, and so
many times that is the most that Readys make of it."""
SILENCE_S = 9.0
"""So that a death is known within 10 s, whenever the last sign of life was told."""
MANY = 4
"""Fewer than these are no crowd: one that died with another is lost as soon as one that died alone."""
LONGER_TOGETHER = 3
LEASE_S = 30.0
DOUBT_S = 600
"""Where a contract waits without an end: so long for others than those who are left out for a doubt."""
STOPPED = "it was stopped"
AGAIN_S = 5.0
"""A proposal that changed nothing (lost on its way, refused by a narrow miss) is made again after this."""
PAUSE_S = 2.0
"""Ticks further apart than this: the leader itself stood still, and heard nobody."""
_NEW_PART = 0.3


@dataclass(frozen=True, slots=True)
class Tick:
    now_s: float


@dataclass(frozen=True, slots=True)
class Propose:
    kind: str
    body: dict[str, Any]


@dataclass(slots=True)
class _Timer:
    began_s: float
    length_s: float
    propose: Propose
    due_s: float


Key = tuple[str, str, int, int]  # kind, contract, round, attempt


class Timekeeper:
    def __init__(self, ledger: Ledger, own_uid: str, now_s: float) -> None:
        self._ledger = ledger
        self._own_uid = own_uid
        self._now_s = now_s
        self._heard_s: dict[str, float] = {}
        self._signs: set[str] = set()  # of life since the last tick: after a short pause they are younger than that
        self._timers: dict[Key, _Timer] = {}
        self._lateness_s: dict[str, float] = {}  # per contract: from minPeers offers to all
        self._attempt_s: dict[str, float] = {}  # per contract: from snap to COMMIT
        self._asked_s: dict[tuple[str, str], float] = {}  # kind and whom: proposed lately because of silence
        self._head = -1  # of the ledger, when timers and those who are watched were last looked at

    def alive(self, uid: str, now_s: float) -> None:
        """A sign of life of this node, heard here or by another SN."""
        if uid in self._heard_s:
            self._heard_s[uid] = max(now_s, self._heard_s[uid])
            self._signs.add(uid)

    def going(self, uid: str, incarnation: bytes) -> list[Propose]:
        """This process has said that it stops: nobody has to wait until its silence has lasted."""
        node = self._ledger.nodes.get(uid) if uid in self._heard_s else None
        if node is None or node.state != "live" or node.incarnation != incarnation:
            return []
        if not self._not_asked("NodeLost", uid):
            return []
        return [Propose("NodeLost", {"uid": uid, "incarnation": incarnation, "reason": STOPPED})]

    def handle(self, event: Tick | Event) -> list[Propose]:
        """Ticks come at least every half second; the ledger's events after they were applied."""
        match event:
            case Tick():
                self._move_to(event.now_s)
                self._look()
                return [*self._due(), *self._silent(), *self._leases_over()]
            case NodeKnown():
                self._heard_s[event.uid] = self._now_s
            case SnapMade(attempt=0):
                window = self._timers.get(("WindowClosed", event.contract, event.round, 0))
                self._learn(self._lateness_s, event.contract, self._now_s - window.began_s if window else 0.0)
            case MemberReady():
                self._prolong(("DeadlinePassed", event.contract, event.round, event.attempt))
                return []
            case Committed():
                deadline = self._timers.get(("DeadlinePassed", event.contract, event.round, event.attempt))
                self._learn(self._attempt_s, event.contract, self._now_s - deadline.began_s if deadline else 0.0)
            case _:
                return []
        self._begin_and_drop()
        return []

    def _look(self) -> None:
        """What there is to time changes with the ledger only."""
        if self._head != self._ledger.head_index:
            self._head = self._ledger.head_index
            self._begin_and_drop()
            self._watch()

    def _move_to(self, now_s: float) -> None:
        pause_s = now_s - self._now_s
        self._now_s = now_s
        self._heard_s.update((uid, now_s) for uid in self._signs if uid in self._heard_s)
        self._signs.clear()
        if pause_s <= PAUSE_S:
            return
        for uid in self._heard_s:
            self._heard_s[uid] = min(self._heard_s[uid] + pause_s, now_s)
        for timer in self._timers.values():
            timer.began_s += pause_s
            timer.due_s += pause_s

    # ---- windows and deadlines

    def _begin_and_drop(self) -> None:
        """A timer for every duration that the ledger's state asks for; none for those that are over."""
        wanted = dict(self._wanted())
        self._timers = {key: timer for key, timer in self._timers.items() if key in wanted}
        for key, (length_s, propose) in wanted.items():
            if key not in self._timers:
                self._timers[key] = _Timer(self._now_s, length_s, propose, self._now_s + length_s)

    def _wanted(self) -> Iterator[tuple[Key, tuple[float, Propose]]]:
        for name, contract in sorted(self._ledger.contracts.items()):
            where: dict[str, Any] = {"contract": name, "round": contract.round}
            if contract.phase == "merging":
                attempt = contract.snap.attempt if contract.snap else 0
                propose = Propose("DeadlinePassed", {**where, "attempt": attempt, "fewest": True})
                yield ("DeadlinePassed", name, contract.round, attempt), (self._deadline_s(contract, attempt), propose)
            elif self._window_open(contract):
                close = Propose("WindowClosed", where)
                yield ("WindowClosed", name, contract.round, 0), (self._grace_s(contract), close)
            elif self._line_stands(contract):
                limit_s = float(contract.options.tooFewPeersSeconds or DOUBT_S)
                times = 1 + contract.current.line.moves
                yield ("WindowClosed", name, contract.round, times), (limit_s, Propose("WindowClosed", where))
        for number, run in self._ledger.board.jobs.with_roles.items():
            if run.starting:
                lapse = Propose("StartLapsed", {"run": number})
                yield ("StartLapsed", run.task, number, 0), (float(run.within_s), lapse)
            if run.limited:
                over = Propose("RunLapsed", {"run": number})
                yield ("RunLapsed", run.task, number, 0), (float(run.longest_s), over)
            for key, item in run.work.leased.items():
                lapse = Propose("WorkLapsed", {"run": number, "key": key, "lease": item.lease})
                yield ("WorkLapsed", key, number, item.lease), (float(item.within_s), lapse)

    def _window_open(self, contract: Contract) -> bool:
        enough = len(contract.offers) >= contract.options.minPeers
        closed = contract.current.window_closed  # what was offered so far weighs nothing
        return contract.phase == "collecting" and enough and not closed and bool(contract.waiting_for())

    def _line_stands(self, contract: Contract) -> bool:
        """Whether too few of those who are picked have offered, and others stand behind them: who hangs makes room.

        For who is left out of rounds only once somebody has offered: before, the others train, for however long.
        """
        few = contract.phase == "collecting" and len(contract.offers) < contract.options.minPeers
        moves = contract.options.tooFewPeersSeconds > 0 and contract.current.line.can_move_up()
        return few and (moves or (bool(contract.offers) and bool(contract.left_out())))

    def _grace_s(self, contract: Contract) -> float:
        """Where rounds have a goal, none has shown how late members are."""
        low, high = GRACE_S
        seen_s = high if contract.options.asyncGoal else self._lateness_s.get(contract.name, high)
        return min(max(1.5 * seen_s, low), high)

    def _deadline_s(self, contract: Contract, attempt: int) -> float:
        assert contract.snap is not None
        asked_s = MARGIN_S + 3 * layout.expected_s(contract.snap, contract.schema.nbytes)
        took_s = MARGIN_S + 3 * self._attempt_s.get(contract.name, 0.0)
        return float(min(max(asked_s, took_s), LONGEST * asked_s) * LONGER**attempt)

    def _prolong(self, key: Key) -> None:
        if timer := self._timers.get(key):
            lasts_s = min(2 * (self._now_s - timer.began_s), LONGEST * timer.length_s)
            timer.due_s = max(timer.due_s, timer.began_s + lasts_s)

    def _due(self) -> list[Propose]:
        due = [timer for _, timer in sorted(self._timers.items()) if timer.due_s <= self._now_s]
        for timer in due:
            timer.due_s = self._now_s + AGAIN_S
        return [timer.propose for timer in due]

    def _learn(self, averages: dict[str, float], contract: str, seen_s: float) -> None:
        before = averages.get(contract, seen_s)
        averages[contract] = before + _NEW_PART * (seen_s - before)

    # ---- silence

    def _watch(self) -> None:
        """Whose signs of life count: SNs are told apart by the order itself, and never declared lost here."""
        holders = {slot.swop for slot in self._ledger.board.leases()}
        watched = [
            uid
            for uid, node in sorted(self._ledger.nodes.items())
            if (node.state == "live" or uid in holders) and node.identity.role != "sn" and uid != self._own_uid
        ]
        self._heard_s = {uid: self._heard_s.get(uid, self._now_s) for uid in watched}
        self._asked_s = {key: at_s for key, at_s in self._asked_s.items() if self._now_s - at_s < AGAIN_S}

    def _silent(self) -> list[Propose]:
        silent, limit_s = [], self._silence_s()
        for uid, heard_s in self._heard_s.items():
            node, quiet_s = self._ledger.nodes[uid], self._now_s - heard_s
            if node.state == "live" and quiet_s >= limit_s and self._not_asked("NodeLost", uid):
                body = {"uid": uid, "incarnation": node.incarnation, "reason": _silence(quiet_s)}
                silent.append(Propose("NodeLost", body))
        return silent

    def _silence_s(self) -> float:
        """How long a live node may be silent now: by the signs of life of all of them."""
        nodes = self._ledger.nodes
        quiet_s = [self._now_s - heard_s for uid, heard_s in self._heard_s.items() if nodes[uid].state == "live"]
        together = len(quiet_s) >= MANY and 2 * sum(2 * one_s >= SILENCE_S for one_s in quiet_s) > len(quiet_s)
        return SILENCE_S * LONGER_TOGETHER if together else SILENCE_S

    def _leases_over(self) -> list[Propose]:
        over = []
        for slot in self._ledger.board.leases():
            quiet_s = self._now_s - self._heard_s.get(slot.swop, self._now_s)
            if slot.state == "lost" and quiet_s >= LEASE_S and self._not_asked("LeaseEnded", slot.id):
                reason = f"{slot.operator}: {_silence(quiet_s)}, the lease has ended"
                over.append(Propose("LeaseEnded", {"slot": slot.id, "fence": slot.fence, "reason": reason}))
        return over

    def _not_asked(self, kind: str, whom: str) -> bool:
        if self._now_s - self._asked_s.get((kind, whom), -AGAIN_S) < AGAIN_S:
            return False
        self._asked_s[kind, whom] = self._now_s
        return True


def _silence(quiet_s: float) -> str:
    return f"no sign of life for {quiet_s:.0f} s"
