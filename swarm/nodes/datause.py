"""What a task says of datasets, as the ledger takes it: pinned to the versions that are there when it is submitted.

Used by `nodes/submitting`. Guarantee: what comes later to a dataset changes nothing about a task that was submitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarm.core.dataset import Version
from swarm.core.datasets import Datasets


def pinned(data: Mapping[str, str], datasets: Datasets) -> dict[str, Version]:
    """By tag; raises BadInput that names the dataset, commit or tag that there is not."""
    return {tag: datasets.version(said) for tag, said in data.items()}


def to_wire(versions: Mapping[str, Version]) -> dict[str, Any]:
    """The field ``data`` of a JobsSubmitted, or none."""
    used = {
        version.reference: {"name": version.name, "commits": list(version.commits)} for version in versions.values()
    }
    return {"data": list(used.values())} if used else {}
