"""``swarm contract``: look after a training contract from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swarm.cli.ending import print_json
from swarm.cli.entrance import Entrance, ask, network_flags
from swarm.cli.help import Command

if TYPE_CHECKING:
    from swarm.core.events import Outcome
    from swarm.nodes.client import Client

RESET_EXAMPLES = """
swarm contract reset demo       in the swarm that swarm up started here
swarm contract reset demo --sn-ip 10.1.1.1 --key swci-1-key.pem --cert swci-1-cert.pem --capath ca/capath
"""


@click.group("contract", help="Look after a training contract.")
def command() -> None:
    pass


@command.command(
    "reset",
    cls=Command,
    examples=RESET_EXAMPLES,
    help="Forget a contract: its agreement, members and rounds. A training under way in it ends; the next program that "
    "names it opens it anew. Needs the certificate of a command interface (SWCI) of an organisation of the contract.",
)
@click.argument("name")
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def reset(name: str, entrance: Entrance, as_json: bool) -> None:
    async def propose(client: Client) -> Outcome:
        return await client.propose("ContractReset", {"contract": name})

    ask(entrance, propose)
    if as_json:
        print_json({"contract": name})
    else:
        click.echo(f"contract {name} is reset: the next program that names it opens it anew")
