"""How much a peer's weights count: ``nodeWeightage``, a number as in HPE Swarm Learning, or "auto", by its examples.

Used by ``callbacks/base`` and ``callbacks/arguments``. With "auto" a peer weighs as many as it has examples to train on
(FedAvg: McMahan et al. 2017, algorithm 1), which is fixed when it enrols: it is known at train begin from ``samples=``,
or from a framework that tells it (a Trainer's data set). The contract says which of the two holds (option
``weightage``), so that a peer of 4,000 examples never meets one of weight 1. Guarantee: what comes out is a weight that
a contract takes, or one sentence says what is missing.
"""

from __future__ import annotations

from typing import Any

from swarm.core.agreement import WEIGHT_MAX
from swarm.errors import BadInput

AUTO = "auto"
_HINT = "samples=len(x_train), for one; from a million on give it in thousands, on all peers"


def samples_of(value: Any) -> int | None:
    """The argument ``samples``; raises BadInput."""
    if value is None:
        return None
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 1 <= int(value) <= WEIGHT_MAX:
        raise BadInput(f"samples has to be a whole number from 1 to {WEIGHT_MAX}, received {value!r:.80}", hint=_HINT)
    return int(value)


def weight_of(weightage: int | str, samples: int | None) -> int:
    """What to enrol with."""
    if weightage != AUTO:
        return int(weightage)
    if samples is None:
        raise BadInput(
            'nodeWeightage="auto" weighs this peer by its examples, and nobody says how many it trains on', hint=_HINT
        )
    return samples
