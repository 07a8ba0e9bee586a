"""``swarm compat``: what people bring from HPE Swarm Learning, made to run here."""

from __future__ import annotations

import os
import shutil

import click

from swarm.cli.help import write_examples
from swarm.errors import BadInput

EXAMPLES = """
SWARM_LOOPBACK=true swarm compat -- python train.py    alone, without a swarm
swarm compat -- python train.py                        beside a run-sl without a program, whose export lines were set
swarm run -- python train.py                           needs none of this: workers have the import path by themselves
"""


class Compat(click.Group):
    """A group that runs what follows ``--`` instead of one of its commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["--"]:
            ctx.obj, args = args[1:], []
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, EXAMPLES)
        super().format_help(ctx, formatter)


@click.group(
    "compat",
    cls=Compat,
    invoke_without_command=True,
    subcommand_metavar="[-- PROGRAM...]",
    help="Run a program written for HPE Swarm Learning in this environment: `import swarmlearning` is found, and with "
    "`swarmlearning.tf` Keras 3 takes what Keras 2 took. It needs a learning node as ever, or SWARM_LOOPBACK=true.",
)
@click.pass_context
def command(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is not None:
        return
    if not ctx.obj:
        click.echo(ctx.get_help())
        return
    program: list[str] = ctx.obj
    if shutil.which(program[0]) is None:
        raise BadInput(f"the program {program[0]!r} was not found", hint="swarm compat -- python train.py")
    from swarm.runtime.importpath import with_import_path

    os.execvpe(program[0], program, with_import_path(os.environ))
