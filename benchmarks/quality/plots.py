"""Plots as SVG: an experiment's results with standard deviations, or one bar a system.

Used by `benchmarks/page.py` and what writes its sections; needs matplotlib (extra `bench`). Guarantee: the same results
give the same file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from textwrap import fill
from typing import Any

import matplotlib

from benchmarks.quality.experiment import Experiment, Measure, Row

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "swarm", "svg.fonttype": "none", "font.size": 9, "axes.axisbelow": True})

from matplotlib import pyplot  # noqa: E402 (after the settings that it reads)

SIZE = (9.0, 3.2)
"""Inches, a panel."""
LABEL = 20
"""Letters in a line below a group of bars."""


def draw(experiment: Experiment, rows: Sequence[Row], file: Path) -> None:
    panels = list(dict.fromkeys(_of(row, experiment.panel) for row in rows))
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(SIZE[0], SIZE[1] * len(panels)), layout="constrained", squeeze=False
    )
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        here = [row for row in rows if _of(row, experiment.panel) == panel]
        if experiment.against is None:
            _bars(axis, experiment, here)
        else:
            _points(axis, experiment, experiment.against, here)
        axis.set_title(panel)
        axis.set_ylabel(experiment.measures[0].title)
        axis.grid(axis="y", alpha=0.3)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=min(len(names), 4), frameon=False)
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def _of(row: Row, keys: str) -> str:
    """What a row has under these labels, as "nodes, epochs"."""
    return ", ".join(f"{row.labels[key]} {key}" if "," in keys else row.labels[key] for key in keys.split(", ") if key)


def _bars(axis: Any, experiment: Experiment, rows: Sequence[Row]) -> None:
    measure = experiment.measures[0]
    groups = list(dict.fromkeys(_of(row, experiment.group) for row in rows))
    series = list(dict.fromkeys(row.labels[experiment.series] for row in rows))
    width = 0.85 / len(series)
    for number, name in enumerate(series):
        mine = {_of(row, experiment.group): row for row in rows if row.labels[experiment.series] == name}
        heights = [_middle(mine[group], measure) for group in groups]
        places = [at + (number - (len(series) - 1) / 2) * width for at in range(len(groups))]
        spreads = [_spread(mine[group], measure) for group in groups]
        axis.bar(places, heights, width, yerr=spreads, label=name, error_kw={"elinewidth": 0.8})
    axis.set_xticks(range(len(groups)), [fill(group, LABEL) for group in groups])
    axis.set_ylim(0, 100)


def _points(axis: Any, experiment: Experiment, against: Measure, rows: Sequence[Row]) -> None:
    measure = experiment.measures[0]
    for name in dict.fromkeys(row.labels[experiment.series] for row in rows):
        mine = [row for row in rows if row.labels[experiment.series] == name]
        x, y = ([_middle(row, one) for row in mine] for one in (against, measure))
        axis.errorbar(x, y, [_spread(row, measure) for row in mine], marker="o", markersize=4, capsize=2, label=name)
        for row, *place in zip(mine, x, y, strict=True):
            text = row.labels[experiment.group]
            axis.annotate(text, place, xytext=(4, -10), textcoords="offset points", fontsize=7)
    axis.set_xscale("log")
    axis.set_xlabel(f"{against.title} (at the points: {experiment.group})")


def _middle(row: Row, measure: Measure) -> float:
    return mean(_there(row, measure))


def _spread(row: Row, measure: Measure) -> float:
    there = _there(row, measure)
    return stdev(there) if len(there) > 1 else 0.0


def _there(row: Row, measure: Measure) -> list[float]:
    return [value * measure.scale for value in row.values[measure.name] if value is not None]


def bars(panels: Mapping[str, Mapping[str, float]], unit: str, file: Path) -> None:
    """A panel each, beside each other: a bar a name, as long as its value on a logarithmic axis, which it says too."""
    figure, axes = pyplot.subplots(1, len(panels), figsize=SIZE, layout="constrained", squeeze=False)
    for axis, (title, values) in zip(axes[0], panels.items(), strict=True):
        drawn = axis.barh(list(values), list(values.values()), color=["C0" if n == "swarm" else "C7" for n in values])
        axis.bar_label(drawn, fmt="%.3g", padding=2, fontsize=8)
        axis.set_xscale("log")
        axis.margins(x=0.15)
        axis.invert_yaxis()
        axis.set_title(title)
        axis.set_xlabel(unit)
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
