"""The training program of ``run-sl`` as HPE's commands name it: ``--ml-image --ml-entrypoint --ml-cmd --ml-v …``.

Used by ``run-sl``. With HPE it is a container beside the node's; without a container engine it is a process, and only
where ``--engine process`` says so, as with an operator. Guarantees: paths of the container mean what they mean there
(`engines/enter`); what cannot be meant is refused before anything is started.
"""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swarm.cli.flags import IMAGE, PROGRAM
from swarm.errors import BadInput

if TYPE_CHECKING:
    from swarm.engines.paths import Mount

WORKING_DIR = "/platform/swarmml"
"""Where nothing was said: HPE's images say it themselves."""

OPTIONS = (
    click.option("--engine", type=click.Choice(["process"]), help="start what --ml-… name as a process of this host"),
    click.option("--ml-image", metavar="IMAGE", help="HPE's; named in the log, and not used"),
    click.option("--ml-entrypoint", metavar="PROGRAM", help="HPE's: the program"),
    click.option("--ml-cmd", metavar="ARGUMENTS", help="HPE's: its arguments, as a shell splits them"),
    click.option("--ml-w", "--ml-workdir", "ml_workdir", metavar="DIR", help="HPE's: where it starts"),
    click.option("--ml-v", "--ml-volume", "ml_volume", multiple=True, metavar="SRC:DIR[:ro]", help="HPE's; repeatable"),
    click.option("--ml-e", "--ml-env", "ml_env", multiple=True, metavar="K=V", help="HPE's; repeatable"),
    click.option("--ml-h", "--ml-hostname", "ml_hostname", metavar="NAME", help="HPE's: its HOSTNAME"),
)


def with_sidecar(command: Callable[..., None]) -> Callable[..., None]:
    """The options above, as one argument `sidecar` of the command."""

    @functools.wraps(command)
    def called(**given: Any) -> None:
        own = {name: given.pop(name) for name in list(given) if name.startswith("ml_") or name == "engine"}
        command(**given, sidecar=own)

    decorated: Callable[..., None] = called
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return decorated


def program(words: Sequence[str], sidecar: dict[str, Any], place: Path) -> tuple[str, ...]:
    """The command of the program: what stands behind ``--``, or what the options say; empty: there is none."""
    named = {name: value for name, value in sidecar.items() if value and name != "engine"}
    if not named:
        return tuple(words)
    flag = f"--{min(named).replace('_', '-')}"
    if sidecar["engine"] is None:
        raise BadInput(f"{flag}: {IMAGE}", hint=PROGRAM)
    if words:
        raise BadInput(f"{flag} and a program behind -- contradict each other: a learning node has one program")
    return _command(named, place)


def _command(named: dict[str, Any], place: Path) -> tuple[str, ...]:
    from swarm.engines.pair import Program
    from swarm.engines.paths import in_order, target_of
    from swarm.engines.process import ProcessEngine

    arguments = [*([named["ml_entrypoint"]] if "ml_entrypoint" in named else []), *_split(named.get("ml_cmd", ""))]
    if not arguments:
        raise BadInput(
            "neither --ml-entrypoint nor --ml-cmd names a program, and there is no image that would",
            hint="--ml-entrypoint=python3 --ml-cmd=model/train.py",
        )
    environment = _variables(named.get("ml_env", ()))
    if "ml_hostname" in named:
        environment["HOSTNAME"] = named["ml_hostname"]
    if "ml_image" in named:
        click.echo(f"note: the program runs on this host as it is: {named['ml_image']} is not used", err=True)
    directory = target_of(named.get("ml_workdir", WORKING_DIR), "--ml-w")
    mounts = in_order([_mount(text) for text in named.get("ml_volume", ())])
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return ProcessEngine().command(Program(tuple(arguments), environment, directory, mounts), place)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadInput(f"--ml-cmd {text[:80]!r} cannot be split: {str(error).lower()}") from None


def _variables(texts: Iterable[str]) -> dict[str, str]:
    """A name alone is what the environment has."""
    pairs = [text.partition("=") for text in texts]
    if any(not name for name, _, _ in pairs):
        raise BadInput("--ml-e takes NAME=VALUE, and there is no name")
    return {name: value if equals else os.environ.get(name, "") for name, equals, value in pairs}


def _mount(text: str) -> Mount:
    from swarm.engines.paths import Mount, target_of
    from swarm.runtime.statedir import default_state_dir

    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    if not source or not target:
        raise BadInput(f"bad mount: --ml-v {text[:120]} is not SRC:DIR")
    path = Path(source).absolute() if "/" in source else default_state_dir("volumes") / source
    if "/" in source and not path.exists():
        raise BadInput(f"bad mount: --ml-v {text[:120]}: there is no {source}")
    if "/" not in source:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Mount(f"--ml-v {source}", path, target_of(target, "--ml-v"), read_only="ro" in options.split(","))
