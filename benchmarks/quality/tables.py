"""Tables of results: mean ± standard deviation over the seeds, one table a measure, in Markdown.

Used by `__main__` and `benchmarks/page.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from benchmarks.quality.experiment import Experiment, Measure, Row


def tables(experiment: Experiment, rows: Sequence[Row]) -> str:
    titled = len(experiment.measures) > 1
    return "\n\n".join(
        (f"{measure.title}:\n\n" if titled else "") + _table(experiment, measure, rows)
        for measure in experiment.measures
    )


def _table(experiment: Experiment, measure: Measure, rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(row.labels[experiment.column] for row in rows))
    heads = list(dict.fromkeys(tuple(row.labels[key] for key in experiment.rows) for row in rows))
    cells = {
        (tuple(row.labels[key] for key in experiment.rows), row.labels[experiment.column]): row.values[measure.name]
        for row in rows
    }
    lines = [[*experiment.rows, *columns], ["---"] * len(experiment.rows) + ["---:"] * len(columns)]
    lines += [[*head, *(cell(measure, cells[head, column]) for column in columns)] for head in heads]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(measure: Measure, values: Sequence[float | None]) -> str:
    there = [value * measure.scale for value in values if value is not None]
    if not there:
        return "never"
    text = f"{mean(there):,.{measure.digits}f}"
    if len(set(there)) > 1:
        text += f" ± {stdev(there):,.{measure.digits}f}"
    return text if len(there) == len(values) else f"{text} ({len(there)} of {len(values)})"
