"""``swarm audit``: whether the ledger that a network node keeps is what it says it is, without any network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm.cli.ending import print_json
from swarm.cli.help import Command

if TYPE_CHECKING:
    from swarm.runtime.storeaudit import Audit

EXAMPLES = """
swarm audit ~/.local/state/swarm/sn-1          every entry, signature and snapshot of a network node's directory
swarm audit --json /srv/swarm/sn-1             the same as one JSON object; exit code 1 if something does not hold
swarm audit copy-of/sn-1                       a copy will do: nothing is changed, no node needs to run
"""


@click.command(
    "audit",
    cls=Command,
    examples=EXAMPLES,
    help="Work out again, from the first entry on, what the ledger in a network node's state directory STATE amounts "
    "to: the chain of hashes, every signature, the archive's segments, the snapshots and who has signed them. Needs no "
    "network and changes nothing. Ends with 1 and the first index that does not hold.",
)
@click.argument("state", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def command(state: Path, as_json: bool) -> None:
    from swarm.runtime.storeaudit import audit

    found = audit(state)
    if as_json:
        print_json(found.as_json(), failure=found.unsound)
    else:
        _show(found)
    if found.unsound:
        raise found.unsound


def _show(found: Audit) -> None:
    said = found.as_json()
    click.echo(f"{said['entries']} entries up to {said['last']}, {said['segments']} archive segments")
    for first, last in said["missing"]:
        click.echo(f"entries {first} to {last} are not here: this network node began with a snapshot behind them")
    for each in said["snapshots"]:
        who = ", ".join(each["signed_by"]) or "nobody yet"
        click.echo(f"snapshot after entry {each['index']}: {each['digest']}, signed by {who}")
    if said["digest"]:
        click.echo(f"network {said['network_id'][:16]}, epoch {said['epoch']}, voters {', '.join(said['voters'])}")
        click.echo(f"head {said['head_hash']}")
        click.echo(f"state {said['digest']}")
    if not found.unsound:
        click.echo("every entry holds")
