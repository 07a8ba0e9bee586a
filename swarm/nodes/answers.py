"""What a network node answers from its ledger alone, by verb: one table, for questions that change nothing.

Used by `nodes/sn`. Who may ask: `core/policy`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swarm.core.ledger import Ledger
from swarm.nodes import artifacts, datastatus, jobstatus

Answer = Callable[[Ledger, dict[str, Any]], dict[str, Any]]
ANSWERS: dict[str, Answer] = {
    "jobs": lambda ledger, body: jobstatus.jobs(ledger, int(body.get("after", 0))),
    "job": lambda ledger, body: jobstatus.job(ledger, str(body["task"]), int(body["first"])),
    "artifacts": lambda ledger, body: artifacts.listing(ledger),
    "datasets": lambda ledger, body: datastatus.datasets(ledger, str(body.get("after", ""))),
    "dataset": lambda ledger, body: datastatus.dataset(ledger, str(body["dataset"]), int(body["first"])),
}
