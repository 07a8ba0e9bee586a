"""``swarm uninstall``: end what runs on this host and remove what nodes have kept.

Certificates and the package stay.
"""

from __future__ import annotations

import click

from swarm.cli.ending import entry
from swarm.cli.help import Command
from swarm.errors import Refused

EXAMPLES = """
swarm uninstall          shows what would go, and asks
swarm uninstall --yes    does not ask
"""


@click.command(
    "uninstall",
    cls=Command,
    examples=EXAMPLES,
    help="End the nodes of this host that run-sn, run-sl, run-swop, run-swci -d and swarm up left running, and remove "
    "their state: ledgers, node keys, logs, volumes. Certificates are kept, and so is the package.",
)
@click.option("--yes", is_flag=True, help="do not ask")
def command(yes: bool) -> None:
    from swarm.nodes.removal import leftover, remove, still_running
    from swarm.runtime.statedir import default_state_dir

    base = default_state_dir("up").parent
    going = leftover(base)
    if not going:
        click.echo(f"there is nothing in {base}")
    else:
        click.echo("to be ended and removed:")
        for path in going:
            click.echo(f"  {path}")
        if not yes:
            click.confirm("A network node's ledger cannot be made again. Go on?", abort=True)
        if held := still_running(base):
            raise Refused(
                f"nodes run in {', '.join(str(path) for path in held)}, and not by -d: nothing was removed",
                hint="end them where they were started (Ctrl-C), then try again",
            )
        for path in remove(base):
            click.echo(f"kept: {path}")
    click.echo("The package is left: pip uninstall swarm-learning removes it.")


main = entry(command)

if __name__ == "__main__":
    main()
