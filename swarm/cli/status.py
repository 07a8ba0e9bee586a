"""``swarm status`` and ``swarm nodes``: what runs where, who waits for whom, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from swarm.cli.ending import print_json
from swarm.cli.entrance import network_flags
from swarm.cli.help import Command
from swarm.core.names import told_apart
from swarm.nodes.entrance import Entrance

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLES = """
swarm status              of the swarm that swarm up started here
swarm status --sn-ip 10.1.1.1 --key swci-1-key.pem --cert swci-1-cert.pem --capath ca/capath
swarm status --json       all of it, for programs
swarm status 2            of the task with this id or name, that swarm run -f submitted
swarm nodes               the nodes alone, with uid and the last sign of life
"""
ROLES = ("sn", "swop", "sl", "swci")
"""The order in which nodes are shown."""


@click.command(
    "status",
    cls=Command,
    examples=EXAMPLES,
    help="Show the ledger, the nodes, the contracts and the tasks of a network: where each stands and whom it waits "
    "for. With the id or name of a task of jobs: that task and its slots. Needs the certificate of a command interface "
    "(SWCI).",
)
@click.argument("task", required=False)
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def command(task: str | None, entrance: Entrance, as_json: bool) -> None:
    if task is not None:
        from swarm.cli.task import show

        show(entrance, task, as_json)
        return
    status = _status(entrance)
    if as_json:
        print_json({name: value for name, value in status.items() if name != "version"})
        return
    from swarm.cli.tables import output

    node = status["node"]
    click.echo(f"{_who(node)} at {_where(entrance)}: {status['role']} of the ledger, {status['head']} entries")
    click.echo(_order(status))
    for note in status["notes"]:
        click.echo(f"note: {note}")
    for shown in _tables(status):
        if shown.row_count:
            click.echo("")
            output().print(shown)
    if more := [f"{count} {what}" for what, count in status.get("unlisted", {}).items() if count]:
        click.echo(f"\nnot shown: {', '.join(more)} more")


@click.command(
    "nodes",
    cls=Command,
    examples=EXAMPLES,
    help="List the nodes of a network. Needs the certificate of a command interface (SWCI).",
)
@network_flags
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def nodes(entrance: Entrance, as_json: bool) -> None:
    rows = _status(entrance)["nodes"]
    if as_json:
        print_json({"nodes": rows})
        return
    from swarm.cli.tables import output

    output().print(_nodes(rows, uid=True))


def _status(entrance: Entrance) -> dict[str, Any]:
    from swarm.nodes.client import Client

    return entrance.ask(Client.status)


def _order(status: dict[str, Any]) -> str:
    """Who orders the ledger, in one line."""
    names = _names(status["nodes"])
    silent = {row["uid"] for row in status["nodes"] if row["state"] == "silent"}
    voters = [names.get(uid, uid) for uid in status["voters"]]
    learners = [names.get(uid, uid) for uid in status["learners"] if uid not in silent]
    parts = [
        f"led by {names.get(status['leader'], status['leader'])}" if status["leader"] else "led by nobody at present",
        f"{'voters' if len(voters) > 1 else 'voter'} {', '.join(voters) or 'not known yet'}",
        f"storing along {', '.join(learners)}" if learners else "",
        f"epoch {status['epoch']}" if status["epoch"] else "",
    ]
    return "ledger: " + "; ".join(part for part in parts if part)


def _tables(status: dict[str, Any]) -> Iterator[Table]:
    yield _nodes(status["nodes"])
    yield _contracts(status["contracts"])
    yield _tasks(status["tasks"])
    yield _taskrunners(status["taskrunners"])
    yield _slots(status["taskrunners"])


def _nodes(rows: list[dict[str, Any]], *, uid: bool = False) -> Table:
    from swarm.cli.tables import table

    shown = table("node", "organisation", "role", "address", "state", "last heard (UTC)", *(["uid"] if uid else []))
    names = _names(rows)
    for row in sorted(rows, key=lambda row: (ROLES.index(row["role"]), row["name"], row["organisation"])):
        name = row["name"] if uid else row["name"] + names[row["uid"]].removeprefix(_who(row))
        role = "SN, sentinel" if row["sentinel"] else row["role"].upper()
        cells = [name, row["organisation"], role, row["address"], row["state"], _time(row["heard_ms"])]
        shown.add_row(*cells, *([row["uid"]] if uid else []))
    return shown


def _contracts(rows: list[dict[str, Any]]) -> Table:
    from swarm.cli.tables import short_digest, table

    shown = table("contract", ">round", "phase", "members", "model", "~waits for")
    for row in rows:
        live = sum(member["state"] == "live" for member in row["members"])
        enrolled = row.get("enrolled", len(row["members"]))  # an older network node says all of them
        members = f"{live} live of {enrolled}, minPeers {row['min_peers']}"
        model = short_digest(row["base"]) if row["commits"] else "none yet"
        waits = ", ".join([*row.get("absent", []), *row["waiting_for"]])  # an older network node names nobody absent
        shown.add_row(row["name"], str(row["round"]), row["phase"], members, model, waits)
    return shown


def _tasks(rows: list[dict[str, Any]]) -> Table:
    """Without the root that every network has."""
    from swarm.cli.tables import table

    shown = table("task", "type", "prerequisite", "state", "~reason")
    for row in rows:
        if row["type"] != "ROOT_TASK":
            shown.add_row(row["name"], row["type"], row["prereq"], row["state"], row["reason"])
    return shown


def _taskrunners(rows: list[dict[str, Any]]) -> Table:
    from swarm.cli.tables import table

    shown = table("taskrunner", "task", "state", ">completed", "~operators", "~why")
    for row in rows:
        names = _names(row["operators"])
        operators = ", ".join(f"{names[each['uid']]} {each['state']}" for each in row["operators"]) or "nobody listens"
        for run in row["runs"]:
            state = f"{run['state']}, reset" if run["cleared"] else run["state"]
            completed = f"{run['completed']} of {run['needed']} {run['peer_type']}"
            shown.add_row(row["name"], run["task"], state, completed, operators, run["reason"])
        if not row["runs"]:
            shown.add_row(row["name"], "", row["state"], "", operators, "")
    return shown


def _slots(rows: list[dict[str, Any]]) -> Table:
    from swarm.cli.tables import table

    shown = table("slot", "task", "operator", "state", ">attempt", "~why")
    for run in [run for row in rows for run in row["runs"]]:
        for slot in run["slots"]:
            why = slot["reason"] or slot["description"]
            shown.add_row(slot["id"], run["task"], slot["operator"], slot["state"], str(slot["attempt"]), why)
    return shown


def _names(rows: list[dict[str, Any]]) -> dict[str, str]:
    """By uid, how nodes are printed."""
    return told_apart({row["uid"]: _who(row) for row in rows})


def _who(row: dict[str, Any]) -> str:
    return f"{row['name']} ({row['organisation']})"


def _where(entrance: Entrance) -> str:
    return f"{entrance.address[0]}:{entrance.address[1]}"


def _time(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S") if ms else ""
