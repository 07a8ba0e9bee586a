"""``swarm data``: names in the ledger for files that stay where they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swarm.cli.ending import print_json
from swarm.cli.entrance import network_flags
from swarm.cli.help import Command
from swarm.nodes.entrance import Entrance

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLES = """
swarm data add user.swci-1.mnist mnist.npz       one file: what is in it stays on this host
swarm data add user.swci-1.texts texts/ -m "the first month" --tag clean
swarm data commit user.swci-1.texts more/*.csv   files in addition; of one name the newest counts
swarm data tag user.swci-1.texts gold --commit 2
swarm data ls                                    all datasets
swarm data show user.swci-1.texts@2,clean        of the first two commits those with the tag: hash, statistics, files
swarm data rm user.swci-1.texts                  the name is free again, the files stay
"""
FILES_SHOWN = 100
_json = click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")


@click.group("data", help="Datasets: names in the ledger for files that stay where they are, with their owner.")
def command() -> None:
    pass


def _registering(name: str, kind: str, about: str) -> None:
    """A command that registers files."""

    @command.command(name, cls=Command, examples=EXAMPLES, help=about)
    @click.argument("dataset")
    @click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE|DIR...")
    @click.option("-m", "--message", default="", help="what is new, for people")
    @click.option("--tag", "tags", multiple=True, help="to select this commit by; may be given several times")
    @network_flags
    @_json
    def register(
        dataset: str, paths: tuple[Path, ...], message: str, tags: tuple[str, ...], entrance: Entrance, as_json: bool
    ) -> None:
        from swarm.nodes.registering import registered

        work = registered(kind, dataset, paths, message, tags)
        done = entrance.ask(work)
        if as_json:
            print_json(done)
        else:
            click.echo(f"{dataset}: commit {done['commit']} of {done['files']} files; all of it is {done['hash']}")


_registering(
    "add",
    "DatasetAdded",
    "Give files a name in the ledger. They stay where they are; jobs are led to them. The ledger, which all "
    "organisations read, holds their paths, sizes and hashes, how many examples there are, and fingerprints of labels.",
)
_registering("commit", "DatasetCommitted", "Add files to a dataset. What jobs were submitted for stays as it was.")


def _asked(kind: str, body: dict[str, Any], entrance: Entrance, as_json: bool, said: Callable[[Any], str]) -> None:
    from swarm.nodes.registering import asked

    done = entrance.ask(asked(kind, body))
    if as_json:
        print_json(done)
    else:
        click.echo(said(done))


@command.command("tag", cls=Command, examples=EXAMPLES, help="Give a commit a tag, by which it can be selected.")
@click.argument("dataset")
@click.argument("tag")
@click.option("--commit", required=True, type=click.IntRange(1), help="its number")
@network_flags
@_json
def tag_command(dataset: str, tag: str, commit: int, entrance: Entrance, as_json: bool) -> None:
    body = {"name": dataset, "commit": commit, "tag": tag}
    _asked(
        "DatasetTagged", body, entrance, as_json, lambda done: f"commit {commit} has the tags {', '.join(done['tags'])}"
    )


@command.command("rm", cls=Command, examples=EXAMPLES, help="Forget a dataset; its files stay.")
@click.argument("dataset")
@network_flags
@_json
def rm(dataset: str, entrance: Entrance, as_json: bool) -> None:
    _asked("DatasetRemoved", {"name": dataset}, entrance, as_json, lambda done: f"{dataset} is forgotten")


@command.command("ls", cls=Command, examples=EXAMPLES, help="List the datasets.")
@network_flags
@_json
def ls(entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes.registering import listed

    found = entrance.ask(listed)
    if as_json:
        print_json(found)
        return
    if not found["datasets"]:
        click.echo("there are no datasets")
        return
    from swarm.cli.tables import output

    output().print(_datasets(found["datasets"]))


@command.command("show", cls=Command, examples=EXAMPLES, help="Show a version of a dataset: NAME, or NAME@SELECTION.")
@click.argument("dataset")
@network_flags
@_json
def show(dataset: str, entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes.registering import shown

    found = entrance.ask(shown(dataset))
    if as_json:
        print_json(found)
        return
    from swarm.cli.tables import output

    output().print(_datasets([found]))
    click.echo(f"\n{found['hash']}\n")
    output().print(_commits(found["commits"]))
    click.echo("")
    output().print(_files(found["files"][:FILES_SHOWN]))
    if len(found["files"]) > FILES_SHOWN:
        click.echo(f"and {len(found['files']) - FILES_SHOWN} files more: --json shows them")


def _datasets(rows: list[dict[str, Any]]) -> Table:
    from swarm.cli.tables import count_bytes, short_digest, table

    shown = table("dataset", "owner", "state", ">commits", ">files", ">size", ">examples", ">labels", "hash")
    for row in rows:
        counts = row["statistics"]
        known = ("" if counts[name] is None else str(counts[name]) for name in ("examples", "labels"))
        numbers = (str(counts["commits"]), str(counts["files"]), count_bytes(counts["bytes"]), *known)
        shown.add_row(row["name"], row["owner"], row["state"], *numbers, short_digest(row["hash"]))
    return shown


def _commits(rows: list[dict[str, Any]]) -> Table:
    from swarm.cli.tables import table

    shown = table(">commit", ">files", "tags", "by", "created", "~message")
    for row in rows:
        tags = ", ".join(row["tags"])
        shown.add_row(str(row["number"]), str(row["files"]), tags, row["by"], row["created"], row["message"])
    return shown


def _files(rows: list[dict[str, Any]]) -> Table:
    from swarm.cli.tables import count_bytes, short_digest, table

    shown = table(">commit", ">size", "hash", "~file")
    for row in rows:
        shown.add_row(str(row["commit"]), count_bytes(row["bytes"]), short_digest(row["hash"]), row["path"])
    return shown
