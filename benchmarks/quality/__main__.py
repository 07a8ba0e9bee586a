"""python -m benchmarks.quality [NAME ...] [--seeds 5] [--json]: tables, or a line of JSON for each experiment."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.quality.running import EXPERIMENTS, Result, run
from benchmarks.quality.tables import tables
from swarm.errors import SwarmError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"{', '.join(EXPERIMENTS)}; left out: all of them")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args(arguments)
    for name in flags.names:
        if name not in EXPERIMENTS:
            parser.error(f'there is no experiment "{name}", expected {", ".join(EXPERIMENTS)}')
    if flags.seeds < 1:
        parser.error(f"--seeds {flags.seeds}: expected 1 or more")
    try:
        for name in flags.names or EXPERIMENTS:
            result = run(EXPERIMENTS[name], flags.seeds)
            print(as_json(name, flags.seeds, result) if flags.json else as_text(name, result), flush=True)
    except SwarmError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.code
    return 0


def as_json(name: str, seeds: int, result: Result) -> str:
    rows = [{**row.labels, **row.values} for row in result.rows]
    said = {"experiment": name, "dataset": result.dataset, "examples": result.examples, "seeds": seeds}
    return json.dumps({**said, "cpu_s": round(result.cpu_s, 1), "rows": rows})


def as_text(name: str, result: Result) -> str:
    experiment = EXPERIMENTS[name]
    of = f"{result.dataset}, {result.examples} examples, {result.cpu_s:.0f} s of CPU time"
    return f"{experiment.title} ({of})\n\n{tables(experiment, result.rows)}\n"


if __name__ == "__main__":
    sys.exit(main())
