"""``swarm runs``: what the jobs of a task have logged of their training, which did best, and what was made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from swarm.cli.ending import print_json
from swarm.cli.entrance import network_flags
from swarm.cli.help import Command
from swarm.nodes.entrance import Entrance

EXAMPLES = """
swarm runs show digits                    what each job has logged with swarm.log_metrics, by epoch and rank
swarm runs best digits --by accuracy      the jobs that are done, the one with the highest last value first
swarm runs best digits --by loss --lowest
swarm runs ls                             the models that tasks with an Output have made, and of what
swarm runs get digits ./model             a copy of the newest that task digits, or an Output of this name, has made
"""
_state = click.option(
    "--state", type=click.Path(path_type=Path), help="where to look  [default: where nodes keep theirs]"
)
_json = click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")


@click.group("runs", help="What jobs on this host have logged of their training. It never leaves the host by itself.")
def command() -> None:
    pass


@command.command("show", cls=Command, examples=EXAMPLES, help="Show what the jobs of a task have logged.")
@click.argument("task")
@network_flags
@_state
@_json
def show(task: str, entrance: Entrance, state: Path | None, as_json: bool) -> None:
    found, rows = _rows(entrance, task, state)
    if as_json:
        said = found["task"]["Body"]
        origin = {"data": said.get("Data", {}), "code": said.get("CodeHash"), "output": said.get("Output")}
        print_json({"id": found["id"], "name": found["name"], "state": found["state"], **origin, "jobs": rows})
        return
    from swarm.cli.tables import output, table

    shown = table("job", ">attempt", "state", ">epoch", ">rank", "~metrics")
    for row in rows:
        for line in row["metrics"]:
            metrics = ", ".join(f"{name} {value:g}" for name, value in line["metrics"].items() if value is not None)
            epoch = "" if line["epoch"] is None else str(line["epoch"])
            shown.add_row(row["name"], str(row["attempt"]), row["state"], epoch, str(line["rank"]), metrics)
    output().print(shown)


@command.command(
    "best",
    cls=Command,
    examples=EXAMPLES,
    help="List the jobs that are done by the last value of a metric; of a sweep of swarms each swarm, by the mean of "
    "its slots.",
)
@click.argument("task")
@click.option("--by", "metric", required=True, help="the name of the metric")
@click.option("--lowest", is_flag=True, help="the lowest is best, as of a loss")
@network_flags
@_state
@_json
def best(task: str, metric: str, lowest: bool, entrance: Entrance, state: Path | None, as_json: bool) -> None:
    from swarm.nodes import runlog

    found, rows = _rows(entrance, task, state)
    ordered = runlog.best(rows, metric, lowest=lowest, swarms=found.get("swarms", ()))
    if as_json:
        print_json({"id": found["id"], "name": found["name"], "by": metric, "best": ordered[0], "jobs": ordered})
        return
    from swarm.cli.tables import output, table

    shown = table("job", "input", f">{metric}", "~output")
    for row in ordered:
        shown.add_row(row["name"], row["input"] or "", f"{row['value']:g}", row["output"] or "")
    output().print(shown)


@command.command("ls", cls=Command, examples=EXAMPLES, help="List the artifacts: what tasks with an Output have made.")
@network_flags
@_json
def ls(entrance: Entrance, as_json: bool) -> None:
    from swarm.nodes.artifacts import listed

    found = entrance.ask(listed)
    if as_json:
        print_json(found)
        return
    from swarm.cli.tables import count_bytes, output, short_digest, table

    shown = table("artifact", ">number", "task", "slot", "operator", ">size", "hash", "code", "~data")
    for row in found["artifacts"]:
        made = (row["name"], str(row["number"]), row["task"], row["slot"], row["swop"], count_bytes(row["bytes"]))
        shown.add_row(*made, short_digest(row["hash"]), short_digest(row["code"] or ""), ", ".join(row["data"]))
    output().print(shown)


@command.command(
    "get",
    cls=Command,
    examples=EXAMPLES,
    help="Copy what was made into a new directory: NAME[@NUMBER] of an artifact, or the name or id of a task. "
    "The files have to be on this host, and as they were.",
)
@click.argument("artifact")
@click.argument("directory", type=click.Path(path_type=Path))
@network_flags
@_state
@_json
def get(artifact: str, directory: Path, entrance: Entrance, state: Path | None, as_json: bool) -> None:
    from swarm.nodes.artifacts import chosen, fetched, listed
    from swarm.runtime.statedir import default_state_dir

    row = chosen(entrance.ask(listed)["artifacts"], artifact)
    place = fetched(row, state or default_state_dir("up").parent, directory.absolute())
    if as_json:
        print_json({**row, "path": str(place)})
    else:
        click.echo(f"{row['name']}@{row['number']}: {row['files']} files in {place}")


def _rows(entrance: Entrance, task: str, state: Path | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from swarm.nodes import runlog
    from swarm.nodes.submitting import shown
    from swarm.runtime.statedir import default_state_dir

    found = entrance.ask(shown(task))
    return found, runlog.of_slots(state or default_state_dir("up").parent, found["slots"])
