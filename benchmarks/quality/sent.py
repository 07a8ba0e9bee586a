"""Bytes to accuracy: how many batches between two rounds, which outer step, and how many bits a weight travels in."""

from __future__ import annotations

import numpy as np

from benchmarks.quality.experiment import ACCURACY, Case, Experiment, Labels, Measure, Row
from benchmarks.quality.rounds import Terms
from benchmarks.quality.training import Outcome, Setting
from swarm.core.outer import Nesterov
from swarm.core.wireform import WIRES

PEERS, BATCHES, ALPHA = 5, 800, 0.5
EVERY = (1, 10, 50, 200)
OUTERS = {"plain": None, "nesterov": Nesterov(0.7, 0.9)}
GOAL = 0.94

TO_GOAL = Measure("kb_to_goal", f"KB that a peer sends until the model has {100 * GOAL:.0f} %", digits=0)
IN_ALL = Measure("kb", "KB that a peer sends in all", digits=0)


def cases(examples: int) -> list[Case]:
    return [
        (
            {"outer": outer, "batches a round": str(every), "wire": wire},
            Setting(PEERS, BATCHES // every, every, ALPHA, Terms(wire=wire, outer=step)),
        )
        for outer, step in OUTERS.items()
        for every in EVERY
        for wire in WIRES
    ]


def read(labels: Labels, setting: Setting, outcome: Outcome) -> list[Row]:
    kilobytes = np.array(outcome.sent) / 1000
    reached = [np.flatnonzero(curve >= GOAL) for curve in outcome.curve]
    values: dict[str, list[float | None]] = {
        ACCURACY.name: [float(one) for one in outcome.curve[:, -1]],
        TO_GOAL.name: [float(kilobytes[rounds[0]]) if len(rounds) else None for rounds in reached],
        IN_ALL.name: [float(kilobytes[-1])] * len(reached),
    }
    return [Row(labels, values)]


EXPERIMENT = Experiment(
    "bytes", "Bytes to accuracy", "digits", cases, read,
    rows=["outer", "batches a round"], column="wire", panel="outer", group="batches a round", series="wire",
    measures=(ACCURACY, IN_ALL, TO_GOAL), against=IN_ALL,
)  # fmt: skip
