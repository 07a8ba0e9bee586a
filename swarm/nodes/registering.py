"""Datasets as a client registers and reads them: files are hashed here, and only what names them goes to the ledger.

Used by `swarm data` and `swarm sweep`. Guarantees: everything is read and counted before anything is proposed; one
proposal makes a commit, or nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from swarm.core import filelist
from swarm.core.filelist import FILES_MAX, FileEntry
from swarm.errors import BadInput
from swarm.nodes import counting
from swarm.nodes.client import Client, Work
from swarm.nodes.holdings import hash_of


def registered(kind: str, name: str, paths: Sequence[Path], message: str, tags: Sequence[str]) -> Work:
    """``kind``: DatasetAdded or DatasetCommitted, of these files, or of all files in these directories."""
    root, files = _files(paths)
    entries, labels = _read(root, files)
    body = {
        "name": name,
        "message": message,
        "tags": list(tags),
        "root": str(root),
        "alone": len(paths) == 1 and paths[0].is_file(),
        "files": filelist.to_wire(entries),
        **({} if labels is None else {"labels": labels}),
    }

    async def work(client: Client) -> dict[str, Any]:
        outcome = await client.propose(kind, body)
        size = sum(entry.size for entry in entries)
        return {"name": name, **outcome.result, "files": len(entries), "bytes": size}

    return work


def asked(kind: str, body: dict[str, Any]) -> Work:
    """Tag or remove it."""

    async def work(client: Client) -> dict[str, Any]:
        outcome = await client.propose(kind, body)
        return {**body, **outcome.result}

    return work


async def listed(client: Client) -> dict[str, Any]:
    """A row for each dataset."""
    rows: list[dict[str, Any]] = []
    more = True
    while more:
        answer = await client.ask("datasets", {"after": rows[-1]["name"] if rows else ""})
        rows, more = [*rows, *answer["datasets"]], answer["more"]
    return {"datasets": rows}


def shown(text: str) -> Work:
    """All of one version, by NAME or NAME@SELECTION."""

    async def work(client: Client) -> dict[str, Any]:
        return await client.ask_all("dataset", {"dataset": text}, "files")

    return work


def _files(paths: Sequence[Path]) -> tuple[Path, list[Path]]:
    """The directory that holds all of them, and the files, each once."""
    found: dict[Path, None] = {}
    roots = []
    for path in (path.absolute() for path in paths):
        if path.is_dir():
            roots.append(path)
            inside = [Path(place, name) for place, _, names in os.walk(path, onerror=_unreadable) for name in names]
            found |= dict.fromkeys(sorted(inside))
        else:
            roots.append(path.parent)
            found[path] = None
        if len(found) > FILES_MAX:
            raise BadInput(
                f"{path} makes over {FILES_MAX} files of one commit",
                hint="pack many small files into few, or register them in several commits",
            )
    if not found:
        raise BadInput(f"there are no files in {', '.join(map(str, paths))}")
    return Path(os.path.commonpath(roots)), list(found)


def _read(root: Path, files: Sequence[Path]) -> tuple[list[FileEntry], list[bytes] | None]:
    entries = []
    labels: set[bytes] | None = set()
    for path in files:
        name = str(path.relative_to(root))
        if not path.is_file():
            raise BadInput(f"{path} is no file that could be registered: a pipe, a link to nothing, or not there")
        if not filelist.is_file_name(name):
            raise BadInput(f"{path} cannot be registered: its name is not printable, or longer than expected")
        try:
            entry = FileEntry(name, hash_of(path), path.stat().st_size)
            counted = counting.count(path)
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}") from None
        entries.append(replace(entry, examples=counted.examples))
        labels = None if labels is None or counted.labels is None else labels | counted.labels
    known = None if labels is None or len(labels) > counting.LABELS_MAX else sorted(labels)
    return entries, known


def _unreadable(error: OSError) -> None:
    raise BadInput(f"{error.filename} cannot be read: {error.strerror}")
