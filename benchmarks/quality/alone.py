"""A swarm of five, each of them alone, and one that has all their data: what training together is worth under skew."""

from __future__ import annotations

from benchmarks.quality.experiment import ACCURACY, Case, Experiment, Labels, Row, final
from benchmarks.quality.training import Outcome, Setting

PEERS, ROUNDS, STEPS = 5, 40, 20
ALPHAS = (100.0, 0.5, 0.1)


def cases(examples: int) -> list[Case]:
    made: list[Case] = []
    for alpha in ALPHAS:
        labels = {"skew": f"Dirichlet({alpha:g})"}
        made.append(({**labels, "who": "alone"}, Setting(PEERS, ROUNDS, STEPS, alpha, merges=False)))
        made.append(({**labels, "who": "swarm"}, Setting(PEERS, ROUNDS, STEPS, alpha)))
        made.append(({**labels, "who": "pooled"}, Setting(PEERS, ROUNDS, STEPS, alpha, pooled=True)))
    return made


def read(labels: Labels, setting: Setting, outcome: Outcome) -> list[Row]:
    if setting.merges:
        return final(labels, setting, outcome)
    by_peer = {"alone, worst": outcome.ends.min(1), "alone, mean": outcome.ends.mean(1)}
    return [
        Row({**labels, "who": who}, {ACCURACY.name: [float(one) for one in values]}) for who, values in by_peer.items()
    ]


EXPERIMENT = Experiment(
    "alone", "Swarm, alone, pooled", "digits", cases, read,
    rows=["skew"], column="who", group="skew", series="who",
)  # fmt: skip
