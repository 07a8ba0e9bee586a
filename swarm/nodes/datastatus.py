"""What an SN says of datasets, as plain data for `swarm data` and tests.

Used by `nodes/answers`, for the verbs ``datasets`` and ``dataset``. Guarantee: every answer fits into one message,
however many files there are.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from swarm.core.dataset import Commit, Dataset, Placed, Version, reference
from swarm.core.ledger import Ledger
from swarm.nodes.jobstatus import page, time_text

LINKS_MAX = 100
"""Tasks and artifacts that are named with a dataset: the newest."""


def datasets(ledger: Ledger, after: str) -> dict[str, Any]:
    """Those whose names come after ``after``, in the order of their names; ``more``: others follow."""
    known = sorted(ledger.board.datasets.by_name.items())
    rows, more = page(_row(ledger, dataset, dataset.all_of_it()) for name, dataset in known if name > after)
    return {"datasets": rows, "more": more}


def dataset(ledger: Ledger, text: str, first: int) -> dict[str, Any]:
    """One version, by NAME or NAME@SELECTION, with its files from the ``first`` on; ``more``: others follow."""
    registry = ledger.board.datasets
    version = registry.version(text)
    found = registry.of(version.name)
    files, more = page(_file(placed) for placed in islice(version.files, first, None))
    return {
        **_row(ledger, found, version),
        "selection": reference(text).selection,
        "commits": [_commit(number, found.commits[number - 1]) for number in version.commits],
        "files": files,
        "more": more,
        "used_by": _users(ledger, version.name)[-LINKS_MAX:],
        "made": _made_of(ledger, version.name)[-LINKS_MAX:],
    }


def _users(ledger: Ledger, dataset: str) -> list[dict[str, Any]]:
    return [
        {"id": run.id, "name": run.task, "hash": hash_}
        for run in ledger.board.jobs.runs.values()
        for name, hash_ in run.uses.versions
        if name == dataset
    ]


def _made_of(ledger: Ledger, dataset: str) -> list[dict[str, Any]]:
    return [
        {"name": artifact.name, "number": made.version, "hash": hash_}
        for _, artifact in sorted(ledger.board.artifacts.by_name.items())
        for made in artifact.versions
        for name, hash_ in made.data
        if name == dataset
    ]


def _file(placed: Placed) -> dict[str, Any]:
    return {
        "name": placed.file.name,
        "path": f"{placed.root}/{placed.file.name}",
        "hash": placed.file.hash,
        "bytes": placed.file.size,
        "commit": placed.commit,
    }


def _row(ledger: Ledger, dataset: Dataset, version: Version) -> dict[str, Any]:
    holders = _holders(ledger, dataset)
    return {
        "name": dataset.name,
        "owner": dataset.by,
        "organisation": dataset.organisation,
        "hash": version.hash,
        "state": "ready" if holders else "waiting",
        "operators": holders,
        "statistics": {
            "commits": len(version.commits),
            "files": len(version.files),
            "bytes": version.bytes,
            "examples": version.examples,
            "labels": version.labels,
        },
        "created": time_text(dataset.created_ms),
    }


def _holders(ledger: Ledger, dataset: Dataset) -> list[str]:
    """The operators that listen and are of its owner's organisation: whether they have the files, they see."""
    return [
        str(listener)
        for _, taskrunner in sorted(ledger.taskrunners.items())
        for listener in taskrunner.listeners.values()
        if listener.live and listener.anchor == dataset.anchor
    ]


def _commit(number: int, commit: Commit) -> dict[str, Any]:
    return {
        "number": number,
        "message": commit.message,
        "tags": list(commit.tags),
        "files": len(commit.files),
        "by": commit.by,
        "created": time_text(commit.time_ms),
    }
