"""``swarm task``: the tasks of jobs that a network has, and what may be done about one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swarm.cli import watching
from swarm.cli.ending import print_json
from swarm.cli.entrance import network_flags, network_flags_if_needed
from swarm.cli.help import Command
from swarm.cli.watching import watch_flag
from swarm.errors import BadInput
from swarm.nodes.entrance import Entrance

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLES = """
swarm task check cv.yaml    what is wrong with a file, before it is submitted with swarm run -f
swarm task create cv.yaml   the same as swarm run -f, but as a draft: nothing begins by itself; prints its id
swarm task finalize cv      a draft never changes from then on, and is ready: participants may join it and wait
swarm task start cv         let it begin
swarm task ls               all of them, with how many slots are in which state
swarm task ls -w            the same, again whenever it changes, until all of them have ended
swarm task show 2           one, by its id or name, with its slots
swarm task wait cv          until it has ended; exit code 6 if it is not done then
swarm task stop cv          what waits never starts, what runs is asked to end
swarm task kill cv          the same, but what runs is ended at once
swarm task retry cv         whatever is not done waits again
swarm task history cv     every change of it, with time and author, as the ledger has them
swarm task clone cv cv-2 --data %DATA=user.alice.more    the same again, under another name, with other data
swarm task rm cv            forget an ended task or a draft: its name is free again
swarm task rm cv --force --outputs    kill it first; remove what its jobs have put out
"""
COUNTED = ("waiting", "assigned", "starting", "running", "done", "failed", "stopped", "lost")
SHOWN_MAX = 200
"""Slots of a table; --json has all."""


@click.group("task", help="The tasks, of jobs or of roles, that were submitted with swarm run -f or swarm sweep.")
def command() -> None:
    pass


@command.command(
    "check",
    cls=Command,
    examples=EXAMPLES,
    help="Say what is wrong with the task in a file. Nothing is submitted and no network is asked: whether there are "
    "the datasets that it names is said by swarm run -f.",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def check(file: Path, as_json: bool) -> None:
    from swarm.nodes.submitting import checked

    found = checked(file)
    if as_json:
        print_json(found)
    else:
        click.echo(f"task {found['name']}, {found['type']}: nothing is wrong with it")


@command.command(
    "create",
    cls=Command,
    examples=EXAMPLES,
    help="Submit the task in a file as a draft: it is checked, listed and shown, and nothing of it begins. It can be "
    "removed with swarm task rm; swarm task finalize and swarm task start lead it on. swarm run -f does all at once.",
)
@click.argument("file", type=click.Path(path_type=Path))
@network_flags_if_needed
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def create(file: Path, entrance: Callable[[], Entrance], as_json: bool) -> None:
    from swarm.nodes.submitting import submitted

    work = submitted(file, draft=True)  # what is wrong with the file is said without a network
    done = entrance().ask(work)
    if as_json:
        print_json(done)
    else:
        click.echo(done["id"])


@command.command("ls", cls=Command, examples=EXAMPLES, help="List the tasks, in the order in which they came.")
@network_flags
@watch_flag
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def ls(entrance: Entrance, watch: bool, as_json: bool) -> None:
    from swarm.nodes.jobstatus import task_rows
    from swarm.nodes.slotlist import goes_on
    from swarm.nodes.submitting import listed

    if watch:
        watching.watch(entrance, lambda ledger: [*task_rows(ledger)], goes_on, _tasks_or_none, as_json)
        return
    found = entrance.ask(listed)
    if as_json:
        print_json(found)
        return
    from swarm.cli.tables import output

    output().print(_tasks_or_none(found["tasks"]))


@command.command("show", cls=Command, examples=EXAMPLES, help="Show a task and its slots.")
@click.argument("task")
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def show_command(task: str, entrance: Entrance, as_json: bool) -> None:
    show(entrance, task, as_json)


def show(entrance: Entrance, task: str, as_json: bool) -> None:
    """A task by its id or name, as `swarm status ID` shows it, too."""
    from swarm.nodes.submitting import shown, where_to_look

    found = entrance.ask(shown(task))
    if as_json:
        print_json(found)
        return
    from swarm.cli.tables import output

    click.echo(f"task {found['id']} {found['name']}, of {found['user']}: {found['state']}")
    if description := found["task"]["Body"].get("Description"):
        click.echo(description)
    if found["message"]:
        click.echo(found["message"])
    click.echo("")
    if "swarms" in found:
        output().print(_swarms(found["swarms"]))
        click.echo("")
    output().print(_slots(found["slots"][:SHOWN_MAX]))
    if len(found["slots"]) > SHOWN_MAX:
        click.echo(f"and {len(found['slots']) - SHOWN_MAX} slots more: --json shows them")
    if hint := where_to_look(found):
        click.echo(hint)


@command.command(
    "wait",
    cls=Command,
    examples=EXAMPLES,
    help="Wait until a task has ended, and show it. The exit code is 0 when all of it is done, 6 when it ended in "
    "another way, 4 when the time is over.",
)
@click.argument("task")
@click.option("--until", default="ended", show_default=True, help="or a state, such as running: what to wait for")
@click.option("--timeout", "deadline_s", default=3600.0, show_default=True, type=click.FloatRange(0), help="seconds")
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def wait(task: str, until: str, deadline_s: float, entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes.submitting import awaited

    found = entrance.ask(awaited(task, deadline_s, until))
    if as_json:
        print_json(found)
    else:
        click.echo(f"task {found['id']} {found['name']} is {found['state']}")


def _asking(name: str, kind: str, said: str, about: str, **more: bool) -> None:
    """A command that proposes one thing about one task."""

    @command.command(name, cls=Command, examples=EXAMPLES, help=about)
    @click.argument("task")
    @network_flags
    @click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
    def act(task: str, entrance: Entrance, as_json: bool) -> None:
        from swarm.nodes.submitting import asked

        done = entrance.ask(asked(kind, task, **more))
        if as_json:
            print_json(done)
        else:
            id_ = f" (id {done['id']})" if "id" in done and str(done["id"]) != task else ""
            click.echo(f"task {task}{id_} {said}" + (f": {done['state']}" if "state" in done else ""))


@command.command(
    "history",
    cls=Command,
    examples=EXAMPLES,
    help="Show every change of a task and its slots, with its time and author. The whole ledger is read and verified "
    "here for that; a task that was deleted has its history, too.",
)
@click.argument("task")
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def history_command(task: str, entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes.history import history

    found = entrance.ask(history(task))
    if as_json:
        print_json(found)
        return
    from swarm.cli.tables import output, table

    shown = table(">entry", "time", "task", "slot", "state", "by", "~why")
    for row in found["changes"]:
        what = (row["task"], row["slot"] or "", row["state"], row["by"], row["reason"])
        shown.add_row(str(row["entry"]), row["time"], *what)
    output().print(shown)


@command.command(
    "clone",
    cls=Command,
    examples=EXAMPLES,
    help="Submit once more, under another name, what a task says. Its code has to be on this host, as it was.",
)
@click.argument("task")
@click.argument("name")
@click.option("--data", "data", multiple=True, metavar="TAG=NAME", help="what a tag of its Data stands for now")
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def clone(task: str, name: str, data: tuple[str, ...], entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes.submitting import cloned

    if wrong := [each for each in data if "=" not in each]:
        raise BadInput(f"--data {wrong[0][:80]} names no tag", hint="--data %DATA=user.alice.more")
    done = entrance.ask(cloned(task, name, dict(each.split("=", 1) for each in data)))
    if as_json:
        print_json(done)
    else:
        click.echo(done["id"])


_asking(
    "finalize",
    "JobsFinalized",
    "is ready",
    "Make a draft final: it never changes from then on, its slots are there, and participants may join it and wait. "
    "Nothing of it begins before swarm task start.",
)
_asking("start", "JobsStarted", "may begin", "Let a final task begin, as soon as operators have room for it.")
_GRACE = "what waits never starts, what runs has some seconds to end in."
_asking("stop", "JobsStopped", "is being stopped", f"End a task: {_GRACE}")
_asking("kill", "JobsStopped", "is being killed", "End a task at once, with all that its jobs have started.", kill=True)
_asking("retry", "JobsRetried", "is tried again", "Try again whatever of an ended task is not done.")


@command.command(
    "rm", cls=Command, examples=EXAMPLES, help="Forget an ended task or a draft; the files that it made stay."
)
@click.argument("task")
@click.option("--force", is_flag=True, help="kill it first, if it has not ended")
@click.option("--outputs", is_flag=True, help="have operators remove what its jobs have put out")
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def rm(task: str, force: bool, outputs: bool, entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes.submitting import deleted

    done = entrance.ask(deleted(task, force=force, outputs=outputs))
    if as_json:
        print_json(done)
    else:
        click.echo(f"task {task} is deleted")


def _tasks_or_none(rows: list[dict[str, Any]]) -> Table | str:
    return _tasks(rows) if rows else "there are no tasks of jobs"


def _tasks(rows: list[dict[str, Any]]) -> Table:
    from swarm.cli.tables import short_time, table

    shown = table(">id", "task", "user", "state", "slots", "created", "started", "ended", "~why")
    for row in rows:
        counts = ", ".join(f"{row['counts'][state]} {state}" for state in COUNTED if state in row["counts"])
        times = [short_time(row[which]) for which in ("created", "started", "ended")]
        shown.add_row(str(row["id"]), row["name"], row["user"], row["state"], counts, *times, row["message"])
    return shown


def _swarms(rows: list[dict[str, Any]]) -> Table:
    from swarm.cli.tables import table

    shown = table(">id", "swarm", "input", "state", "~why")
    for row in rows:
        shown.add_row(str(row["id"]), row["name"], row["input"], row["state"], row["message"])
    return shown


def _slots(rows: list[dict[str, Any]]) -> Table:
    from swarm.cli.tables import table

    shown = table("slot", "name", "input", "operator", "state", ">attempt", "~why")
    for row in rows:
        what = (row["id"], row["name"], row["input"] or "", row["swop"] or "")
        shown.add_row(*what, row["state"], str(row["attempt"]), row["reason"])
    return shown
