"""How long people wait for an answer while thousands of jobs are queued.

    python -m benchmarks.slots [--queued 10000] [--json]

A network node and an operator with two CPU slots, as real processes. First a role of a task is scaled by one, there and
back, and ``scaling_s`` is from asking for it until the slot runs. Then one task has half of the jobs, tasks of ten have
the others; a job before them keeps both slots. All tasks are listed, and all jobs of the large one, as `swarm task ls`
and `swarm status ID` ask for them, with a connection for each answer; ``listing_s`` is the longer of the two. Each is
the median of three. Exit code 1 if one is over its limit.
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
from swarm.core.ledger import Ledger
from swarm.errors import CheckFailed, SwarmError
from swarm.nodes.client import Client
from swarm.nodes.launch import Launch
from swarm.nodes.playing import scaled
from swarm.nodes.submitting import deleted, given, listed, shown, submit

LISTING_LIMIT_S = 1.0
SCALING_LIMIT_S = 2.0
PATIENCE_S = 60.0
SMALL = 10
"""Jobs of each small task."""
TIMES = 3


async def scale(client: Client) -> float:
    """Seconds from asking for one slot more until it runs."""
    role = {"Name": "worker", "Replicas": {"min": 1, "max": 2, "start": 1}, "Command": ["sleep", "100000"]}
    await given({"Name": "elastic", "TaskType": "RUN_SWARM", "Body": {"Roles": [role]}}, Path.cwd())(client)
    took_s = []
    await _running(client, 1)
    for _ in range(TIMES):
        began = time.monotonic()
        await scaled("elastic", "worker=+1")(client)
        await _running(client, 2)
        took_s.append(time.monotonic() - began)
        await scaled("elastic", "worker=-1")(client)
        await _running(client, 1)
    await deleted("elastic", force=True, outputs=False)(client)
    return round(median(took_s), 3)


async def _running(client: Client, count: int) -> None:
    """Until so many slots run, and no other is leased."""

    def come(ledger: Ledger) -> bool | None:
        run = ledger.board.jobs.of("elastic")
        leased = [slot.state for slot in run.slots.values() if slot.leased] if run else []
        return True if leased == ["running"] * count else None

    if await client.until(come, PATIENCE_S) is None:
        raise CheckFailed(f"after {PATIENCE_S:g} s there were not {count} slots that run")


async def queue(client: Client, count: int) -> int:
    """How many tasks there are then."""
    await submit(task("first", Command=["sleep", "100000"], Resources={"cpu": 2}))(client)
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
    network = JobNetwork(directory, launch, cpu=2)
    scaling_s = network.do(scale)

    async def filled(client: Client) -> int:
        return await queue(client, count)

    network.do(filled)
    found = network.do(ask, "swci-2")  # it has nothing of the ledger to read
    return {**found, "listing_s": max(found.values()), "scaling_s": scaling_s}


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
    ok = found["listing_s"] <= LISTING_LIMIT_S and found["scaling_s"] <= SCALING_LIMIT_S
    head = {"ok": ok, "version": swarm.__version__, "seconds": round(time.monotonic() - began, 3)}
    if flags.json:
        print(json.dumps({**head, "queued": flags.queued, **found}))
    else:
        print(
            f"{flags.queued} jobs queued: all tasks in {found['tasks_listing_s']:.2f} s, the jobs of a large one in "
            f"{found['slots_listing_s']:.2f} s, limit {LISTING_LIMIT_S:g} s; one slot more runs after "
            f"{found['scaling_s']:.2f} s, limit {SCALING_LIMIT_S:g} s"
        )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
