"""`python -m tests.chaos`: a swarm of real processes, broken at random for some minutes, then held to its promises.

    python -m tests.chaos --minutes 5                    root; three network nodes, two operators, five peers
    python -m tests.chaos --minutes 30 --seed 7 --json   the same faults in the same order; one JSON object on stdout

Exit code 0 when every promise held, 1 when one did not (logs and the history of faults are kept then), 2 where hosts of
their own cannot be made.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from random import SystemRandom

import click

from swarm.cli.ending import entry, print_json
from swarm.errors import CheckFailed, SwarmError
from swarm.nodes.bench.hosts import check_available
from swarm.nodes.launch import ended_by_signals
from tests.chaos import world
from tests.chaos.cluster import discard
from tests.chaos.run import Chaos, Settings

SENTENCES_MAX = 20


@click.command("chaos", help=(__doc__ or "").partition("\n")[0])
@click.option("--minutes", required=True, type=click.FloatRange(0.1, 10_000), help="how long things are broken")
@click.option("--peers", default=5, show_default=True, type=click.IntRange(4, 16), help="learning nodes with programs")
@click.option("--seed", type=click.IntRange(0, 10**9), help="which faults, when  [default: a new one, printed]")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def command(minutes: float, peers: int, seed: int | None, as_json: bool) -> None:
    check_available()
    if not world.inside():
        world.enter("tests.chaos", sys.argv[1:])
    began, seed = time.monotonic(), SystemRandom().randrange(10**6) if seed is None else seed
    _say(f"seed {seed}")
    directory = Path(tempfile.mkdtemp(prefix="swarm-chaos-"))
    try:
        try:
            failure = _answer(Settings(minutes, peers, seed), directory, began, as_json)
        except (SwarmError, ExceptionGroup) as error:
            failure = CheckFailed(_sentence(error))
        if failure:
            _say(f"logs and history: {_keep(directory)}")
            raise failure
    finally:
        discard(directory)


def _answer(settings: Settings, directory: Path, began: float, as_json: bool) -> CheckFailed | None:
    with ended_by_signals():
        findings = Chaos(settings, directory, _say).run()
    failure = CheckFailed("; ".join(findings.wrong[:SENTENCES_MAX])) if findings.wrong else None
    if as_json:
        print_json(findings.as_json(), began, failure=failure)
    else:
        for name, value in findings.as_json().items():
            click.echo(f"{name:26}{value}")
    return failure


def _sentence(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error.message if isinstance(error, SwarmError) else f"chaos met {error!r}"


def _say(line: str) -> None:
    click.echo(line, err=True)


def _keep(directory: Path) -> Path:
    """A copy that outlives this world, whose disks end with it."""
    kept = directory.with_name(f"{directory.name}-kept")
    shutil.copytree(directory, kept, symlinks=True, ignore=_not_plain, dirs_exist_ok=True)
    return kept


def _not_plain(folder: str, names: list[str]) -> list[str]:
    """What says nothing later: sockets, fillers, the programs' roots."""
    return [name for name in names if name in ("filler", "root") or not _is_plain(Path(folder, name))]


def _is_plain(path: Path) -> bool:
    return path.is_symlink() or path.is_dir() or path.is_file()


main = entry(command)

if __name__ == "__main__":
    main()
