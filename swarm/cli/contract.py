"""``swarm contract``: look after a training contract from the command line."""

from __future__ import annotations

import click

from swarm.cli.ending import print_json
from swarm.cli.entrance import network_flags
from swarm.cli.help import Command
from swarm.nodes.entrance import Entrance

RESET_EXAMPLES = """
swarm contract reset demo       in the swarm that swarm up started here
swarm contract reset demo --sn-ip 10.1.1.1 --key swci-1-key.pem --cert swci-1-cert.pem --capath ca/capath
"""

REBASE_EXAMPLES = """
swarm contract rebase demo             says which model would be given up, and does nothing
swarm contract rebase demo --force     gives it up: the newest earlier model that a live member holds is the base again
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
def reset_command(name: str, entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes.governing import reset

    done = entrance.ask(reset(name))
    if as_json:
        print_json(done)
    else:
        click.echo(f"contract {name} is reset: the next program that names it opens it anew")


@command.command(
    "rebase",
    cls=Command,
    examples=REBASE_EXAMPLES,
    help="Give up the newest model of a contract because everybody who holds it is gone for good. The others go on "
    "from the newest earlier one that a live member holds, or from the beginning. Refused while anybody at hand can "
    "serve it. Needs the certificate of a command interface (SWCI) of an organisation of the contract.",
)
@click.argument("name")
@network_flags
@click.option("--force", is_flag=True, help="do it: what the lost model had learned since is gone")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def rebase_command(name: str, entrance: Entrance, force: bool, as_json: bool) -> None:
    from swarm.nodes.governing import rebased

    done = entrance.ask(rebased(name, force=force))
    if as_json:
        print_json(done)
    else:
        click.echo(f"contract {name} has given up {done['lost']}: its base is {done['base']} again")
