"""The network: messages take their time, and with bad luck more than that.

A link has a direction. In good weather it keeps order and loses nothing; a fault is a set of links and what happens to
them (cut, clogged, or a chance of loss, doubling, overtaking or delay), and ends.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from heapq import heappush
from typing import Any

from tests.sim.world import ANY_LIFE, Call, Process, World

LOW_S, SPREAD_S = 0.0005, 0.004
"""How long a message takes, at least, and what chance adds at most."""

Link = tuple[str, str]


@dataclass(eq=False)
class Fault:
    """``links``: those concerned; None: all of them. Chances are a message's; ``delay_s`` is the most added."""

    links: frozenset[Link] | None = None
    cut: bool = False
    loss: float = 0.0
    double: float = 0.0
    overtake: float = 0.0
    delay_s: float = 0.0
    seen: int = 0
    """How many messages it has touched."""


@dataclass
class Network:
    world: World
    faults: list[Fault] = field(default_factory=list)
    clogged: dict[Link, list[tuple[Process, Call, tuple[Any, ...]]]] = field(default_factory=dict)
    """Links on which messages wait, and the messages."""
    _last_s: defaultdict[Link, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        self._chance = self.world.random.random

    def send(self, sender: Process, to: Process, call: Call, *args: Any) -> None:
        """``call`` runs on ``to``, if it lives then."""
        if not sender.alive:
            return
        link = (sender.name, to.name)
        if self.clogged and link in self.clogged:
            self.clogged[link].append((to, call, args))
            return
        world = self.world
        arrives_s = world.now_s + LOW_S + SPREAD_S * self._chance()
        if self.faults:
            late_s, overtakes = self._suffer(link, to, call, args)
            if late_s < 0:
                return
            arrives_s += late_s
            if overtakes:
                world.give(arrives_s + 0.05 * self._chance(), to, ANY_LIFE, call, args)
                return
        last_s = self._last_s
        if arrives_s < last_s[link]:
            arrives_s = last_s[link]
        last_s[link] = arrives_s
        world.order += 1
        heappush(world.heap, (arrives_s, world.order, to, ANY_LIFE, call, args))

    def _suffer(self, link: Link, to: Process, call: Call, args: tuple[Any, ...]) -> tuple[float, bool]:
        """What is added to the message's time (below 0: it is lost), and whether it overtakes others."""
        chance, late_s = self._chance, 0.0
        for fault in self.faults:
            if fault.links is not None and link not in fault.links:
                continue
            if fault.cut or (fault.loss and chance() < fault.loss):
                fault.seen += 1
                return -1.0, False
            if fault.double and chance() < fault.double:
                fault.seen += 1
                self.world.give(self.world.now_s + 0.5 * chance(), to, ANY_LIFE, call, args)
            if fault.delay_s:
                fault.seen += 1
                late_s += fault.delay_s * chance()
            if fault.overtake and chance() < fault.overtake:
                fault.seen += 1
                return late_s, True
        return late_s, False

    def clog(self, link: Link) -> None:
        self.clogged.setdefault(link, [])

    def free(self, link: Link) -> None:
        """What has waited goes on, in order."""
        for to, call, args in self.clogged.pop(link, []):
            self._last_s[link] = max(self._last_s[link], self.world.now_s) + 0.0001
            self.world.give(self._last_s[link], to, ANY_LIFE, call, args)

    def heal(self) -> None:
        self.faults.clear()
        for link in list(self.clogged):
            self.free(link)
