"""The commands about the session itself and the nodes: directories, waiting, ending, help, ``LIST NODES``."""

from __future__ import annotations

from typing import Any

import trio

from swarm.nodes.swci import arguments, facts
from swarm.nodes.swci.session import Session

SLEEP_MAX_S = 86_400.0
NODE_COLUMNS = ("NODE TYPE", "HOST IP", "PORT", "CONTAINER NAME", "UUID", "PARENT UUID", "I-AM-ALIVE")


async def change_directory(session: Session, directory: str) -> None:
    session.directory.change(directory)
    session.say(f"Current Directory : {session.directory.current}")


async def working_directory(session: Session) -> None:
    session.say(session.directory.current)


async def list_directory(session: Session, options: str = "", path: str = "") -> None:
    if options and not options.startswith("-"):
        options, path = "", options
    entries = session.directory.entries(path, hidden="a" in options)
    session.say("\n".join(entries) or "Empty")


async def sleep(session: Session, seconds: str) -> None:
    await trio.sleep(arguments.number("the number of seconds", seconds, SLEEP_MAX_S))
    session.say(f"slept for {seconds} seconds")


async def leave(session: Session) -> None:
    session.over = True


async def exit_on_failure(session: Session) -> None:
    session.exit_on_failure = True
    session.say("EXIT ON FAILURE IS TURNED ON")


async def go_on_after_failure(session: Session) -> None:
    session.exit_on_failure = False
    session.say("EXIT ON FAILURE IS TURNED OFF")


# ---- nodes


async def nodes(session: Session) -> None:
    """Comma-separated, as HPE's clients read it. SWCIs and programs are not listed."""
    status = await (await session.network()).status()
    rows = [row for row in status["nodes"] if row["role"] != "swci" and row["state"] != "left"]
    table = [NODE_COLUMNS, *(_row(row) for row in sorted(rows, key=_rank))]
    session.say("\n".join(", ".join(row) for row in table))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    host, _, port = row["address"].rpartition(":")
    alive = facts.moment(row["heard_ms"]) or row["state"]
    return _type(row), host or "-", port or "-", row["name"], row["uid"], row["parent"] or "-", alive


def _type(row: dict[str, Any]) -> str:
    return "SENTINEL" if row["sentinel"] else str(row["role"]).upper()


def _rank(row: dict[str, Any]) -> tuple[int, str]:
    return ["SENTINEL", "SN", "SWOP", "SL"].index(_type(row)), row["name"]
