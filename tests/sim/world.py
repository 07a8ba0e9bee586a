"""The world: simulated time, and processes that crash, pause and come back.

Everything that happens is an entry of one heap, ordered by (time, order of scheduling), so a seed has one history.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from swarm.core.rules import KNOWN
from tests.sim.history import History

Call = Callable[..., None]
ANY_LIFE = 0
"""What is given to whatever runs there then."""
STEPS_MAX = 200_000
"""A world that takes more has messages that breed: it is stuck."""


class World:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now_s = 0.0
        self.history = History()
        self.steps = 0
        self.heap: list[tuple[float, int, Process | None, int, Call, tuple[Any, ...]]] = []
        self.order = 0

    def after(self, delay_s: float, call: Call, *args: Any) -> None:
        """Something that no process does."""
        self.order += 1
        heappush(self.heap, (self.now_s + delay_s, self.order, None, ANY_LIFE, call, args))

    def give(self, when_s: float, process: Process, life: int, call: Call, args: tuple[Any, ...]) -> None:
        """A process does it then, if it still is the one that was meant."""
        self.order += 1
        heappush(self.heap, (when_s, self.order, process, life, call, args))

    def run(self, until: Callable[[], bool], limit_s: float) -> bool:
        """Let things happen until the condition holds (looked at now and then) or time is up. Whether it holds."""
        heap = self.heap
        look_s = self.now_s
        while heap and (next_s := heap[0][0]) <= limit_s and self.steps < STEPS_MAX:
            if next_s >= look_s:
                if until():
                    return True
                look_s = next_s + 0.25
            self.now_s, _, process, life, call, args = heappop(heap)
            self.steps += 1
            if process is None:
                call(*args)
            elif process.alive and (life == process.life or life == ANY_LIFE):
                if process.paused:
                    process.backlog.append((call, args))
                else:
                    call(*args)
        return until()


class Process:
    """One process on a host. What it has scheduled dies with it; while it is paused, everything waits for it."""

    role = ""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.alive = False
        self.life = 0
        """Counts its starts."""
        self.paused = False
        self.rules = KNOWN
        """The newest version of the ledger's rules that its release knows."""
        self.skew_s = 0.0
        """How far the host's wall clock is off."""
        self.trap = ""
        """What is to happen in the middle of its next write."""
        self.backlog: list[tuple[Call, tuple[Any, ...]]] = []
        """What has come while it is paused."""

    @property
    def now_s(self) -> float:
        """The monotonic clock."""
        return self.world.now_s

    @property
    def wall_ms(self) -> int:
        return int((1_000_000 + self.world.now_s + self.skew_s) * 1000)

    def later(self, delay_s: float, call: Call, *args: Any) -> None:
        world = self.world
        world.order += 1
        heappush(world.heap, (world.now_s + delay_s, world.order, self, self.life, call, args))

    def note(self, kind: str, *about: Any) -> None:
        """Record a fact about this process."""
        self.world.history.facts.append((kind, self.world.now_s, self.name, *about))

    # ---- faults

    def start(self) -> None:
        assert not self.alive
        self.alive, self.life = True, self.life + 1
        self.note("start", self.life)
        self.on_start()

    def crash(self, *, power: bool) -> None:
        """The process is killed; with ``power`` its host loses what was not written through."""
        if not self.alive:
            return
        self.note("crash", self.life, power)
        self.alive, self.paused = False, False
        self.backlog.clear()
        self.on_crash(power)

    def pause(self) -> None:
        if self.alive:
            self.note("pause")
            self.paused = True

    def resume(self) -> None:
        if not self.paused:
            return
        self.note("resume")
        self.paused = False
        backlog, self.backlog = self.backlog, []
        life = self.life
        for place, (call, args) in enumerate(backlog):
            if self.paused:  # what it did had it paused anew
                self.backlog = backlog[place:] + self.backlog
                return
            if self.alive and self.life == life:
                call(*args)

    def on_start(self) -> None:
        raise NotImplementedError

    def on_crash(self, power: bool) -> None:
        raise NotImplementedError
