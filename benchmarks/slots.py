"""How long people wait for an answer while thousands of jobs are queued.

    python -m benchmarks.slots [--queued 10000] [--json]

A network node and an operator with one CPU slot, as real processes. One task has half of the jobs, tasks of ten have
the others; a job before them keeps the slot. Then all tasks are listed, and all jobs of the large one, as `swarm task
ls` and `swarm status ID` ask for them, with a connection for each answer. ``listing_s`` is the longer of the two, each
the median of three. Exit code 1 if it is over its limit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import swarm
from benchmarks.jobnetwork import JobNetwork, task
from swarm.errors import CheckFailed, SwarmError
from swarm.nodes.client import Client
from swarm.nodes.launch import Launch
from swarm.nodes.submitting import listed, shown, submit

LISTING_LIMIT_S = 1.0
SMALL = 10
"""Jobs of each small task."""
TIMES = 3


async def queue(client: Client, count: int) -> int:
    """How many tasks there are then."""
    await submit(task("first", Command=["sleep", "100000"]))(client)
    await submit(task("large", Command=["true"], Replicas=count // 2))(client)
    for number in range(count // 2 // SMALL):
        await submit(task(f"small-{number}", Command=["true"], Replicas=SMALL))(client)
    return 2 + count // 2 // SMALL


async def ask(client: Client) -> dict[str, float]:
    """Seconds of each listing; raises CheckFailed if one is not complete."""
    tasks_s, slots_s = [], []
    for _ in range(TIMES):
        began = time.monotonic()
        tasks = (await listed(client))["tasks"]
        tasks_s.append(time.monotonic() - began)
        began = time.monotonic()
        slots = (await shown("large")(client))["slots"]
        slots_s.append(time.monotonic() - began)
        waiting = [row["position"] for row in tasks if row["state"] == "queued"]
        if waiting != list(range(len(tasks) - 1)) or [slot["index"] for slot in slots] != list(range(len(slots))):
            raise CheckFailed(f"the listings of {len(tasks)} tasks and {len(slots)} jobs are not complete")
    return {"tasks_listing_s": round(median(tasks_s), 3), "slots_listing_s": round(median(slots_s), 3)}


def measure(directory: Path, launch: Launch, count: int) -> dict[str, Any]:
    network = JobNetwork(directory, launch, cpu=1)

    async def filled(client: Client) -> int:
        return await queue(client, count)

    network.do(filled)
    found = network.do(ask, "swci-2")  # it has nothing of the ledger to read
    return {**found, "listing_s": max(found.values())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as directory, Launch() as launch:
            found = measure(Path(directory), launch, flags.queued)
    except SwarmError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.code
    ok = found["listing_s"] <= LISTING_LIMIT_S
    head = {"ok": ok, "version": swarm.__version__, "seconds": round(time.monotonic() - began, 3)}
    if flags.json:
        print(json.dumps({**head, "queued": flags.queued, **found}))
    else:
        print(
            f"{flags.queued} jobs queued: all tasks in {found['tasks_listing_s']:.2f} s, the jobs of a large one in "
            f"{found['slots_listing_s']:.2f} s, limit {LISTING_LIMIT_S:g} s"
        )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
