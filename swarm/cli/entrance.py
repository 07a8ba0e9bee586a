"""How a command of `swarm` gets into a network: as its flags say, else into the one that `swarm up` runs here.

`network_flags` gives a click command the five flags and one argument `entrance` for them, whose `ask` has work done
with a connected client (`nodes/entrance`). Guarantee: neither libp2p nor trio is loaded before that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from swarm.errors import BadInput
from swarm.nodes.entrance import Entrance, of_swarm_up

T = TypeVar("T")

_FLAGS = (
    click.option("--sn-ip", metavar="IP", help="a network node  [default: that of swarm up]"),
    click.option("--sn-api-port", default=30304, show_default=True, type=click.IntRange(1, 65535)),
    click.option("--key", type=click.Path(path_type=Path), help="private key of the SWCI, PEM, mode 0600"),
    click.option("--cert", type=click.Path(path_type=Path), help="certificate of the SWCI, PEM"),
    click.option("--capath", type=click.Path(path_type=Path), help="directory with every organisation's CA"),
)


def network_flags(command: Callable[..., T]) -> Callable[..., T]:
    """Let a command take `entrance` in place of --sn-ip --sn-api-port --key --cert --capath."""
    return _with_flags(command, lambda find: find())


def network_flags_if_needed(command: Callable[..., T]) -> Callable[..., T]:
    """The same for a command that may do without: it takes `entrance` as a function, to be called when it is needed."""
    return _with_flags(command, lambda find: find)


def _with_flags(command: Callable[..., T], given: Callable[[Callable[[], Entrance]], Any]) -> Callable[..., T]:
    @functools.wraps(command)
    def wrapped(
        *, sn_ip: str | None, sn_api_port: int, key: Path | None, cert: Path | None, capath: Path | None, **rest: Any
    ) -> T:
        def find() -> Entrance:
            if sn_ip and key and cert and capath:
                return Entrance((sn_ip, sn_api_port), cert, key, capath)
            if any((sn_ip, key, cert, capath)):
                raise BadInput("--sn-ip, --key, --cert and --capath belong together", hint="give all of them, or none")
            return of_swarm_up()

        return command(entrance=given(find), **rest)

    for flag in reversed(_FLAGS):
        wrapped = flag(wrapped)
    return wrapped
