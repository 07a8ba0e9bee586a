"""Writes what was measured into docs/BENCHMARKS.md: tables, plots, the day, the commit and the command of each.

    python -m benchmarks.page [NAME ...]

Run by `make bench`. The page is written by hand but for what stands between `<!-- begin NAME -->` and
`<!-- end NAME -->`, which is what this measures and replaces; plots go to docs/benchmarks/NAME.svg.
Who measures something else adds it to SECTIONS, and two such lines to the page.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import merges
from benchmarks.peers.section import section as peers
from benchmarks.quality.experiment import Experiment
from benchmarks.quality.plots import draw
from benchmarks.quality.running import EXPERIMENTS, Result, run
from benchmarks.quality.tables import tables
from swarm.errors import BadInput, SwarmError

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "BENCHMARKS.md"
SEEDS = 5


def quality(name: str, page: Path) -> str:
    return section(EXPERIMENTS[name], run(EXPERIMENTS[name], SEEDS), page)


def rounds(name: str, page: Path) -> str:
    return merges.section(name, measured_with(), page)


SECTIONS: dict[str, Callable[[Path], str]] = {
    **{name: partial(rounds, name) for name in merges.RUNS},
    "peers": peers,
    **{name: partial(quality, name) for name in EXPERIMENTS},
}
"""What to call for the text of a section; it is told which page that is for, as plots lie beside it."""


def section(experiment: Experiment, result: Result, page: Path) -> str:
    """The text of an experiment: what was run, the tables, and the plot, which is drawn."""
    picture = f"benchmarks/{experiment.name}.svg"
    draw(experiment, result.rows, page.parent / picture)
    head = (
        f"`python -m benchmarks.quality {experiment.name}`, {measured_with()}: "
        f"{result.dataset}, {result.examples:,} examples, {SEEDS} seeds, {result.cpu_s:.0f} s of CPU time."
    )
    return f"{head}\n\n{tables(experiment, result.rows)}\n\n![{experiment.title}]({picture})"


def measured_with() -> str:
    where = f"Python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores"
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {where}"


def commit() -> str:
    """The commit, and whether the code differs from it; docs may, as this is what writes them."""
    said = _git("rev-parse", "--short=10", "HEAD")
    return f"{said} and changes" if _git("status", "--porcelain", "--", ".", ":!docs") else said


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write(page: Path, name: str, text: str) -> None:
    """Put ``text`` between the two lines of that name."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    before = page.read_text(encoding="utf-8")
    after, found = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}{text}\n{end}", before, flags=re.S
    )
    if found != 1:
        raise BadInput(f'{page} has {found} places for "{name}", expected one', hint=f"{begin.strip()} and {end}")
    page.write_text(after, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__.splitlines()[0])
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"{', '.join(SECTIONS)}; left out: all of them")
    flags = parser.parse_args()
    for name in flags.names:
        if name not in SECTIONS:
            parser.error(f'there is no section "{name}", expected {", ".join(SECTIONS)}')
    left_out: dict[str, SwarmError] = {}
    for name in flags.names or SECTIONS:
        try:
            write(PAGE, name, SECTIONS[name](PAGE))
            print(f"{name}: written to {PAGE.name}", flush=True)
        except SwarmError as error:  # links are made by root only, for one: the others can be measured all the same
            print(f"{name}: {error.message}", file=sys.stderr, flush=True)
            left_out[name] = error
    if not left_out:
        return 0
    print(f"error: not renewed in {PAGE.name}: {', '.join(left_out)}, for the reasons above", file=sys.stderr)
    return next(iter(left_out.values())).code


if __name__ == "__main__":
    sys.exit(main())
