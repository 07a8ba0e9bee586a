"""``swarm contract``: look after a training contract from the command line."""

from __future__ import annotations

from pathlib import Path

import click

from swarm.cli.ending import print_json
from swarm.cli.help import Command
from swarm.errors import BadInput

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
@click.option("--sn-ip", metavar="IP", help="a network node  [default: that of swarm up]")
@click.option("--sn-api-port", default=30304, show_default=True, type=click.IntRange(1, 65535))
@click.option("--key", type=click.Path(path_type=Path), help="private key of the SWCI, PEM, mode 0600")
@click.option("--cert", type=click.Path(path_type=Path), help="certificate of the SWCI, PEM")
@click.option("--capath", type=click.Path(path_type=Path), help="directory with every organisation's CA")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def reset(
    name: str,
    sn_ip: str | None,
    sn_api_port: int,
    key: Path | None,
    cert: Path | None,
    capath: Path | None,
    as_json: bool,
) -> None:
    given = (sn_ip, key, cert, capath)
    if any(given) and not all(given):
        raise BadInput("--sn-ip, --key, --cert and --capath belong together", hint="give all of them, or none")
    from swarm.nodes.asking import propose
    from swarm.nodes.scratch import scratch_directory
    from swarm.runtime.credentials import Credentials

    if sn_ip and key and cert and capath:
        address = (sn_ip, sn_api_port)
    else:
        address, cert, key, capath = of_swarm_up()
    credentials = Credentials.load(cert, key, capath, expect_roles=("swci",))
    with scratch_directory("swarm-reset-") as directory:
        propose(address, credentials, directory / "swci", "ContractReset", {"contract": name})
    if as_json:
        print_json({"contract": name})
    else:
        click.echo(f"contract {name} is reset: the next program that names it opens it anew")


def of_swarm_up() -> tuple[tuple[str, int], Path, Path, Path]:
    """(address, certificate, key, capath) of the first organisation of `swarm up`."""
    from swarm.nodes.local import HOST
    from swarm.nodes.standing import Standing
    from swarm.runtime.authority import CertificateTree
    from swarm.runtime.statedir import default_state_dir

    standing = Standing(default_state_dir("up"))
    running = [node for node in standing.nodes() if node.process()]
    if not running:
        raise BadInput("no swarm runs here", hint="swarm up starts one; --sn-ip names one elsewhere")
    tree = CertificateTree(standing.directory / "org-1", "1")
    return (HOST, standing.api_port(running[0].name)), tree.certificate("swci"), tree.key("swci"), tree.capath
