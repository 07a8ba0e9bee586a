"""``swarm up`` and ``swarm down``: nodes on this machine that stay, and their end."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swarm.cli.ending import print_json
from swarm.cli.help import Command

if TYPE_CHECKING:
    from swarm.nodes.standing import Node, Standing

UP_EXAMPLES = """
swarm up                 two network nodes of two organisations, in the background
swarm up --sns 3         three, of which any one may die
swarm up --cpu 1         jobs run one at a time; takes effect on what runs already
swarm down               end them; the ledger stays for the next swarm up
swarm down --purge       end them and forget ledger, keys and certificates
"""


@click.command(
    "up",
    cls=Command,
    examples=UP_EXAMPLES,
    help="Start network nodes and an operator on this machine and leave them running, for tasks and for programs that "
    "are started by hand with run-sl. What runs already stays as it is; what swarm up started before and has ended "
    "goes on with its ledger.",
)
@click.option("--sns", default=2, show_default=True, type=click.IntRange(1, 5), help="network nodes")
@click.option("--cpu", type=click.IntRange(0, 4096), help="CPUs that jobs may have at a time  [default: all]")
@click.option("--gpu", default=0, show_default=True, type=click.IntRange(0, 4096), help="GPUs that jobs may have")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def up(sns: int, cpu: int | None, gpu: int, as_json: bool) -> None:
    from swarm.nodes.launch import ended_by_signals
    from swarm.nodes.standing import Standing
    from swarm.runtime.statedir import default_state_dir

    with ended_by_signals(), Standing(default_state_dir("up")) as standing:
        nodes = standing.up(sns, len(os.sched_getaffinity(0)) if cpu is None else cpu, gpu)
    network = [node for node in nodes if not node.is_operator]
    commands = [
        next_command(standing.directory, number, standing.api_port(node.name))
        for number, node in enumerate(network, start=1)
    ]
    if as_json:
        print_json({"directory": str(standing.directory), "nodes": rows(standing, nodes), "commands": commands})
        return
    show(standing, nodes)
    click.echo("\nNext, one participant of each organisation, in a terminal of its own:")
    for one in commands:
        click.echo(f"  {one}")
    click.echo("\nswarm down ends the nodes.")


@click.command(
    "down",
    cls=Command,
    examples=UP_EXAMPLES,
    help="End the nodes that swarm up started, and nothing else.",
)
@click.option("--purge", is_flag=True, help="forget their ledger, keys and certificates too")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def down(purge: bool, as_json: bool) -> None:
    from swarm.nodes.standing import Standing
    from swarm.runtime.statedir import default_state_dir

    ended = []
    if (directory := default_state_dir("up")).exists():
        with Standing(directory) as standing:
            ended = standing.down()
            if purge:
                standing.purge()
    if as_json:
        print_json({"ended": [node.name for node in ended], "purged": purge})
        return
    click.echo(f"ended {', '.join(node.name for node in ended)}" if ended else "nothing was running")
    if purge:
        click.echo(f"removed {directory}")


def next_command(directory: Path, number: int, api_port: int) -> str:
    """How a participant of the node's organisation joins."""
    organisation = directory / f"org-{number}"
    return shlex.join(
        [
            *("run-sl", "--sn-ip", "127.0.0.1", "--sn-api-port", str(api_port), "--sl-fs-port", "0"),
            *("--key", str(organisation / f"sl-{number}-key.pem")),
            *("--cert", str(organisation / f"sl-{number}-cert.pem")),
            *("--capath", str(organisation / "ca" / "capath")),
            *("--", "python", "train.py"),
        ]
    )


def rows(standing: Standing, nodes: list[Node]) -> list[dict[str, Any]]:
    return [
        {
            "name": node.name,
            "role": "SWOP" if node.is_operator else "SN",
            "pid": node.pid,
            "address": "" if node.is_operator else f"127.0.0.1:{standing.api_port(node.name)}",
            "organisation": (organisation := f"org-{node.name.rpartition('-')[2]}"),
            "certificates": str(standing.directory / organisation),
        }
        for node in nodes
    ]


def show(standing: Standing, nodes: list[Node]) -> None:
    from swarm.cli.tables import output, table

    shown = table("node", "organisation", ">process", "address", "certificates")
    for row in rows(standing, nodes):
        shown.add_row(row["name"], row["organisation"], str(row["pid"]), row["address"], row["certificates"])
    output().print(shown)
