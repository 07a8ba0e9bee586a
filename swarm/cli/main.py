"""`swarm`: the front. Every subcommand lives in a module of its own, imported only when it is called.

So `swarm --help` costs no more than click: neither libp2p, trio nor a framework is loaded (tests hold it to that).
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import click

import swarm
from swarm.cli.ending import entry
from swarm.cli.help import write_examples

EXAMPLES = """
swarm demo                               two organisations train one model here, in about a minute
swarm run --peers 2 -- python train.py   your own script, twice, as a swarm on this machine
swarm up                                 the network nodes alone; swarm down ends them
gen-cert -e mnist -i 1                   certificates for the first host of a real swarm
run-sn --help                            the nodes of a real swarm: run-sn, run-sl, run-swop, run-swci
swarm status                             what runs where, and who waits for whom
"""


class Row(NamedTuple):
    home: str  # module:attribute
    about: str


COMMANDS = {
    "demo": Row("swarm.cli.demo:command", "two organisations train one model on this machine"),
    "run": Row("swarm.cli.run:command", "your program as a swarm on this machine"),
    "join": Row("swarm.cli.join:command", "take part in a task with your own data, certificate and machine"),
    "up": Row("swarm.cli.up:up", "start network nodes on this machine"),
    "down": Row("swarm.cli.up:down", "stop what `swarm up` started"),
    "status": Row("swarm.cli.status:command", "what runs where in a network, who waits for whom, and why"),
    "nodes": Row("swarm.cli.status:nodes", "the nodes of a network"),
    "sweep": Row("swarm.cli.sweep:command", "one command, once for each file of a directory of configurations"),
    "scale": Row("swarm.cli.scale:command", "more or fewer slots of a role, while its task runs"),
    "task": Row("swarm.cli.task:command", "tasks of jobs: list, show, history, stop, retry, clone, delete"),
    "slots": Row("swarm.cli.slots:command", "the slots of tasks: who holds which, since when, where"),
    "queue": Row("swarm.cli.slots:queue", "which tasks wait, in their order, and for what room"),
    "data": Row("swarm.cli.data:command", "datasets: names in the ledger for files that stay where they are"),
    "runs": Row("swarm.cli.runs:command", "what jobs on this host have logged of their training"),
    "logs": Row("swarm.cli.logs:command", "what nodes and programs on this host have written"),
    "sn": Row("swarm.cli.sn:command", "let a network node decide alone after a loss; remove one for good"),
    "audit": Row("swarm.cli.audit:command", "whether a network node's ledger holds, entry by entry, offline"),
    "org": Row("swarm.cli.org:command", "the organisations of a network; admit one more"),
    "contract": Row("swarm.cli.contract:command", "look after a training contract"),
    "compat": Row("swarm.cli.compat:command", "run what was written for HPE Swarm Learning"),
    "uninstall": Row("swarm.cli.uninstall:command", "end what runs on this host and remove what nodes have kept"),
    "bench": Row("swarm.cli.bench:command", "measure this machine against plain TLS"),
}


class Front(click.Group):
    """A group that knows its commands by name and loads one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, row in COMMANDS.items() if find_spec(row.home.split(":")[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module, attribute = COMMANDS[cmd_name].home.split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command), COMMANDS[cmd_name].home
        return command

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, EXAMPLES)
        super().format_help(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if rows := [(name, COMMANDS[name].about) for name in self.list_commands(ctx)]:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


@click.command(
    "swarm",
    cls=Front,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Organisations that may not pool their data train one model together, peer to peer.",
)
@click.version_option(swarm.__version__, message="swarm %(version)s")
@click.pass_context
def command(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


main = entry(command)

if __name__ == "__main__":
    main()
