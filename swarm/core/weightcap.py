"""The cap: how much of the weight the members of one organisation may have where a method bounds what few can do.

Used by `core/round` when it makes a snap. Robust methods bear faulty members of less than half of the weight; an
organisation that has more than a third could do, alone or with one other, what the method is to prevent. Guarantees:
whole numbers only, so every node derives the same; who counts goes on counting; with fewer than three organisations
nothing changes, as a cap would decide for one of them.
"""

from __future__ import annotations

from collections.abc import Mapping

SHARE = 3
"""No organisation has more than one part in so many."""


def capped(weights: Mapping[str, int], organisations: Mapping[str, str]) -> dict[str, int]:
    """The weights by uid, those of organisations with more than a third of the whole lowered in proportion."""
    totals: dict[str, int] = {}
    for uid, weight in weights.items():
        if weight:
            totals[organisations[uid]] = totals.get(organisations[uid], 0) + weight
    if len(totals) < SHARE:
        return dict(weights)
    heaviest = sorted(totals, key=lambda name: (-totals[name], name))
    rest = sum(totals.values())
    most = rest
    for lowered, name in enumerate(heaviest[: SHARE - 1]):
        if totals[name] * (SHARE - lowered) <= rest:
            break
        rest -= totals[name]
        most = rest // (SHARE - 1 - lowered)
    return {uid: _lowered(weight, totals.get(organisations[uid], 0), most) for uid, weight in weights.items()}


def _lowered(weight: int, total: int, most: int) -> int:
    return max(1, weight * most // total) if weight and total > most else weight
