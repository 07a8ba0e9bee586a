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
import sys
from collections.abc import Sequence

from benchmarks.peers.measuring import WARM_UPS, measured, planned
from benchmarks.peers.systems import SYSTEMS
from benchmarks.peers.table import markdown
from swarm.errors import BadInput, CheckFailed, SwarmError
from swarm.nodes.launch import ended_by_signals


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
        plan = planned(given.peers, given.mb, given.rounds, given.kill)
        with ended_by_signals():
            told = measured(plan, [SYSTEMS[name] for name in given.names or SYSTEMS], arguments)
        ok = any(each["verified"] for each in told["rows"][:-1])
        print(json.dumps({"ok": ok, **told}) if given.json else markdown(told), end="\n" if given.json else "")
        if not ok:
            raise CheckFailed("no other system could be measured")
    except SwarmError as error:
        print(f"error: {error.message}" + (f"\n  hint: {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
