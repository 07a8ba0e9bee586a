"""What a job costs beside its own process: a sweep of tiny jobs, and the same processes started without a swarm.

    python -m benchmarks.sweep [--jobs 1000] [--restart] [--json]

A network node and an operator with two CPU slots, as real processes. Each job is `sh`, which creates a file that must
not be there yet, so whatever runs twice fails. The same commands are then started two at a time by this program:
``overhead_ms_per_job`` is the difference, from the entry that submits the task to the one that ends it, by the job.
With --restart there are three network nodes and two operators, each of which is killed and started again in the
middle of the sweep: the second half of the jobs wait at a gate, which is opened once all nodes are there again.
Nothing is held against a limit then but that every job has run once. Exit code 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import swarm
from benchmarks.jobnetwork import JobNetwork, task
from swarm.errors import CheckFailed, SwarmError
from swarm.nodes.client import Client
from swarm.nodes.launch import Launch
from swarm.nodes.submitting import submit

OVERHEAD_LIMIT_MS = 60.0
ENTRIES_LIMIT = 4.0
SLOTS = 2
LOOK_EVERY_S = 0.5
PATIENCE_S = 1800.0
NAME = "sweep"


def words(place: Path, number: str, wait: str = "") -> list[str]:
    """`set -C` makes > fail where there is a file."""
    return ["sh", "-c", f'{wait.format(number)}set -C; : >"{place}/{number}"']


class Sweep:
    def __init__(self, network: JobNetwork, place: Path, jobs: int) -> None:
        self._network = network
        self._place = place
        self._jobs = jobs
        self._gate = place.with_name("gate")

    def run(self, *, restart: bool) -> dict[str, Any]:
        """Seconds and entries; raises CheckFailed unless every job has run once."""
        before, cpu_s = self._network.do(_head), self._network.cpu_s()
        command = words(self._place, "%JOB", self._waits() if restart else "")
        self._network.do(submit(task(NAME, Command=command, ForEach={"%JOB": self._numbers()})))
        if restart:
            self._restart()
        found = self._until(lambda found: _over(found["state"]))
        entries = self._network.do(_head) - before
        ran = sorted(path.name for path in self._place.iterdir())
        if found["state"] != "done" or len(ran) != self._jobs:
            raise CheckFailed(f"{len(ran)} of {self._jobs} jobs have run, and the task is {found['state']}: {found}")
        seconds = (_ms(found["ended"]) - _ms(found["created"])) / 1000
        spent = {role: (after - cpu_s[role]) / self._jobs * 1000 for role, after in self._network.cpu_s().items()}
        return {
            "swarm_s": round(seconds, 3),
            "ledger_entries_per_job": round(entries / self._jobs, 3),
            "cpu_ms_per_job": {role: round(each, 2) for role, each in spent.items()},
        }

    def _waits(self) -> str:
        """What each job of the second half does before all else, for its number: nobody opens the gate to write yet."""
        os.mkfifo(self._gate)
        return f'[ {{}} -lt {self._jobs // 2} ] || : <"{self._gate}"; '

    def _restart(self) -> None:
        """Every node, one after the other, while jobs run and wait; then the gate is open."""
        self._until(lambda found: found["counts"].get("done", 0) >= self._jobs // 8)
        for node in [*self._network.swarm.network, *self._network.swarm.operators]:
            self._network.restart(node)
        done = self._until(lambda _: True)
        if _over(done["state"]):
            raise CheckFailed(f"the sweep was over before every node had been killed: {done}")
        os.open(self._gate, os.O_RDWR)

    def _numbers(self) -> list[str]:
        return [str(number) for number in range(self._jobs)]

    def _until(self, condition: Any) -> dict[str, Any]:
        """Asks now and then: whoever followed the ledger would take a core from those who keep it."""

        async def look(client: Client) -> dict[str, Any]:
            found: dict[str, Any] = await client.ask("job", {"task": NAME, "first": self._jobs})
            return {name: found[name] for name in ("state", "message", "counts", "created", "ended")}

        until = time.monotonic() + PATIENCE_S
        while not condition(found := self._network.do(look)):
            if time.monotonic() > until:
                raise CheckFailed(f"after {PATIENCE_S:g} s the sweep is {found}")
            time.sleep(LOOK_EVERY_S)
        return found


def _over(state: str) -> bool:
    return state not in ("queued", "testing", "running")


async def _head(client: Client) -> int:
    return int((await client.status())["head"])


def _ms(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1000


def directly(place: Path, jobs: int) -> float:
    """Seconds that the same processes take, two at a time."""
    began = time.monotonic()
    with ThreadPoolExecutor(SLOTS) as pool:
        codes = list(pool.map(lambda number: subprocess.call(words(place, str(number))), range(jobs)))
    if any(codes):
        raise CheckFailed(f"{sum(map(bool, codes))} of {jobs} processes failed")
    return time.monotonic() - began


def measure(directory: Path, launch: Launch, jobs: int, restart: bool) -> dict[str, Any]:
    places = [directory / "jobs", directory / "direct"]
    for place in places:
        place.mkdir()
    network = JobNetwork(directory, launch, sns=3 if restart else 1, operators=2 if restart else 1, cpu=SLOTS)
    measured = Sweep(network, places[0], jobs).run(restart=restart)
    direct_s = directly(places[1], jobs)
    overhead = (measured["swarm_s"] - direct_s) / jobs * 1000
    return {**measured, "direct_s": round(direct_s, 3), "overhead_ms_per_job": round(overhead, 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--restart", action="store_true", help="kill and start every node in the middle")
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as directory, Launch() as launch:
            found = measure(Path(directory), launch, flags.jobs, flags.restart)
    except SwarmError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.code
    ok = flags.restart or (
        found["overhead_ms_per_job"] <= OVERHEAD_LIMIT_MS and found["ledger_entries_per_job"] <= ENTRIES_LIMIT
    )
    head = {"ok": ok, "version": swarm.__version__, "seconds": round(time.monotonic() - began, 3)}
    if flags.json:
        print(json.dumps({**head, "jobs": flags.jobs, "restart": flags.restart, "slots": SLOTS, **found}))
    else:
        print(
            f"{flags.jobs} jobs, every one once: {found['overhead_ms_per_job']:.1f} ms a job beside its own process, "
            f"limit {OVERHEAD_LIMIT_MS:g} ms; {found['ledger_entries_per_job']:.2f} entries of the ledger a job, "
            f"limit {ENTRIES_LIMIT:g}"
        )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
