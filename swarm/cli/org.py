"""``swarm org``: the organisations of a network; admit one more."""

from __future__ import annotations

from pathlib import Path

import click

from swarm.cli.ending import print_json
from swarm.cli.entrance import network_flags
from swarm.cli.help import Command
from swarm.nodes.entrance import Entrance

EXAMPLES = """
swarm org list                      of the swarm that swarm up started here
swarm org admit ca-3-cert.pem --sn-ip 10.1.1.1 --key swci-1-key.pem --cert swci-1-cert.pem --capath ca/capath
"""


@click.group("org", help="The organisations of a network: a CA each.")
def command() -> None:
    pass


@command.command(
    "list",
    cls=Command,
    examples=EXAMPLES,
    help="List the organisations that the ledger has admitted, with the SHA-256 of their CA's public key.",
)
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def listing(entrance: Entrance, as_json: bool) -> None:
    from swarm.cli.tables import output, table
    from swarm.nodes.client import Client

    rows = entrance.ask(Client.status)["organisations"]
    if as_json:
        print_json({"organisations": rows})
        return
    shown = table("organisation", ">live nodes", "key")
    for row in rows:
        shown.add_row(row["name"], str(row["live_nodes"]), row["key"])
    output().print(shown)


@command.command(
    "admit",
    cls=Command,
    examples=EXAMPLES,
    help="Admit an organisation by its CA certificate. Needs the certificate of a command interface (SWCI) of the "
    "sentinel's organisation. The nodes' own capath still decides whom each of them talks to: put the file there too.",
)
@click.argument("ca", type=click.Path(path_type=Path), metavar="CA.pem")
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def admit(ca: Path, entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes.governing import admitted

    done = entrance.ask(admitted(ca))
    if as_json:
        print_json(done)
        return
    known = "was admitted already" if done["known"] else "is admitted"
    click.echo(f"organisation {done['organisation']} {known} ({done['key']})")
