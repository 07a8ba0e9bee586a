"""``python -m tests.sim --seeds N [--seed S] [--planted yes|no] [--jobs 2] [--json]``

Runs N worlds from seed S on, judges them, and (unless told not to) plants 20 bugs, one at a time, to see that each is
found. Exit code 1 on any violation, world that gets stuck, replay that differs, fault kind that never came, or planted
bug that no checker reports; the last line on stderr then replays the first failure. A long run says on stderr how far
it is; one that is ended (SIGTERM, Ctrl-C) breaks off at once and says what it has done by then.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.sim import litter, purity
from tests.sim.planted import BUGS, Found, search
from tests.sim.processes import Going, Piece, results
from tests.sim.scenario import Report, run
from tests.sim.weather import KINDS

REPLAY_EVERY = 50
TOGETHER = 8
"""Worlds that a process is given at once."""
SAY_EVERY_S = 60.0


@dataclass
class Summary:
    first_seed: int
    seeds: int = 0
    rounds: int = 0
    commits: int = 0
    aborts: int = 0
    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    violations: int = 0
    stuck: int = 0
    replays_differ: int = 0
    lost_updates: int = 0
    tasks_lost: int = 0
    tasks_run_twice: int = 0
    failing: list[int] = field(default_factory=list)
    planted: dict[str, int] = field(default_factory=dict)
    """The seeds that it took to find each bug; 0: not found."""
    ended: bool = False
    """Before all was done: the seeds are those that were run."""

    def add(self, report: Report) -> None:
        self.seeds += 1
        self.rounds += report.rounds
        self.commits += report.commits
        self.aborts += report.aborts
        for kind, count in report.faults.items():
            self.faults[kind] += count
        self.violations += len(report.violations)
        self.violations += bool(report.failed)
        self.stuck += report.stuck
        self.replays_differ += report.differs
        self.lost_updates += sum(each.promise == "P3" for each in report.violations)
        self.tasks_lost += sum(each.promise == "P5" and "is lost" in each.text for each in report.violations)
        self.tasks_run_twice += sum(each.promise == "P5" and "twice" in each.text for each in report.violations)
        if not report.clean:
            self.failing.append(report.seed)

    @property
    def missing_faults(self) -> list[str]:
        """With few seeds there is always one."""
        return [kind for kind, count in self.faults.items() if not count]

    @property
    def not_found(self) -> list[str]:
        return [name for name, seeds in self.planted.items() if not seeds]

    @property
    def ok(self) -> bool:
        return not (self.failing or self.missing_faults or self.not_found)

    def to_json(self, seconds: float) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "version": purity.version(),
            "seeds": self.seeds,
            "first_seed": self.first_seed,
            "rounds": self.rounds,
            "commits": self.commits,
            "aborts": self.aborts,
            "seconds": round(seconds, 1),
            "faults": self.faults,
            "violations": self.violations,
            "lost_updates": self.lost_updates,
            "tasks_lost": self.tasks_lost,
            "tasks_run_twice": self.tasks_run_twice,
            "stuck": self.stuck,
            "replays_differ": self.replays_differ,
            "planted": len(self.planted),
            "planted_found": len(self.planted) - len(self.not_found),
            "planted_seeds": {name: seeds for name, seeds in self.planted.items() if seeds},
            "failing_seeds": sorted(self.failing),
        } | ({"ended_early": True} if self.ended else {})


def one(seed: int) -> Report:
    """One seed; every so many of them once more, without shared work, which has to give the same trace."""
    litter.clear(seed)
    again = seed % REPLAY_EVERY == 0
    report = run(seed, trace=again)
    if again:
        report.again(run(seed, shared=False, trace=True))
    return report


def plant(name: str) -> tuple[str, Found]:
    return name, search(name)


def parsed(args: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__.splitlines()[2])
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--planted", choices=("yes", "no"), default="yes", help="whether to plant bugs, too")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser.parse_args(args)


def main(args: list[str]) -> int:
    asked = parsed(args)
    began_s = time.monotonic()
    summary = Summary(asked.seed)
    litter.begin()
    going = Going()
    progress = Progress(summary, asked.seeds)
    for result in results(asked.jobs, pieces(asked), going):
        progress.take(result)
    summary.planted = {name: summary.planted[name] for name in BUGS if name in summary.planted}
    summary.ended = not going.on
    purity.check()
    finish(summary, time.monotonic() - began_s, as_json=asked.json)
    return 0 if summary.ok else 1


def pieces(asked: argparse.Namespace) -> Iterator[Piece]:
    """Bugs first, which take long each: so no process has nothing to do while another looks for the last one."""
    if asked.planted == "yes":
        yield from ((plant, [name]) for name in BUGS)
    last = asked.seed + asked.seeds
    for first in range(asked.seed, last, TOGETHER):
        yield one, list(range(first, min(first + TOGETHER, last)))


class Progress:
    """What has come of a run so far; said on stderr."""

    def __init__(self, summary: Summary, seeds: int) -> None:
        self._summary = summary
        self._seeds = seeds
        self._began_s = self._said_s = time.monotonic()

    def take(self, result: Report | tuple[str, Found]) -> None:
        if isinstance(result, Report):
            self._summary.add(result)
            if not result.clean:
                tell(result)
            self._say()
        else:
            name, found = result
            self._summary.planted[name] = found.seeds
            how = f"found by seed {found.seed}: {found.text}" if found.seeds else "NOT FOUND"
            print(f"planted {name}: {how}", file=sys.stderr)
            self._began_s = time.monotonic()  # with the worlds

    def _say(self) -> None:
        """Now and then."""
        now_s, summary = time.monotonic(), self._summary
        if now_s - self._said_s < SAY_EVERY_S:
            return
        self._said_s = now_s
        left_s = (now_s - self._began_s) / summary.seeds * (self._seeds - summary.seeds)
        failed = f"{len(summary.failing)} failed, about {left_s / 60:.0f} min to go"
        print(f"{summary.seeds} of {self._seeds} seeds, {summary.rounds} rounds, {failed}", file=sys.stderr, flush=True)


def tell(report: Report) -> None:
    for violation in report.violations[:3]:
        print(f"seed {report.seed}: {violation}", file=sys.stderr)
    if report.stuck:
        print(f"seed {report.seed}: P4: stuck: {', '.join(report.open)}", file=sys.stderr)
    if report.failed:
        print(f"seed {report.seed}: {report.failed}", file=sys.stderr)
    if report.differs:
        print(f"seed {report.seed}: it gave another trace when it was run again", file=sys.stderr)


def finish(summary: Summary, seconds: float, *, as_json: bool) -> None:
    answer = summary.to_json(seconds)
    failure = what_failed(summary)
    if failure is not None:
        answer["error"] = {"code": 1, "message": failure[0], "hint": failure[1]}
    if as_json:
        print(json.dumps(answer))
    else:
        for key, value in answer.items():
            print(f"{key}: {value}")
    if failure is not None:
        print(f"{failure[0]}\n{failure[1]}", file=sys.stderr)


def what_failed(summary: Summary) -> tuple[str, str] | None:
    """The first that failed, in a sentence, and the command that shows it again."""
    if summary.failing:
        first = min(summary.failing)
        return f"seed {first} failed", f"python -m tests.sim --seeds 1 --seed {first} --planted no --jobs 1"
    if summary.not_found:
        name = summary.not_found[0]
        return f"no checker found the planted bug {name}", f"python -m tests.sim.planted {name}"
    if summary.missing_faults:
        more = f"python -m tests.sim --seeds {2 * summary.seeds or REPLAY_EVERY} --seed {summary.first_seed}"
        never = f"no promise was broken, and this proves nothing of what never came in {summary.seeds} worlds"
        return f"{never}: {', '.join(summary.missing_faults)} (every kind of fault has to)", more
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
