"""How tables, amounts and digests look on a terminal; used by the commands that print them."""

from __future__ import annotations

from rich.console import Console, JustifyMethod
from rich.table import Table

WIDTH_OF_A_FILE = 400


def output(*, markup: bool = False) -> Console:
    """Standard output; where it is no terminal, wide enough that nothing is cut. ``markup``: for texts of our own."""
    console = Console(highlight=False, markup=markup, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=markup, emoji=False, width=WIDTH_OF_A_FILE)
    return console


def table(*columns: str) -> Table:
    """Without borders; a column that begins with > is of numbers, one that begins with ~ of sentences, which wrap."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        justify: JustifyMethod = "right" if column.startswith(">") else "left"
        made.add_column(column.lstrip(">~"), justify=justify, no_wrap=not column.startswith("~"), overflow="fold")
    return made


def count_bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def short_digest(digest: str) -> str:
    name, _, value = digest.partition(":")
    return f"{name}:{value[:8]}…" if value else "–"


def short_time(text: str | None) -> str:
    """Of a time as JSON has it, in UTC, what a table has room for; nothing for one that has not come."""
    return text[:19].replace("T", " ") if text else ""
