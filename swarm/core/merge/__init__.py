"""Merge methods: how the contributions of a round become one model, by the name that a contract gives.

Used by the exchange of a round. Guarantee: a method is a pure function of (contributions in uid order, weights), the
same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from swarm.core.merge import mean

Elementwise = Callable[[str, Sequence[np.ndarray[Any, Any]], Sequence[int], np.ndarray[Any, Any]], None]
"""(element type, contributions, weights, out): columns are independent, so any cut of a model gives the same bits."""

METHODS: dict[str, Elementwise] = {"mean": mean.merge}
