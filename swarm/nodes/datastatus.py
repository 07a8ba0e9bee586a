"""What an SN says of datasets, as plain data for `swarm data` and tests.

Used by `nodes/answers`, for the verbs ``datasets`` and ``dataset``. Guarantee: every answer fits into one message,
however many files there are.
"""

from __future__ import annotations

from typing import Any

from swarm.core.dataset import Commit, Dataset, Version, reference
from swarm.core.ledger import Ledger
from swarm.nodes.jobstatus import time_text

FILES_MAX = 1000
ROWS_MAX = 1000
"""Of one answer."""


def datasets(ledger: Ledger) -> dict[str, Any]:
    """All of them, in the order of their names."""
    known = sorted(ledger.board.datasets.by_name.items())[:ROWS_MAX]
    return {"datasets": [_row(ledger, dataset, dataset.select("")) for _, dataset in known]}


def dataset(ledger: Ledger, text: str, first: int) -> dict[str, Any]:
    """One version, by NAME or NAME@SELECTION, with its files from the ``first`` on."""
    registry = ledger.board.datasets
    version = registry.version(text)
    found = registry.of(version.name)
    files = version.files[first : first + FILES_MAX]
    return {
        **_row(ledger, found, version),
        "selection": reference(text).selection,
        "commits": [_commit(number, found.commits[number - 1]) for number in version.commits],
        "files": [
            {
                "name": placed.file.name,
                "path": f"{placed.root}/{placed.file.name}",
                "hash": placed.file.hash,
                "bytes": placed.file.size,
                "commit": placed.commit,
            }
            for placed in files
        ],
        "more": first + len(files) < len(version.files),
        "used_by": [
            {"id": run.id, "name": run.task, "hash": hash_}
            for run in ledger.board.jobs.runs.values()
            for name, hash_ in run.uses.versions
            if name == version.name
        ],
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
