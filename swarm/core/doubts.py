"""Doubts: who held another result than a clear majority of its round, and for how many rounds it is left out.

Kept by `core/contract`. Who says Ready with what nobody else holds ends the round, and could end every one. That is no
proof of a lie (memory that is broken looks the same), so nobody is excluded for it: who is doubted once is left out of
two rounds, then of four, of `2 ** TIMES_MAX` at most, and the doubt goes once it has been Ready for as many commits. So
who lies whenever it may ends one round in `2 ** TIMES_MAX`, in the long run.

Guarantees: the same on every node; never so many are left out that fewer than minPeers of those who are live stay; a
new member takes over its organisation's longest doubt, or a new node key would be the way out; nobody is doubted for
silence; a doubt whose cause is proved to be another's is taken back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from swarm.core.membership import Member
from swarm.core.round import Round

TIMES_MAX = 5


@dataclass(slots=True)
class Doubt:
    """``until``: the last round that the member is left out of. ``agreed``: for how many commits it was Ready since."""

    times: int
    until: int
    agreed: int = 0


class Doubts:
    def __init__(self, members: Mapping[str, Member]) -> None:
        self._members = members
        self._of: dict[str, Doubt] = {}

    def __len__(self) -> int:
        return len(self._of)

    def until(self, uids: Collection[str]) -> int:
        """The last round that one of these is left out of; -1: none is doubted."""
        return max((self._of[uid].until for uid in uids if uid in self._of), default=-1)

    def out(self, current: Round, least: int) -> list[str]:
        """Who is left out of this round: who is doubted and has not offered, the longest first, while of those who are
        live at least so many stay. Not a leader whose group takes what it brings from above: nobody else can."""
        if current.takes_all:
            return []
        doubted = [uid for uid, doubt in self._of.items() if self._is_out(uid, doubt, current)]
        live = [uid for uid, member in self._members.items() if member.state == "live"]
        order = sorted(set(live) & set(doubted), key=lambda uid: (-self._of[uid].until, -self._of[uid].times, uid))
        spared = order[max(0, len(live) - least) :] if current.attempt is None else ()
        return sorted(set(doubted).difference(spared))

    def _is_out(self, uid: str, doubt: Doubt, current: Round) -> bool:
        brings = current.terms.stage == "down" and self._members[uid].leads
        return doubt.until >= current.number and uid not in current.offers and not brings

    def outvoted(self, round_: int, uids: Collection[str]) -> None:
        for uid in uids:
            times = min(self._of[uid].times + 1 if uid in self._of else 1, TIMES_MAX)
            self._of[uid] = Doubt(times, round_ + 2**times)

    def committed(self, signers: Collection[str]) -> None:
        for uid in [uid for uid in self._of if uid in signers]:
            self._of[uid].agreed += 1
            if self._of[uid].agreed >= 2**TIMES_MAX:
                del self._of[uid]

    def take_back(self, uids: Collection[str]) -> None:
        """Somebody else was the cause."""
        for uid in [uid for uid in uids if uid in self._of]:
            self._of[uid].times -= 1
            self._of[uid].until = -1
            if not self._of[uid].times:
                del self._of[uid]

    def take_over(self, uid: str) -> None:
        """A new member: of an organisation that has others, maybe."""
        owner = self._members[uid].owner
        kin = [doubt for other, doubt in self._of.items() if self._members[other].owner == owner]
        if kin:
            self._of[uid] = Doubt(max(doubt.times for doubt in kin), max(doubt.until for doubt in kin))

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        """Nothing while nobody is doubted."""
        rows = [[uid, doubt.times, doubt.until, doubt.agreed] for uid, doubt in sorted(self._of.items())]
        return {"doubts": rows} if rows else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._of = {uid: Doubt(*rest) for uid, *rest in state.get("doubts", ())}

    def check(self) -> None:
        assert set(self._of) <= set(self._members)
        assert all(1 <= doubt.times <= TIMES_MAX and doubt.agreed < 2**TIMES_MAX for doubt in self._of.values())
