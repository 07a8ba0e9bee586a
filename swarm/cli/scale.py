"""``swarm scale``: more or fewer slots of a role, while its task runs."""

from __future__ import annotations

import click

from swarm.cli.ending import print_json
from swarm.cli.entrance import network_flags
from swarm.cli.help import Command
from swarm.nodes.entrance import Entrance

EXAMPLES = """
swarm scale cartpole collector=+1     one more
swarm scale cartpole collector=3      three of them
swarm scale cartpole collector=-1     one less: says which was removed
"""


@click.command(
    "scale",
    cls=Command,
    examples=EXAMPLES,
    help="Change how many slots a role of a running task has, within its Replicas. Other slots go on as they are; the "
    "highest indices are removed first, and what they held of the task's items is given out again.",
)
@click.argument("task")
@click.argument("change", metavar="ROLE=NUMBER")
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def command(task: str, change: str, entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes.playing import scaled

    done = entrance.ask(scaled(task, change))
    if as_json:
        print_json(done)
        return
    for what in ("added", "removed"):
        for slot in done[what]:
            click.echo(f"{what} {slot['role']} {slot['index']} (slot {slot['id']})")
    click.echo(f"task {done['task']} has {done['slots']} slots of {done['role']}")
