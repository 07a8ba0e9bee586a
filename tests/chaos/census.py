"""What memory and descriptors the processes of a run of chaos hold, and whether that grows: the soak's measure.

Made by `run`. Every process of the swarm is counted every few seconds from the age on at which it is warm: a minute,
when all is loaded, or in a run of hours half of one, when what it keeps of the past has come to its limit. Growth is
that within processes, of which chaos replaces most again and again: of all processes of a role one slope is fitted,
each with a level of its own, so that a new one is no growth.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
import trio

from tests.chaos.cluster import Cluster

COUNT_EVERY_S = 5.0
ROLES = ("sn", "swop", "sl", "ml")
MIB, HOUR_S = 1 << 20, 3600.0

Identity = tuple[int, float]
"""A process by its number and the time of its start."""


@dataclass(frozen=True)
class Count:
    at_s: float
    rss: int
    descriptors: int


@dataclass(frozen=True)
class Growth:
    """Of one role. None: no process has lived long enough to say."""

    rss_mib_per_hour: float | None
    descriptors_per_hour: float | None
    rss_mib_max: float
    descriptors_max: int
    hours: float
    """That its processes have lived altogether, warm."""

    def as_json(self) -> dict[str, Any]:
        return {
            "rss_mib_per_hour": self.rss_mib_per_hour,
            "descriptors_per_hour": self.descriptors_per_hour,
            "rss_mib_max": self.rss_mib_max,
            "descriptors_max": self.descriptors_max,
            "process_hours": self.hours,
        }


class Census:
    def __init__(self, cluster: Cluster, warm_s: float) -> None:
        self._cluster = cluster
        self._warm_s = warm_s
        self._counts: dict[str, defaultdict[Identity, list[Count]]] = {role: defaultdict(list) for role in ROLES}

    async def take(self) -> None:
        """For ever."""
        while True:
            await trio.sleep(COUNT_EVERY_S)
            for role, pid in self._processes():
                with suppress(psutil.Error, OSError):  # it may be dying
                    self._count(role, psutil.Process(pid))

    def growth(self) -> dict[str, Growth]:
        return {role: growth(counts.values()) for role, counts in self._counts.items()}

    def _processes(self) -> list[tuple[str, int]]:
        nodes = [(node.role, node.process.pid) for node in self._cluster.nodes if node.process and node.is_ready]
        return [*nodes, *((worker.role, worker.pid) for worker in self._cluster.workers())]

    def _count(self, role: str, process: psutil.Process) -> None:
        now_s, begun_s = time.time(), process.create_time()
        if now_s - begun_s > self._warm_s:
            count = Count(now_s, process.memory_info().rss, process.num_fds())
            self._counts[role][process.pid, begun_s].append(count)


def growth(lives: Iterable[Sequence[Count]]) -> Growth:
    lives = list(lives)
    counts = [count for life in lives for count in life]
    rss = slope([[(count.at_s, count.rss / MIB) for count in life] for life in lives])
    descriptors = slope([[(count.at_s, count.descriptors) for count in life] for life in lives])
    return Growth(
        rss_mib_per_hour=None if rss is None else round(rss * HOUR_S, 2),
        descriptors_per_hour=None if descriptors is None else round(descriptors * HOUR_S, 2),
        rss_mib_max=round(max((count.rss for count in counts), default=0) / MIB, 1),
        descriptors_max=max((count.descriptors for count in counts), default=0),
        hours=round(sum(life[-1].at_s - life[0].at_s for life in lives if life) / HOUR_S, 3),
    )


def slope(lives: Iterable[Sequence[tuple[float, float]]]) -> float | None:
    """The least squares' slope that all lives have in common, each with a level of its own."""
    above = below = 0.0
    for life in lives:
        if not life:
            continue
        mean_x, mean_y = (sum(values) / len(life) for values in zip(*life, strict=True))
        above += sum((x - mean_x) * (y - mean_y) for x, y in life)
        below += sum((x - mean_x) ** 2 for x, _ in life)
    return above / below if below else None
