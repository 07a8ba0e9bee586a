"""``-w``: a table that is shown again whenever it changes; used by the commands that list tasks and slots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import click

from swarm.errors import BadInput
from swarm.nodes.entrance import Entrance

if TYPE_CHECKING:
    from rich.console import RenderableType

    from swarm.core.ledger import Ledger

T = TypeVar("T")
watch_flag = click.option(
    "-w", "--watch", is_flag=True, help="show it again whenever it changes, until all of it has ended, or Ctrl-C"
)


def watch(
    entrance: Entrance,
    look: Callable[[Ledger], T],
    goes_on: Callable[[Ledger], bool],
    drawn: Callable[[T], RenderableType],
    as_json: bool,
) -> None:
    """Show what is drawn of what there is to see, until nothing of it goes on."""
    if as_json:
        raise BadInput(
            "--watch shows a table again and again, and --json is one object: they do not go together",
            hint="leave one of them out; swarm task wait TASK --json waits until a task has ended",
        )
    from swarm.nodes.watching import watched

    with _screen() as show:
        entrance.ask(watched(look, lambda seen: show(drawn(seen)), goes_on))


@contextmanager
def _screen() -> Iterator[Callable[[RenderableType], None]]:
    """What is shown takes the place of what was shown before; where there is no terminal, it follows it."""
    from rich.live import Live

    from swarm.cli.tables import output

    console = output()
    if not console.is_terminal:
        yield lambda shown: console.print(shown, "")
        return
    with Live(console=console, auto_refresh=False) as live:
        yield partial(live.update, refresh=True)
