"""Artifacts for people: which there are, and a copy of what one holds.

Used by `swarm runs ls|get`; `listing` is what an SN answers. The files are with the operators that made them: a copy is
made on that host. Guarantee: what is copied is what was made then, by its hash, or nothing is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swarm.core import filelist
from swarm.core.artifacts import Artifact, Made
from swarm.core.ledger import Ledger
from swarm.errors import BadInput, ModelError
from swarm.nodes.client import Client
from swarm.nodes.jobstatus import page, time_text
from swarm.nodes.logs import state_directories
from swarm.nodes.outputs import entries, no_files


def listing(ledger: Ledger) -> dict[str, Any]:
    """The newest versions, as many as fit into one answer, in the order in which they were made."""
    made = [(each, one) for each in ledger.board.artifacts.by_name.values() for one in each.versions]
    made.sort(key=lambda pair: (pair[1].time_ms, pair[0].name, pair[1].version))
    rows, _ = page(_row(*pair) for pair in reversed(made))
    return {"artifacts": rows[::-1]}


def _row(artifact: Artifact, made: Made) -> dict[str, Any]:
    return {
        "name": artifact.name,
        "number": made.version,
        "organisation": artifact.organisation,
        "id": made.id,
        "task": made.task,
        "slot": made.slot,
        "index": made.index,
        "attempt": made.attempt,
        "swop": made.operator,
        "hash": made.hash,
        "bytes": made.bytes,
        "files": made.files,
        "data": [f"{name}@{hash_}" for name, hash_ in made.data],
        "code": made.code or None,
        "created": time_text(made.time_ms),
    }


async def listed(client: Client) -> dict[str, Any]:
    answer: dict[str, Any] = await client.ask("artifacts", {})
    return answer


def chosen(rows: Sequence[dict[str, Any]], said: str) -> dict[str, Any]:
    """The newest version that is meant by NAME, NAME@NUMBER, or the name or id of a task. Raises BadInput."""
    name, at, number = said.partition("@")
    meant = [row for row in rows if row["name"] == name and number in ("", str(row["number"]))]
    if not at:
        meant = meant or [row for row in rows if said in (row["task"], str(row["id"]))]
    if not meant:
        raise BadInput(f"there is no artifact {said[:160]!r}, and no task that has made one", hint="swarm runs ls")
    return meant[-1]


def fetched(row: dict[str, Any], base: Path, place: Path) -> Path:
    """A copy of it at ``place``, which is not there yet. Raises BadInput, and ModelError if the files have changed."""
    if place.exists():
        raise BadInput(f"{place} is there already, expected the name of a directory to be made")
    source = next((at for at in _places(row, base) if at.is_dir()), None)
    if source is None:
        raise BadInput(
            f"{row['name']}@{row['number']} is not on this host: {row['swop']} has made it",
            hint="run it where that operator runs; --state DIR looks for its state elsewhere",
        )
    part = place.with_name(f".{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        shutil.copytree(source, part, symlinks=True, ignore=no_files)
        if (found := filelist.digest(entries(part))) != row["hash"]:
            raise ModelError(
                f"the files of {row['name']}@{row['number']} in {source} have changed: "
                f"their hash is {found}, and it was made with {row['hash']}"
            )
        os.rename(part, place)
    except OSError as error:
        raise BadInput(f"{source} cannot be copied to {place}: {error.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def _places(row: dict[str, Any], base: Path) -> list[Path]:
    return [state / "runs" / row["task"] / str(row["index"]) for state in state_directories(base)]
