"""``swarm logs``: what nodes and programs on this host have written."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm.cli.ending import print_json, printable
from swarm.cli.help import Command
from swarm.errors import BadInput

if TYPE_CHECKING:
    from swarm.nodes.logs import Log

EXAMPLES = """
swarm logs                the logs that are on this host
swarm logs sn-1           the end of a node's
swarm logs 12.0 -f        that of the program in a slot, and what comes
swarm logs 12.0.sl        that of the slot's learning node
swarm logs cv             of a task that ran one slot here; of several it names the slots
"""
LOOK_EVERY_S = 0.2


@click.command(
    "logs",
    cls=Command,
    examples=EXAMPLES,
    help="Show the log of a node or slot of this host; without a name, which there are. Slots are those of swarm slots "
    "ls, swarm status and GET TASKRUNNER PEER STATUS.",
)
@click.argument("name", required=False)
@click.option("-n", "--lines", default=100, show_default=True, type=click.IntRange(0, 100_000), help="how many")
@click.option("-f", "--follow", is_flag=True, help="go on with what comes, until Ctrl-C")
@click.option("--state", type=click.Path(path_type=Path), help="where to look  [default: where nodes keep their state]")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def command(name: str | None, lines: int, follow: bool, state: Path | None, as_json: bool) -> None:
    from swarm.nodes.logs import find, logs
    from swarm.runtime.statedir import default_state_dir

    base = state or default_state_dir("up").parent
    if name is None:
        _list(logs(base), base, as_json)
        return
    if follow and as_json:
        raise BadInput("--follow never ends, --json is one object: choose one of them")
    log = find(base, name)
    shown, position = log.last(lines)
    if as_json:
        print_json({"name": log.name, "path": str(log.path), "lines": shown})
        return
    for line in shown:
        click.echo(printable(line))
    while follow:
        text, position = log.since(position)
        click.echo(printable(text), nl=False)
        time.sleep(LOOK_EVERY_S)


def _list(found: list[Log], base: Path, as_json: bool) -> None:
    if as_json:
        print_json({"logs": [{"name": log.name, "path": str(log.path), "bytes": log.bytes} for log in found]})
        return
    if not found:
        click.echo(f"there are no logs in {base}")
        return
    from swarm.cli.tables import count_bytes, output, table

    shown = table("name", ">size", "last written (UTC)", "file")
    for log in found:
        written = datetime.fromtimestamp(log.modified_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
        shown.add_row(log.name, count_bytes(log.bytes), written, str(log.path))
    output().print(shown)
