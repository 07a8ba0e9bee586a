"""``swarm.log_metrics``: what a job's program says of its training, kept by the operator that runs it.

Called by training programs. Guarantees: a call costs one write to a file of the same host, no network and no ledger;
whole lines only, also when a process is killed; the same program runs outside of a job, where nothing is kept.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from typing import SupportsFloat

from swarm.core.names import METRIC_MAX
from swarm.errors import BadInput

FILE = "SWARM_METRICS"


def log_metrics(metrics: Mapping[str, SupportsFloat], *, epoch: int | None = None) -> bool:
    """Keep these numbers, by name, with the epoch and this process's rank; False outside of a job, where nobody asks.

    Takes whatever has a ``float``: Python's numbers, numpy scalars, tensors of one element. Raises BadInput for a name
    that is no text or a value that is no number; one that is not finite is kept as null.
    """
    line = {
        "time": time.time(),
        "epoch": epoch,
        "rank": int(os.environ.get("RANK", "0")),
        "metrics": {name: _number(name, value) for name, value in metrics.items()},
    }
    path = os.environ.get(FILE)
    if not path:
        return False
    written = (json.dumps(line) + "\n").encode()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, written)  # one call: lines of several processes do not mix
    finally:
        os.close(file)
    return True


def _number(name: object, value: object) -> float | None:
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= METRIC_MAX:
        raise BadInput(f"log_metrics takes printable names of up to {METRIC_MAX} characters, got {name!r}"[:300])
    try:
        number = float(value)  # type: ignore[arg-type] # that is what is found out
    except (TypeError, ValueError):
        raise BadInput(f"log_metrics takes numbers: {name} is {value!r}"[:300]) from None
    return number if math.isfinite(number) else None
