"""What a run came to: the seconds of its rounds, and whether every result was the mean; else the row is void.

Called by `benchmarks.peers.__main__` with what the participants have said. A round counts from the last participant's
giving its arrays to the last one's having the merged ones, as `swarm bench merge` counts. A result is the mean if no
element is further than TOLERANCE from it: merging in float32, in any order, stays within that.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.peers.participant import Plan

TOLERANCE = 1e-5
Said = list[list[dict[str, Any]]]
"""By participant: its lines."""


def row(plan: Plan, told: Said, trouble: str | None) -> dict[str, Any]:
    """``verified`` and ``void`` (why, or None), figures only where every result that they stand for was the mean."""
    times = {round_: seconds(plan, told, round_) for round_ in range(plan.all_rounds)}
    hit = None if plan.killed_round is None else _hit(plan, told)
    usual = [times[round_] for round_ in range(plan.warm_ups, plan.all_rounds if hit is None else hit)]
    found = [second for second in usual if second is not None]
    why = _not_the_mean(told, range(plan.all_rounds if hit is None else hit), (plan.peers,))
    if why is None and (not found or len(found) < len(usual)):
        why = trouble or _errors(told) or f"{len(found)} of {len(usual)} rounds had a result everywhere"
    result: dict[str, Any] = {"verified": why is None, "void": why, "deviation": _deviation(told)}
    result["median_s"] = round(median(found), 4) if why is None else None
    result["rounds_s"] = [round(second, 4) for second in found] if why is None else []
    result["killed"] = None if hit is None or why is not None else _after_kill(plan, told, times, hit, trouble)
    return result


def seconds(plan: Plan, told: Said, round_: int) -> float | None:
    """From the last to give to the last to have, among those that live; None if one of them never had it."""
    living = [peer for peer in range(plan.peers) if peer != plan.victim or round_ < (plan.killed_round or 0)]
    gave, had = ([_when(told[peer], round_, what) for peer in living] for what in ("gave", "had"))
    known = [when for when in had if when is not None]
    if len(known) < len(living) or None in gave:
        return None
    return max(known) - max(when for when in gave if when is not None)


def _when(lines: list[dict[str, Any]], round_: int, what: str) -> float | None:
    return next((float(line[what]) for line in lines if line["round"] == round_ and what in line), None)


def _hit(plan: Plan, told: Said) -> int:
    """The round that the kill hit: it was to be the planned one, but a fast one may have ended by then."""
    killed = next((line["killed"] for line in told[-1] if "killed" in line), None)
    ended = [_when(lines, plan.killed_round or 0, "had") for lines in told[:-1]]
    before = killed is not None and all(when is not None and when < killed for when in ended)
    return (plan.killed_round or 0) + int(before)


def _after_kill(
    plan: Plan, told: Said, times: dict[int, float | None], hit: int, trouble: str | None
) -> dict[str, Any]:
    """How long the others took in that round (None: they never had it, and why) and in those after it."""
    wrong = _not_the_mean(told, range(hit, plan.all_rounds), (plan.peers, plan.peers - 1))
    took = times.get(hit) if wrong is None else None
    later = [second for round_, second in times.items() if round_ > hit and second is not None]
    means = {line["mean_of"] for lines in told[:-1] for line in lines if line["round"] == hit and "had" in line}
    return {
        "others_s": None if took is None else round(took, 4),
        "mean_of": sorted(means) if took is not None else [],
        "later_s": round(median(later), 4) if later and took is not None else None,
        "never": None if took is not None else wrong or _errors(told) or trouble or "the others ended without it",
    }


def _not_the_mean(told: Said, rounds: range, counts: tuple[int, ...]) -> str | None:
    """The first result of these rounds that is not the mean of so many peers."""
    for peer, lines in enumerate(told):
        for line in lines:
            if "had" not in line or line["round"] not in rounds:
                continue
            if line["deviation"] > TOLERANCE:
                away = "" if line["deviation"] == float("inf") else f", it is {line['deviation']:.2g} away"
                return f"what peer {peer} had in round {line['round']} is not the mean{away}"
            if line["mean_of"] not in counts:
                return f"peer {peer} had the mean of {line['mean_of']} in round {line['round']}, not of {counts[0]}"
    return None


def _deviation(told: Said) -> float | None:
    found = [line["deviation"] for lines in told for line in lines if "had" in line]
    return max(found) if found and max(found) != float("inf") else None


def _errors(told: Said) -> str | None:
    return next((line["error"] for lines in told for line in lines if "failed" in line), None)
