"""``swarm sn``: what a person decides about network nodes."""

from __future__ import annotations

import click

from swarm.cli.ending import print_json
from swarm.cli.entrance import network_flags
from swarm.cli.help import Command
from swarm.nodes.entrance import Entrance

EXAMPLES = """
swarm sn promote --force --sn-ip 10.2.2.2 --key swci-2-key.pem --cert swci-2-cert.pem --capath ca/capath
swarm sn remove sn-3       of the swarm that swarm up started here: it will not come back
"""


@click.group("sn", help="The network nodes: what only a person can decide about them.")
def command() -> None:
    pass


def _must_be_meant(context: click.Context, parameter: click.Parameter, force: bool) -> None:
    from swarm.nodes.promotion import must_be_meant

    must_be_meant(force)


@command.command(
    "promote",
    cls=Command,
    examples=EXAMPLES,
    help="Let the network node at --sn-ip decide alone, when the ledger pauses because the others are lost for good. "
    "What they acknowledged without it is lost; should one come back, it lists that and comes back as a learner. "
    "Refused while whoever leads answers, or a majority is there. Needs the certificate of a command interface (SWCI) "
    "of the sentinel's organisation or of the node's.",
)
@click.option(
    "--force",
    is_flag=True,
    expose_value=False,
    callback=_must_be_meant,
    help="yes: what the others acknowledged alone may be lost",
)
@click.option("--reason", help="what the ledger records of it  [default: the voters before will not come back]")
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def promote(reason: str | None, entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes import promotion

    status = entrance.ask(lambda client: promotion.promote(client, reason or promotion.REASON))
    if as_json:
        print_json({"node": status["node"], "epoch": status["epoch"], "head": status["head"]})
        return
    node = status["node"]
    click.echo(
        f"{node['name']} ({node['organisation']}) decides alone now, in epoch {status['epoch']} of the ledger; "
        "new network nodes may join through it"
    )


@command.command(
    "remove",
    cls=Command,
    examples=EXAMPLES,
    help="Take a network node out of the ledger for good: it counts for no majority any longer, and its node key is "
    "never taken back. NAME is its name, or its uid where two share one (see swarm nodes). Needs the certificate of a "
    "command interface (SWCI) of the sentinel's organisation or of the node's.",
)
@click.argument("name")
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def remove(name: str, entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes.governing import removed

    done = entrance.ask(removed(name))
    if as_json:
        print_json(done)
        return
    click.echo(f"{done['name']} ({done['organisation']}) is removed: its node key is not taken back")
