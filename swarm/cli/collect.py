"""``swarmLogCollector``: what nodes and programs on this host have written, in one archive without keys and secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from swarm.cli.ending import entry, print_json
from swarm.cli.help import Command
from swarm.errors import BadInput

EXAMPLES = """
swarmLogCollector
swarmLogCollector "hub.example/hpe" "workspace=workspace/mnist"     as with HPE: there is no hub to be asked
"""


@click.command(
    "swarmLogCollector",
    cls=Command,
    examples=EXAMPLES,
    help="Put the logs of all nodes and programs of this host, its versions and packages, and the profiles and tasks "
    "of a workspace into an archive. Keys and certificates are never read; passwords and tokens are hidden.",
)
@click.argument("words", nargs=-1, metavar="[HUB] [workspace=DIR]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("logs"), show_default=True, help="where to")
@click.option("--state", type=click.Path(path_type=Path), help="where to look  [default: where nodes keep their state]")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def command(words: tuple[str, ...], out: Path, state: Path | None, as_json: bool) -> None:
    workspace = _workspace(words)
    from swarm.nodes.collecting import collect
    from swarm.runtime.statedir import default_state_dir

    collected = collect(state or default_state_dir("up").parent, workspace, out, datetime.now(UTC))
    if as_json:
        print_json({"archive": str(collected.archive), "files": list(collected.names)})
        return
    click.echo(f"{collected.archive}: {len(collected.names)} files")


def _workspace(words: tuple[str, ...]) -> Path | None:
    """Of HPE's two words the hub of images means nothing here, nor does the image of programs."""
    workspace = None
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "workspace" and equals and value:
            workspace = Path(value)
        elif name == "mlimage" and equals:
            click.echo("note: without effect, for programs run without images: mlimage", err=True)
        elif number or equals:
            raise BadInput(f"{word[:80]!r} is neither HUB nor workspace=DIR", hint="swarmLogCollector --help")
    return workspace


main = entry(command)

if __name__ == "__main__":
    main()
