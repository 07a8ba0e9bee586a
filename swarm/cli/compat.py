"""``swarm compat``: what people bring from HPE Swarm Learning, made to run here."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from swarm.cli.help import write_examples
from swarm.errors import BadInput

EXAMPLES = """
SWARM_LOOPBACK=true swarm compat -- python train.py    alone, without a swarm
swarm compat -- python train.py                        beside a run-sl without a program, whose export lines were set
swarm compat scripts scripts/bin                       run-sn, run-sl … where scripts look for them
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
    from swarm.nodes.program import must_exist
    from swarm.runtime.importpath import with_import_path

    must_exist(program, "swarm compat -- python train.py")
    os.execvpe(program[0], program, with_import_path(os.environ))


# HPE's names in scripts/bin, and the modules that they are here.
SCRIPTS = {
    "run-sn": "swarm.cli.run_sn",
    "run-sl": "swarm.cli.run_sl",
    "run-swop": "swarm.cli.run_swop",
    "run-swci": "swarm.cli.run_swci",
    "stop-swarm": "swarm.cli.stop_swarm",
    "swarmLogCollector": "swarm.cli.collect",
    "uninstall": "swarm.cli.uninstall",
}


@command.command("scripts", help="Write the commands of HPE's scripts/bin into DIR, each as two lines that call ours.")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="also in place of what is there")
def scripts(directory: Path, force: bool) -> None:
    python = shlex.quote(sys.executable)
    texts = {name: f'#!/bin/sh\nexec {python} -m {module} "$@"\n' for name, module in SCRIPTS.items()}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        others = [name for name, text in texts.items() if _other(directory / name, text)]
        if others and not force:
            raise BadInput(
                f"{directory} has a {', '.join(others)} of its own",
                hint="name another directory, or --force to replace them",
            )
        for name, text in texts.items():
            (directory / name).unlink(missing_ok=True)  # a link leads elsewhere
            (directory / name).write_text(text, encoding="utf-8")
            (directory / name).chmod(0o755)
    except OSError as error:
        raise BadInput(f"{error.filename or directory} cannot be written: {error.strerror}") from None
    click.echo(f"{directory}: {' '.join(texts)}")


def _other(path: Path, text: str) -> bool:
    return path.exists() and path.read_bytes() != text.encode()
