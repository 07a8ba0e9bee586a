"""What an experiment is: settings to train, what is read off each, and how that is shown.

Used by the experiments' modules, which each define one, by `__main__`, `tables` and `plots`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.quality.training import Outcome, Setting

Labels = dict[str, str]
Case = tuple[Labels, Setting]


@dataclass(frozen=True)
class Row:
    """``values``: by measure, one number a seed; None where there is none, as of a goal that was not reached."""

    labels: Labels
    values: dict[str, list[float | None]]


@dataclass(frozen=True)
class Measure:
    name: str
    title: str
    scale: float = 1.0
    digits: int = 1


ACCURACY = Measure("accuracy", "accuracy, %", 100.0)


@dataclass(frozen=True)
class Experiment:
    """``rows`` and ``column``: the labels that tables have at their left and above them.

    ``panel``, ``group`` and ``series``: the labels by which a plot is cut into panels, its bars (or points) into
    groups, and coloured. ``against``: the measure at the bottom of a plot of points; None: bars by group.
    """

    name: str
    title: str
    dataset: str
    cases: Callable[[int], list[Case]]
    """From the number of examples."""
    read: Callable[[Labels, Setting, Outcome], list[Row]]
    rows: Sequence[str]
    column: str
    group: str
    series: str
    panel: str = ""
    measures: Sequence[Measure] = (ACCURACY,)
    against: Measure | None = None


def final(labels: Labels, setting: Setting, outcome: Outcome) -> list[Row]:
    """One row: the accuracy at the end."""
    return [Row(labels, {ACCURACY.name: [float(one) for one in outcome.curve[:, -1]]})]
