"""``swarm runs``: what the jobs of a task have logged of their training, and which did best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from swarm.cli.ending import print_json
from swarm.cli.entrance import Entrance, ask, network_flags
from swarm.cli.help import Command

EXAMPLES = """
swarm runs show digits                    what each job has logged with swarm.log_metrics, by epoch and rank
swarm runs best digits --by accuracy      the jobs that are done, the one with the highest last value first
swarm runs best digits --by loss --lowest
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
        print_json({"id": found["id"], "name": found["name"], "state": found["state"], "jobs": rows})
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
    "best", cls=Command, examples=EXAMPLES, help="List the jobs that are done by the last value of a metric."
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
    ordered = runlog.best(rows, metric, lowest=lowest)
    if as_json:
        print_json({"id": found["id"], "name": found["name"], "by": metric, "best": ordered[0], "jobs": ordered})
        return
    from swarm.cli.tables import output, table

    shown = table("job", "input", f">{metric}", "~output")
    for row in ordered:
        shown.add_row(row["name"], row["input"] or "", f"{row['value']:g}", row["output"] or "")
    output().print(shown)


def _rows(entrance: Entrance, task: str, state: Path | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from swarm.nodes import runlog
    from swarm.nodes.submitting import shown
    from swarm.runtime.statedir import default_state_dir

    found = ask(entrance, shown(task))
    return found, runlog.of_slots(state or default_state_dir("up").parent, found["slots"])
