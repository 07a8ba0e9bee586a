"""How many examples a file of a dataset holds, and of how many kinds: statistics, for files whose form says it.

Used where a dataset is registered (`nodes/registering`). Tables (.csv, .tsv, with a line of headings) and .jsonl have
an example a line, arrays (.npy, .npz) one a row; kinds are the values of a column or array that is named like labels.
Guarantee: labels leave the host as fingerprints only, and a file that is not what its name says is not counted.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from swarm.core.datasets import LABELS_MAX
from swarm.core.filelist import UNCOUNTED

__all__ = ["LABELS_MAX", "Counted", "count"]
_LABELS = ("label", "labels", "target", "targets", "class", "intent", "y")
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


class Counted(NamedTuple):
    """``labels``: fingerprints of 8 bytes; None if the file does not tell its examples apart."""

    examples: int = UNCOUNTED
    labels: frozenset[bytes] | None = None


def count(path: Path) -> Counted:
    """Raises OSError."""
    counter = _COUNTERS.get(path.suffix.lower())
    if counter is None:
        return Counted()
    try:
        return counter(path)
    except OSError:
        raise
    except Exception:  # of another form than its name says: what reads it says so in many ways, one for each layer
        return Counted()


def _table(path: Path) -> Counted:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=_SEPARATORS[path.suffix.lower()])
        headings = [heading.strip().lower() for heading in next(rows, [])]
        column = next((headings.index(name) for name in _LABELS if name in headings), None)
        examples, labels = 0, set()
        for row in rows:
            examples += bool(row)
            if column is not None and len(row) > column:
                labels.add(row[column])
    return Counted(examples, None if column is None else _fingerprints(labels))


def _lines(path: Path) -> Counted:
    examples, labels = 0, {name: set[bytes]() for name in _LABELS}
    with path.open("rb") as file:
        for line in filter(bytes.strip, file):
            example = json.loads(line)
            examples += 1
            labels = {name: seen for name, seen in labels.items() if isinstance(example, dict) and name in example}
            for name, seen in labels.items():
                seen.update(_fingerprints([str(example[name])]))
    return Counted(examples, frozenset(next(iter(labels.values()))) if labels and examples else None)


def _array(path: Path) -> Counted:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return Counted(len(array) if array.ndim else UNCOUNTED)


def _arrays(path: Path) -> Counted:
    with np.load(path, allow_pickle=False) as arrays:
        named = {name.lower(): name for name in arrays.files}
        label = next((named[name] for name in _LABELS if name in named), None)
        if label is None:
            return Counted()
        values = arrays[label]
    if values.ndim != 1 or values.dtype.kind not in "iubSU":
        return Counted(len(values) if values.ndim else UNCOUNTED)
    return Counted(len(values), _fingerprints(map(str, np.unique(values).tolist())))


def _fingerprints(labels: Iterable[str]) -> frozenset[bytes]:
    return frozenset(hashlib.sha256(label.encode(errors="replace")).digest()[:8] for label in labels)


_COUNTERS: dict[str, Callable[[Path], Counted]] = {
    ".csv": _table, ".tsv": _table, ".jsonl": _lines, ".npy": _array, ".npz": _arrays,
}  # fmt: skip
