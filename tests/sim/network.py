"""The network: messages take their time, and with bad luck more than that.

A link has a direction. In good weather it keeps order and loses nothing; a fault is a set of links and what happens to
them (cut, clogged, or a chance of loss, doubling, overtaking or delay), and ends.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.sim.world import Call, Process, World

LATENCY_S = (0.0005, 0.004)

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

    def send(self, sender: Process, to: Process, call: Call, *args: Any) -> None:
        """``call`` runs on ``to``, if it lives then."""
        if not sender.alive:
            return
        link = (sender.name, to.name)
        if link in self.clogged:
            self.clogged[link].append((to, call, args))
            return
        world = self.world
        low, spread = LATENCY_S
        arrives_s = world.now_s + low + spread * world.random.random()
        for fault in self.faults:
            if fault.links is None or link in fault.links:
                fate_s = self._suffer(fault, to, call, args)
                if fate_s < 0:
                    return
                arrives_s += fate_s
                if fault.overtake and world.random.random() < fault.overtake:
                    fault.seen += 1
                    world.at(arrives_s + 0.05 * world.random.random(), to.receive, call, *args)
                    return
        last_s = self._last_s[link]
        if arrives_s < last_s:
            arrives_s = last_s
        self._last_s[link] = arrives_s
        world.at(arrives_s, to.receive, call, *args)

    def _suffer(self, fault: Fault, to: Process, call: Call, args: tuple[Any, ...]) -> float:
        """What is added to the message's time; below 0: it is lost."""
        chance = self.world.random.random
        if fault.cut or (fault.loss and chance() < fault.loss):
            fault.seen += 1
            return -1.0
        if fault.double and chance() < fault.double:
            fault.seen += 1
            self.world.after(0.5 * chance(), to.receive, call, *args)
        if fault.delay_s:
            fault.seen += 1
            return fault.delay_s * chance()
        return 0.0

    def clog(self, link: Link) -> None:
        self.clogged.setdefault(link, [])

    def free(self, link: Link) -> None:
        """What has waited goes on, in order."""
        for to, call, args in self.clogged.pop(link, []):
            self._last_s[link] = max(self._last_s[link], self.world.now_s) + 0.0001
            self.world.at(self._last_s[link], to.receive, call, *args)

    def heal(self) -> None:
        self.faults.clear()
        for link in list(self.clogged):
            self.free(link)
