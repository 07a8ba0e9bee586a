"""Help pages that start with examples, as people read them; used by every command.

@click.command("run-sn", cls=Command, examples="run-sn --sentinel --host-ip 10.1.1.1 …")
"""

from __future__ import annotations

import inspect
from typing import Any

import click


class Command(click.Command):
    """A command whose --help opens with `examples`, verbatim."""

    def __init__(self, *args: Any, examples: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = examples

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, self.examples)
        super().format_help(ctx, formatter)


def write_examples(formatter: click.HelpFormatter, examples: str) -> None:
    formatter.write("Examples:\n")
    for line in inspect.cleandoc(examples).splitlines():
        formatter.write(f"  {line}".rstrip() + "\n")
    formatter.write("\n")
