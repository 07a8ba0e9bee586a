"""Who should vote on the ledger's order, and the steps that lead there.

``wanted`` is the rule, the same on every node; an ``Electorate`` is asked by the leader's orderer at every tick for the
next change of the voters. Guarantees: one voter comes or goes at a time, and none while the last change is under way or
before the leader has committed an entry of its own term; only who is within 1,000 entries becomes a voter; two voters
(both of which must live) are passed through only when both others store what the first does, and given up after 30 s
without the third.

    admitted network nodes    voters
    1, 2                      the sentinel (if it left, the one that joined first)
    3, 4                      three
    5 and more                five

Earlier ones first; at most a minority from one organisation when three or more organisations have network nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from swarm.core.election import majority

BEHIND_MAX = 1000
VOTERS_MAX = 5
PASSING_S = 30.0


def wanted(sns: Sequence[tuple[str, bytes]], sentinel: str) -> tuple[str, ...]:
    """The voters that these network nodes should have; ``sns``: uid and organisation, in the order of joining."""
    ordered = sorted(sns, key=lambda sn: sn[0] != sentinel)
    for count in (VOTERS_MAX, 3):
        chosen = _choose(ordered, count)
        if len(chosen) == count:
            return chosen
    return tuple(uid for uid, _ in ordered[:1])


def _choose(ordered: Sequence[tuple[str, bytes]], count: int) -> tuple[str, ...]:
    several = len({anchor for _, anchor in ordered}) >= 3
    most = (count - 1) // 2 if several else count
    chosen: list[str] = []
    seats: Counter[bytes] = Counter()
    for uid, anchor in ordered:
        if len(chosen) < count and seats[anchor] < most:
            chosen.append(uid)
            seats[anchor] += 1
    return tuple(chosen)


def needed_first(uid: Any, voters: Sequence[str], behind: Collection[str]) -> list[str]:
    """The silent voters that have to answer, or be removed, before this one may be: those that are left could not
    decide without it. ``behind``: the nodes that answer."""
    left = [voter for voter in voters if voter != uid]
    silent = [voter for voter in left if voter not in behind]
    return silent if uid in voters and left and len(left) - len(silent) < majority(left) else []


class Electorate:
    """One leader's steps towards the wanted voters."""

    def __init__(self) -> None:
        self._passing_s: float | None = None  # since when there are two voters on the way to three

    def tick(
        self,
        now_s: float,
        wanted: tuple[str, ...],
        voters: tuple[str, ...],
        behind: Mapping[str, int],
        in_step: Collection[str],
        removed: Collection[str] = (),
        *,
        settled: bool,
        changing: bool,
    ) -> tuple[str, ...] | None:
        """The voters to propose now, one more or one less; None: nothing to change at present.

        ``behind``: how many entries each node lacks that answers (the leader none); ``in_step``: who stores each entry
        before it is acknowledged, while one voter decides alone; ``removed``: who may be taken away at any moment;
        ``settled``: an entry of the leader's own term is committed; ``changing``: a change of the voters is not yet.
        """
        if not (len(voters) == 2 and len(wanted) >= 3):
            self._passing_s = None
        elif self._passing_s is None:
            self._passing_s = now_s
        if not settled or changing or not wanted:
            return None
        change = self._next(now_s, wanted, voters, behind, in_step, removed)
        # Who decides on a change are the voters that it leads to: enough of them must be there.
        if change is None or sum(uid in behind for uid in change) < majority(change):
            return None
        return change

    def _next(
        self,
        now_s: float,
        wanted: tuple[str, ...],
        voters: tuple[str, ...],
        behind: Mapping[str, int],
        in_step: Collection[str],
        removed: Collection[str],
    ) -> tuple[str, ...] | None:
        missing = [uid for uid in wanted if uid not in voters]
        ready = [uid for uid in missing if behind.get(uid, BEHIND_MAX + 1) <= BEHIND_MAX]
        if len(voters) == 1 and len(wanted) >= 3:  # two decide only together: none of them may turn out to be gone
            ready = [uid for uid in ready if uid in in_step]
            if len(ready) < 3 - (voters[0] in wanted):
                return None
        if ready and len(voters) < VOTERS_MAX:
            return (*voters, ready[0])
        if self._passing_s is not None and now_s - self._passing_s >= PASSING_S:
            return (min(voters, key=lambda uid: wanted.index(uid) if uid in wanted else len(wanted)),)
        surplus = [uid for uid in voters if uid not in wanted]
        surplus.sort(key=lambda uid: (uid in behind, uid not in removed))  # the silent ones first
        if surplus and (not missing or len(voters) == VOTERS_MAX):
            return tuple(uid for uid in voters if uid != surplus[0])
        return None
