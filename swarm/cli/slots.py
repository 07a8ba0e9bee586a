"""``swarm slots`` and ``swarm queue``: who runs what under which lease, and what waits for room."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from swarm.cli import watching
from swarm.cli.ending import print_json
from swarm.cli.entrance import network_flags
from swarm.cli.help import Command
from swarm.cli.watching import watch_flag
from swarm.nodes.entrance import Entrance

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLES = """
swarm slots ls            the slots of all tasks that have not ended
swarm slots ls cv         those of one, by its id or name
swarm slots ls cv -w      the same, again whenever it changes, until the task has ended
swarm slots show 12.0     one: its owner, lease, attempts and address, and the last lines of its log
"""
QUEUE = """
swarm queue               the tasks that wait, the next one first, and the room that operators have
"""
SHOWN_MAX = 200
"""Of a table; --json has all."""


@click.group("slots", help="The slots of tasks: each is one instance of a job or of a role, held under a lease.")
def command() -> None:
    pass


@command.command(
    "ls",
    cls=Command,
    examples=EXAMPLES,
    help="List slots, of all tasks that have not ended or of one. Of all tasks, -w ends with an empty table.",
)
@click.argument("task", required=False)
@network_flags
@watch_flag
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def ls(task: str | None, entrance: Entrance, watch: bool, as_json: bool) -> None:
    from swarm.nodes import slotlist

    if watch:
        look, goes_on = partial(slotlist.rows, task=task), partial(slotlist.goes_on, task=task)
        watching.watch(entrance, look, goes_on, _slots, as_json)
        return
    found = entrance.ask(slotlist.slots(task))
    if as_json:
        print_json(found)
        return
    from swarm.cli.tables import output

    output().print(_slots(found["slots"]))


def _slots(rows: list[dict[str, Any]]) -> Table:
    from swarm.cli.tables import table

    shown = table("slot", "name", "owner", "holder", ">lease", "state", ">attempt", "address", "~why")
    for row in rows[:SHOWN_MAX]:
        held = (row["owner"], row["swop"] or "", str(row["fence"] or ""), row["state"], str(row["attempt"]))
        shown.add_row(row["id"], row["name"], *held, row["address"] or "", row["reason"])
    if len(rows) > SHOWN_MAX:
        shown.caption, shown.caption_justify = f"and {len(rows) - SHOWN_MAX} slots more: --json shows them", "left"
    return shown


@command.command("show", cls=Command, examples=EXAMPLES, help="Show one slot, with the last lines of its log.")
@click.argument("slot")
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def show(slot: str, entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes import slotlist

    found = entrance.ask(slotlist.slot(slot))
    if as_json:
        print_json(found)
        return
    lease = f"held by {found['swop']} under lease {found['fence']}" if found["leased"] else "held by nobody"
    click.echo(f"slot {found['id']} {found['name']}: {found['state']}, {lease}, attempt {found['attempt']}")
    for name in ("reason", "owner", "input", "address", "learning_node", "started", "ended", "exit_code"):
        if found[name] not in (None, ""):
            click.echo(f"{name.replace('_', ' ')}: {found[name]}")
    for line in found["lines"]:
        click.echo(line)


@click.command(
    "queue", cls=Command, examples=QUEUE, help="Show the tasks that wait, in their order, and what room there is."
)
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def queue(entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes import slotlist

    found: dict[str, Any] = entrance.ask(slotlist.queue)
    if as_json:
        print_json(found)
        return
    from swarm.cli.tables import output, table

    waiting = table(">ahead", ">id", "task", "user", "~why")
    for row in found["tasks"]:
        waiting.add_row(str(row["position"]), str(row["id"]), row["name"], row["user"], row["message"])
    rooms = table("operator", "organisation", ">cpu", ">free", ">gpu", ">free")
    for row in found["operators"]:
        counts = (row["cpu"], row["free_cpu"], row["gpu"], row["free_gpu"])
        rooms.add_row(row["name"], row["organisation"], *map(str, counts))
    for shown, none in ((waiting, "nothing waits"), (rooms, "no operator offers room")):
        if shown.row_count:
            output().print(shown)
        else:
            click.echo(none)
