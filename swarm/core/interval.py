"""The sync interval: how far apart the members of a contract merge, adapted to how the training goes.

Kept by `core/contract`, for contracts whose ``useAdaptiveSync`` is not `fixed`. Guarantees: it follows from the signed
offers of the committed rounds alone, so all members have the same one; whole numbers only; it stays within its bounds,
moves by one step a round at most, and a round that is aborted or in which nobody has measured anything changes nothing.

    an offer's ``measured``   hpe     the loss of the newest model on the member's validation data, in millionths
                              drift   ‖own change‖² / ‖merged change‖² of the round before, in 1/1000

    hpe     the mean loss has fallen: interval · 1.25, it has risen: interval / 1.5 (HPE Swarm Learning documents the
            directions only)
    drift   s = (Σ wᵢ·measuredᵢ / W − 1) / (W² / Σ wᵢ² − 1): the spread of the members' changes around their mean over
            what it would be were they independent. 0: all have changed alike; 1: by chance; above: against each other.
            s > 1/2: interval / 1.5, s < 1/4: interval · 1.25, each only when the round before has said the same.

The mean over members of ‖Δᵢ‖² / ‖Δ‖², less 1, is the variance of Federated Dynamic Averaging (arXiv 2405.20988)
relative to the merged change; divided by its value for independent changes it means the same for any number of members.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RULES = ("fixed", "hpe", "drift")
UNIT = 1000
SHORTEST, LONGEST = UNIT // 4, UNIT * 8
MEASURED_MAX = 10**15
_MUCH, _LITTLE = UNIT // 2, UNIT // 4


class Interval:
    """``scale``: in 1/1000 of each member's own syncFrequency."""

    def __init__(self, rule: str) -> None:
        self.scale = UNIT
        self._rule = rule
        self._told: dict[str, int] = {}
        self._loss = -1
        """The mean of the last round that had one."""
        self._leaning = 0
        """What the last round was for: 1 longer, -1 shorter."""

    def tell(self, uid: str, measured: int | None) -> None:
        """What a member's offer in the round under way says; the last one counts."""
        self._told.pop(uid, None)
        if measured is not None and self._rule != "fixed":
            self._told[uid] = measured

    def next_round(self, merged: Mapping[str, int]) -> None:
        """The round has ended: these members were merged with these weights; none if it was given up."""
        told = [(weight, self._told[uid]) for uid, weight in merged.items() if weight and uid in self._told]
        self._told = {}
        if not told:
            return
        longer = self._by_loss(told) if self._rule == "hpe" else self._by_drift(told)
        if longer > 0:
            self.scale = min(LONGEST, self.scale * 5 // 4)
        elif longer < 0:
            self.scale = max(SHORTEST, self.scale * 2 // 3)

    def _by_loss(self, told: list[tuple[int, int]]) -> int:
        """1 for longer, -1 for shorter, 0 for neither. HPE's mean is over members, whatever they weigh."""
        before, self._loss = self._loss, sum(loss for _, loss in told) // len(told)
        return 0 if before < 0 else (self._loss < before) - (self._loss > before)

    def _by_drift(self, told: list[tuple[int, int]]) -> int:
        total, squares = sum(weight for weight, _ in told), sum(weight * weight for weight, _ in told)
        independent = total * total - squares
        if not independent:  # a single one drifts from nobody
            return 0
        spread = sum(weight * (ratio - UNIT) for weight, ratio in told) * squares // (total * independent)
        before, self._leaning = self._leaning, (spread < _LITTLE) - (spread > _MUCH)
        return self._leaning if self._leaning == before else 0

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        """Nothing for a fixed interval: it is as if there were no such thing."""
        if self._rule == "fixed":
            return {}
        told = [[uid, measured] for uid, measured in sorted(self._told.items())]
        return {"interval": [self.scale, self._loss, self._leaning, told]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """From a contract's state."""
        if "interval" in state:
            self.scale, self._loss, self._leaning, told = state["interval"]
            self._told = dict(told)


def in_batches(sync_frequency: int, scale: int) -> int:
    """The interval of the member that enrolled with this frequency."""
    return max(1, sync_frequency * scale // UNIT)
