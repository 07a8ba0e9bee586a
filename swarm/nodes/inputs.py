"""What the jobs of a task read: the data of all of them, and the file that each one is about.

Used by `nodes/submitting` and `nodes/sweeping` (the client's side) and `nodes/jobbing` (the operator's). Guarantees:
the names of the files are fixed when the task is submitted, in the order of their names; whatever a job is to read is
there before it starts. What is in the files is fixed for datasets only (`nodes/holdings`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from swarm.core.dataset import is_reference
from swarm.core.task_kinds import JOBS_MAX
from swarm.errors import BadInput
from swarm.wire.foreach import NAMES_BYTES, Files, Listing, values_of
from swarm.wire.jobsfile import RunJobs


def complete(body: RunJobs, base: Path) -> RunJobs:
    """The body with the files of the directory that its ForEach names; all paths are relative to ``base``.

    Raises BadInput for data that are not there, and a directory that makes no jobs, or too many.
    """
    data = {
        tag: said if is_reference(said) else str(_there(base / said, f"{tag} of Data"))
        for tag, said in body.Data.items()
    }
    return replace(body, Data=data, ForEach=listed(body.ForEach, base))


def listed(each: dict[str, Listing] | None, base: Path) -> dict[str, Listing] | None:
    """A ForEach with the names of the files, where it names a directory. Raises BadInput as `complete` does."""
    for tag, listing in (each or {}).items():
        if isinstance(listing, str) and not is_reference(listing):
            return {tag: _files(_there(base / listing, f"{tag} of ForEach"))}
    return each


def of_job(body: RunJobs, index: int, held: Mapping[str, str]) -> dict[str, str]:
    """What each tag stands for in one job, on this host: ``held`` says where its datasets are.

    Raises BadInput for what is not here.
    """
    values = {**body.Data, **held}
    places = dict(values)
    for tag, listing in (body.ForEach or {}).items():
        if isinstance(listing, str):  # a dataset: it is held
            continue
        each = values_of(body.ForEach)
        if index >= len(each):  # its author's client did not count them
            raise BadInput(f"the task has a job {index}, and ForEach has {len(each)} values for {tag}")
        values[tag] = each[index]
        if isinstance(listing, Files):
            places[tag] = values[tag]
    for tag, place in places.items():
        if not os.path.exists(place):  # also of a name that no file can have
            raise BadInput(f"{place}, {tag} of job {index}, is not on this host")
    return values


def _there(path: Path, what: str) -> Path:
    if not path.exists():
        raise BadInput(f"there is no file or directory {path}, {what}")
    return path.resolve()


def _files(directory: Path) -> Files:
    try:
        names = sorted(path.name for path in directory.iterdir() if path.is_file() and path.name[0] != ".")
    except OSError as error:
        raise BadInput(f"{directory} of ForEach cannot be read as a directory: {error.strerror}") from None
    if not names:
        raise BadInput(f"there are no files in {directory}, and ForEach makes a job for each")
    size = sum(len(name.encode()) + 1 for name in names)
    if len(names) > JOBS_MAX or size > NAMES_BYTES:
        raise BadInput(
            f"{directory} holds {len(names)} files with {size} bytes of names: a task takes {JOBS_MAX} jobs and "
            f"{NAMES_BYTES} bytes of names",
            hint="register it: swarm data add NAME DIRECTORY, and name the dataset",
        )
    for name in names:
        if not name.isprintable():
            raise BadInput(f"the name of the file {name!r} in {directory} has characters that cannot be printed")
    return Files(str(directory), tuple(names))
