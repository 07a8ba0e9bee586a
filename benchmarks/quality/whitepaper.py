"""HPE's table of merge methods in shape: 6 and 12 nodes, three methods, after 2, 5 and 10 epochs, with error bars.

The table is on pages 9 and 10 of HPE's white paper on merge methods (October 2023), for Fashion-MNIST and one run each.
"""

from __future__ import annotations

from benchmarks.quality.experiment import ACCURACY, Case, Experiment, Labels, Row
from benchmarks.quality.rounds import Terms
from benchmarks.quality.training import BATCH, Outcome, Setting
from swarm.nodes.demo.examples import TEST_SHARE

NODES = (6, 12)
EPOCHS = (2, 5, 10)
METHODS = ("mean", "coordmedian", "geomedian")
SKEWS = {"alike": None, "Dirichlet(0.3)": 0.3}
STEPS = 10
"""Batches between two rounds."""


def cases(examples: int) -> list[Case]:
    """An epoch is as many whole rounds as come nearest to an even shard, at least one."""
    made = []
    for skew, alpha in SKEWS.items():
        for nodes in NODES:
            rounds = max(1, round(examples * (1 - TEST_SHARE) / nodes / BATCH / STEPS))
            for method in METHODS:
                labels = {"data": skew, "nodes": str(nodes), "method": method}
                made.append((labels, Setting(nodes, rounds * EPOCHS[-1], STEPS, alpha, Terms(method))))
    return made


def read(labels: Labels, setting: Setting, outcome: Outcome) -> list[Row]:
    an_epoch = setting.rounds // EPOCHS[-1]
    return [
        Row(
            {**labels, "epochs": str(upto)},
            {ACCURACY.name: [float(one) for one in outcome.curve[:, upto * an_epoch - 1]]},
        )
        for upto in EPOCHS
    ]


EXPERIMENT = Experiment(
    "whitepaper", "HPE's table of merge methods, in shape", "mnist", cases, read,
    rows=["data", "nodes", "epochs"], column="method", panel="data", group="nodes, epochs", series="method",
)  # fmt: skip
