"""What a task says of datasets, as the ledger takes it: pinned to the versions that are there when it is submitted.

Used by `nodes/submitting`. Guarantee: what comes later to a dataset changes nothing about a task that was submitted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from swarm.core.dataset import is_reference
from swarm.nodes.client import Client
from swarm.wire.jobsfile import RunJobs


async def pinned(body: RunJobs, client: Client) -> tuple[RunJobs, dict[str, Any]]:
    """The body with the hash of each dataset's version, and the field ``data`` of its JobsSubmitted, if there are any.

    Raises BadInput that names the dataset, commit or tag that there is not.
    """
    said = {tag: text for tag, text in body.Data.items() if is_reference(text)}
    if not said:
        return body, {}
    datasets = (await client.ledger()).board.datasets
    versions = {tag: datasets.version(text) for tag, text in said.items()}
    references = {tag: version.reference for tag, version in versions.items()}
    used = {each.reference: {"name": each.name, "commits": list(each.commits)} for each in versions.values()}
    return replace(body, Data={**body.Data, **references}), {"data": list(used.values())}
