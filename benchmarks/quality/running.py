"""Running an experiment: all its settings, on all cores of this machine.

Used by `__main__` and `benchmarks/page.py`. Guarantee: rows in the order of the experiment's cases, the same for every
number of cores: workers count with one thread each.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.quality import alone, data, poisoning, sent, whitepaper
from benchmarks.quality.experiment import Case, Experiment, Row
from benchmarks.quality.training import Outcome, Training
from swarm.nodes.demo.examples import Examples

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT for module in (alone, poisoning, sent, whitepaper)
}
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_examples: Examples
"""A worker's own, from the first process."""


@dataclass(frozen=True)
class Result:
    rows: list[Row]
    examples: int
    dataset: str
    cpu_s: float


def run(experiment: Experiment, seeds: int) -> Result:
    examples = data.load(experiment.dataset)
    cases = experiment.cases(len(examples))
    began = _cpu_s()
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)  # read by the workers when they load numpy
    try:
        with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), _begin, (examples,)) as pool:
            outcomes = list(pool.map(_train, cases, [seeds] * len(cases)))
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    rows = [row for case, outcome in zip(cases, outcomes, strict=True) for row in experiment.read(*case, outcome)]
    named = experiment.dataset if experiment.dataset != "mnist" or data.mnist() else "digits"
    return Result(rows, len(examples), named, _cpu_s() - began)


def _begin(examples: Examples) -> None:
    global _examples
    _examples = examples


def _train(case: Case, seeds: int) -> Outcome:
    return Training(_examples, case[1], seeds).run()


def _cpu_s() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
