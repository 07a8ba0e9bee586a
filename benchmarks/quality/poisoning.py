"""Merge methods against attacks, with data that are alike and that are not: what each bears, and its price."""

from __future__ import annotations

from benchmarks.quality.attacks import ATTACKS
from benchmarks.quality.experiment import Case, Experiment, final
from benchmarks.quality.rounds import Terms
from benchmarks.quality.training import Setting

PEERS, ROUNDS, STEPS = 10, 40, 20
SKEWS = {"alike": None, "Dirichlet(0.3)": 0.3}
METHODS = ("mean", "coordmedian", "geomedian", "trimmedmean", "multikrum", "centeredclip", "nnm+trimmedmean")


def cases(examples: int) -> list[Case]:
    """`maxFaulty` is how many attack; where nobody does, it is left out, and then n and its default decide."""
    return [
        (
            {"data": skew, "attack": attack.name, "method": method},
            Setting(PEERS, ROUNDS, STEPS, alpha, Terms(method, max_faulty=attack.told), attack),
        )
        for skew, alpha in SKEWS.items()
        for attack in ATTACKS
        for method in METHODS
    ]


EXPERIMENT = Experiment(
    "poisoning", "Methods, skew, poisoning", "digits", cases, final,
    rows=["data", "attack"], column="method", panel="data", group="attack", series="method",
)  # fmt: skip
