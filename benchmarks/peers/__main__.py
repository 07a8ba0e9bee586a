"""One merge round of other systems, measured as swarm's are, and swarm's beside them in the same run.

    python -m benchmarks.peers [NAME ...] [--peers 4] [--mb 1] [--rounds 5] [--kill] [--json]

Every system runs with its own processes in an environment of its own (`environment`), installed when first needed, with
its settings of `systems`; before and after each there are rounds of `swarm bench merge`, and a row's ratio is to the
median of these two. Rounds are timed and results checked as `rows` says; a row whose results are not the mean, or that
could not be run, is void and says why. With --kill the last participant's processes are SIGKILLed in the middle of a
round. Prints Markdown, or one JSON object. Exit code 1 if swarm's own rounds fail, or no other row stands.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from statistics import median
from typing import Any

import swarm as product
from benchmarks.peers import beside, running
from benchmarks.peers.environment import python_of, version
from benchmarks.peers.participant import Plan, said
from benchmarks.peers.rows import row
from benchmarks.peers.systems import HERE, SYSTEMS, System
from benchmarks.peers.table import markdown
from swarm.errors import BadInput, CheckFailed, SwarmError
from swarm.nodes.launch import ended_by_signals
from swarm.nodes.scratch import scratch_directory

WARM_UPS = 2
OWN = {
    "name": "swarm",
    "title": "swarm",
    "settings": "mean, fp32, defaults; `swarm bench merge`",
    "tls": "TLS 1.3, certificates on both sides",
    "clock": "the programs' copies to and from their nodes, hashes, signatures, the ledger",
    "on_death": "minPeers is one less than all; a learning node is killed while it scatters",
}


def measure(plan: Plan, systems: Sequence[System]) -> list[dict[str, Any]]:
    """A row for each system, the last for swarm."""
    own = [beside.swarm(plan)]
    rows = []
    for system in systems:
        head, installed = _head(system), None
        try:
            installed = python_of(system)
            with scratch_directory("swarm-peers-") as place:
                trouble = running.run(system, installed, plan, place)
                found = row(plan, [said(place, peer) for peer in range(plan.peers)], trouble)
        except BadInput as error:
            found = row(plan, [[] for _ in range(plan.peers)], error.message)
        own.append(beside.swarm(plan))
        around = median([own[-2].median_s, own[-1].median_s])
        ratio = None if found["median_s"] is None else round(found["median_s"] / around, 2)
        named = version(installed, system.package) if installed else None
        rows.append({**head, "version": named, **found, "swarm_s": round(around, 4), "ratio": ratio})
        _watch(rows[-1])
    return [*rows, _own_row(plan, own)]


def _head(system: System) -> dict[str, Any]:
    told = ("name", "title", "settings", "tls", "clock")
    return {**{name: getattr(system, name) for name in told}, "on_death": system.killed}


def _own_row(plan: Plan, own: list[beside.Own]) -> dict[str, Any]:
    hits = [each.killed_s for each in own if each.killed_s is not None]
    killed = {"others_s": round(median(hits), 4), "mean_of": [], "later_s": None, "never": None} if hits else None
    medians = [each.median_s for each in own]
    checked = {"verified": True, "void": None, "deviation": 0.0, "median_s": round(median(medians), 4)}
    return {
        **OWN,
        "version": product.__version__,
        **checked,
        "rounds_s": medians,
        "killed": killed,
        "swarm_s": None,
        "ratio": None,
    }


def _watch(found: dict[str, Any]) -> None:
    said = found["void"] or f"{found['median_s']:.3f} s a round, {found['ratio']} times swarm's"
    print(f"{found['name']}: {said}", file=sys.stderr)


def about(arguments: Sequence[str]) -> dict[str, Any]:
    """When, what, where: without it figures mean nothing."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": date.today().isoformat(),
        "commit": asked.stdout.strip() or "unknown",
        "command": " ".join(["python -m benchmarks.peers", *arguments]),
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.0f} before",
    }


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SYSTEMS)}; none: all")
    for name, default, told in (
        ("--peers", 4, "participants"),
        ("--mb", 1, "size of the model, in 10^6 bytes of float32"),
        ("--rounds", 5, f"measured; {WARM_UPS} more warm up"),
    ):
        parser.add_argument(name, type=int, default=default, help=f"{told} [default: {default}]")
    parser.add_argument("--kill", action="store_true", help="SIGKILL the last participant in the middle of a round")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    given = parser.parse_args(arguments)
    for name in given.names:
        if name not in SYSTEMS:
            raise BadInput(f"no system {name!r} is measured here, expected one of {', '.join(SYSTEMS)}")
    least = {"peers": 3 if given.kill else 2, "mb": 1, "rounds": 3 if given.kill else 1}
    for name, lowest in least.items():
        if getattr(given, name) < lowest:
            raise BadInput(f"--{name}: expected at least {lowest}, got {getattr(given, name)}")
    return given


def main(arguments: Sequence[str]) -> int:
    try:
        given = parsed(arguments)
        killed = WARM_UPS + given.rounds // 2 if given.kill else None
        plan = Plan(given.peers, given.mb, WARM_UPS, given.rounds, killed)
        head = about(arguments)
        sizes = {"peers": plan.peers, "mb": plan.mb, "rounds": plan.rounds, "warm_ups": WARM_UPS, "kill": given.kill}
        with ended_by_signals():
            rows = measure(plan, [SYSTEMS[name] for name in given.names or SYSTEMS])
        found = {**head, **sizes, "rows": rows}
        ok = any(each["verified"] for each in rows[:-1])
        print(json.dumps({"ok": ok, **found}) if given.json else markdown(found), end="\n" if given.json else "")
        if not ok:
            raise CheckFailed("no other system could be measured")
    except SwarmError as error:
        print(f"error: {error.message}" + (f"\n  hint: {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
