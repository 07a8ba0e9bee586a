"""What a task says of datasets, as the ledger takes it: pinned to the versions that are there when it is submitted.

Used by `nodes/submitting`, `nodes/sweeping` and `nodes/jobbing`. Guarantee: what comes later to a dataset changes
nothing about a task that was submitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from swarm.core.dataset import Version
from swarm.core.datasets import Datasets
from swarm.core.task_kinds import JOBS_MAX
from swarm.errors import BadInput
from swarm.nodes.client import Client
from swarm.wire.jobsfile import RunJobs


def each_of(body: RunJobs, versions: Mapping[str, Version]) -> Version | None:
    """The dataset with a job for each of its files, if there is one."""
    return next((versions[tag] for tag in body.ForEach or () if tag in versions), None)


async def pinned(body: RunJobs, client: Client) -> tuple[RunJobs, dict[str, Version]]:
    """The body with the hash of each dataset's version, and these versions by tag.

    Raises BadInput that names the dataset, commit or tag that there is not.
    """
    said = body.datasets
    if not said:
        return body, {}
    datasets: Datasets = (await client.ledger()).board.datasets
    versions = {tag: datasets.version(text) for tag, text in said.items()}
    each = each_of(body, versions)
    if each is not None and len(each.files) > JOBS_MAX:
        raise BadInput(f"{each.reference} has {len(each.files)} files, and a task takes {JOBS_MAX} jobs")
    names = {tag: version.reference for tag, version in versions.items()}
    data = {tag: names.get(tag, text) for tag, text in body.Data.items()}
    listed = {tag: names.get(tag, listing) for tag, listing in (body.ForEach or {}).items()} or None
    return replace(body, Data=data, ForEach=listed), versions


def to_wire(versions: Mapping[str, Version]) -> dict[str, Any]:
    """The field ``data`` of a JobsSubmitted, if there are any."""
    used = {each.reference: {"name": each.name, "commits": list(each.commits)} for each in versions.values()}
    return {"data": list(used.values())} if used else {}
