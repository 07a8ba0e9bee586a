"""Dealing: which of the tasks that wait are given what there is room for, after an entry that may have made some.

Made by `core/jobs` for one entry, and forgotten. Guarantees: what a running task has lost of its minimums comes first;
users have equal shares, and within one user's share tasks go in the order in which they came (`Jobs.turn`); what a
wide unit (a gang) waits for is kept from narrower ones behind it; a swarm of a sweep begins with all of its slots, once
all swarms of the sweep are there.

What it costs: all that wait are sorted once. Each lease then costs the runs before it that found no room, times the
operators; so does the look that ends the dealing, at all that still wait, unless there is no room left at all. A swarm
that begins costs its slots times the operators, and twice that where there is no room for it now. No lease looks at a
run's slots again, except at those of the run that it is of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from heapq import merge

from swarm.core.events import Event
from swarm.core.jobrun import JobRun
from swarm.core.jobslot import Holder, JobSlot, Room
from swarm.core.placing import Free, Placing, room_of
from swarm.core.rolesrun import RolesRun
from swarm.core.sweeps import Sweeps

Turn = Callable[[JobRun], tuple[int, int]]
Lease = Callable[[JobRun, list[JobSlot], Holder, list[tuple[int, ...]]], list[Event]]


class Turns:
    """The runs that wait, in the order in which it is their turn: by the slots that users have, then by ``turn``."""

    def __init__(self, waiting: Iterable[JobRun], shares: Counter[str], turn: Turn) -> None:
        self._shares, self._turn = shares, turn
        self._by_user: dict[str, dict[int, JobRun]] = {}
        self._stalled: dict[int, JobRun] = {}
        for run in sorted(waiting, key=turn):
            self._by_user.setdefault(run.user, {})[run.number] = run
            if run.stalls:
                self._stalled[run.number] = run

    def __iter__(self) -> Iterator[JobRun]:
        """Until the next `took`."""
        yield from sorted(self._stalled.values(), key=lambda run: (self._shares[run.user], self._turn(run)))
        by_user = (self._of(user) for user in self._by_user)
        yield from (run for _, _, run in merge(*by_user) if run.number not in self._stalled)

    def _of(self, user: str) -> Iterator[tuple[int, tuple[int, int], JobRun]]:
        share = self._shares[user]
        return ((share, self._turn(run), run) for run in self._by_user[user].values())

    def took(self, run: JobRun, slots: int) -> None:
        """The run was given so many slots."""
        self._shares[run.user] += slots
        if not run.waits:
            self._by_user[run.user].pop(run.number, None)
        if run.waits and run.stalls:
            self._stalled[run.number] = run
        else:
            self._stalled.pop(run.number, None)


class Dealing:
    """``free``: what nobody has, by operator, which it counts down; ``lease`` has the run's slots leased."""

    def __init__(self, placing: Placing, sweeps: Sweeps, free: dict[str, Free], turns: Turns, lease: Lease) -> None:
        self._placing = placing
        self._sweeps = sweeps
        self._free = free
        self._turns = turns
        self._lease = lease
        self._units: dict[int, list[tuple[list[JobSlot], Room]]] = {}
        """By run of which nothing was dealt since: what may be leased next, and what that takes."""

    def deal(self) -> list[Event]:
        """Lease whatever there is room for."""
        events: list[Event] = []
        while has_room(self._free) and (dealt := self._one()):
            events += dealt
        return events

    def _one(self) -> list[Event]:
        """The unit of whose turn it is and for which there is room; of a swarm that begins, all of it."""
        kept: set[str] = set()
        tried: set[str] = set()
        for run in self._turns:
            if not (isinstance(run, RolesRun) and run.variant and run.begins_at_once):
                events = self._unit_of(run, kept)
            else:
                events = self._begin(run, kept) if run.variant.sweep not in tried else []
                tried.add(run.variant.sweep)
            if events:
                return events
        return []

    def _unit_of(self, run: JobRun, kept: set[str]) -> list[Event]:
        """The first unit of the run for which there is room. ``kept``: operators whose room is for others."""
        if run.number not in self._units:
            self._units[run.number] = [(unit, room_of(run, unit)) for unit in run.units()]
        for unit, needed in self._units[run.number]:
            uid = self._placing.place(run, needed, self._free, kept)
            if uid is not None:
                del self._units[run.number]
                listener = self._placing.listeners(run)[uid]
                gpus = [self._free[uid].take(run.room(slot)) for slot in unit]
                events = self._lease(run, unit, Holder(uid, str(listener), listener.anchor), gpus)
                self._turns.took(run, len(unit))
                return events
        return []

    def _begin(self, run: RolesRun, kept: set[str]) -> list[Event]:
        """All that it begins with, if there is room for it and its sweep is complete. What it waits for is kept."""
        whole, events = self._sweeps.whole(run), list[Event]()
        if whole is None or not whole.complete:
            return []
        if self._placing.all_fit(run, self._free, kept):
            while dealt := self._unit_of(run, set()):
                events += dealt
        elif self._placing.all_fit(run, self._placing.whole(), kept):
            kept.update(self._placing.listeners(run))
        return events


def has_room(free: dict[str, Free]) -> bool:
    """Whether anybody has any: whoever waits needs something."""
    return any(each.cpu > 0 or each.gpus for each in free.values())
