"""``stop-swarm``: end the nodes of this host that launchers left running with ``-d``."""

from __future__ import annotations

import click

from swarm.cli.ending import entry
from swarm.cli.help import Command

EXAMPLES = """
stop-swarm                all of them
stop-swarm --swop --keep  operators only; what --rm would throw away stays
"""
# In the order in which they end: who asks for something before who gives it.
KINDS = {
    "swci": "Swarm Command Interface",
    "swop": "Swarm Operator",
    "sl": "Swarm Learning",
    "sn": "Swarm Network",
}


@click.command(
    "stop-swarm",
    cls=Command,
    examples=EXAMPLES,
    context_settings={"token_normalize_func": str.lower},
    help="End the nodes that run-sn, run-sl, run-swop and run-swci left running here with -d, and nothing else. "
    "An operator ends its workers first. Nodes started with --rm lose their state directory.",
)
@click.option("--all", "everything", is_flag=True, help="all four kinds, as without any of these flags")
@click.option("--sn", is_flag=True, help="network nodes")
@click.option("--sl", is_flag=True, help="learning nodes, with their programs")
@click.option("--swop", is_flag=True, help="operators")
@click.option("--swci", is_flag=True, help="command interfaces")
@click.option("--keep", is_flag=True, help="leave every state directory where it is")
@click.option("--sudo", is_flag=True, hidden=True, expose_value=False)
def command(everything: bool, sn: bool, sl: bool, swop: bool, swci: bool, keep: bool) -> None:
    from swarm.nodes.detached import detached, forget, stop
    from swarm.nodes.launch import ended_by_signals

    chosen = {"sn": sn, "sl": sl, "swop": swop, "swci": swci}
    with ended_by_signals():
        for role, title in KINDS.items():
            if any(chosen.values()) and not everything and not chosen[role]:
                continue
            ours = [one for one in detached() if one.role == role]
            if running := [one for one in ours if one.running]:
                click.echo(f"Stopping all running {title} containers")
                for one in running:
                    click.echo(f"  {one.node.name} (process {one.node.pid})")
            else:
                click.echo(f"No running {title} containers found")
            stop(ours)
            if ours and not keep:
                click.echo(f"Removing all {title} containers")
            forget(ours, keep=keep)


main = entry(command)

if __name__ == "__main__":
    main()
