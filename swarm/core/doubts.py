"""Doubts: who held another result than a clear majority of its round, and for how many rounds it is left out.

Kept by `core/contract`. Who says Ready with what nobody else holds ends the round, and could end every one. That is no
proof of a lie (memory that is broken looks the same), so nobody is excluded for it: who is doubted once is left out of
two rounds, then of four, of `2 ** TIMES_MAX` at most, and the doubt goes once it has been Ready for as many commits. So
who lies whenever it may ends one round in `2 ** TIMES_MAX`, in the long run. Where so many shards are merged that
nobody tells of each, nobody is doubted the first time; for as many commits all tell of them then.

Guarantees: the same on every node; never so many are left out that fewer than minPeers of those who are live stay, and
where those are too few anyway nobody is who comes back; a new member takes over its organisation's longest doubt, or a
new node key would be the way out; nobody is doubted for silence; who is proved to have signed two results is
nobody's cause of doubt any more, whichever round that was in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from swarm.core.dispute import MORE_TOLD_MAX, SHARDS_TOLD_MAX
from swarm.core.events import Aborted
from swarm.core.membership import Member
from swarm.core.round import Round

TIMES_MAX = 5


@dataclass(slots=True)
class Doubt:
    """``causes``: for each time, the oldest first, the owners of the shards that it held differently; none where nobody
    owns one. ``until``: the last round that the member is left out of. ``agreed``: for how many commits it was Ready
    since."""

    causes: list[list[str]]
    until: int
    agreed: int = 0

    @property
    def times(self) -> int:
        return len(self.causes)


class Doubts:
    def __init__(self, members: Mapping[str, Member]) -> None:
        self._members = members
        self._of: dict[str, Doubt] = {}
        self._telling = 0
        """For how many commits more all tell of their shards, also where these are many."""

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
        doubted = {uid for uid, doubt in self._of.items() if self._is_out(uid, doubt, current)}
        return sorted(doubted if current.attempt else doubted - self._spared(doubted, least))

    def _spared(self, doubted: set[str], least: int) -> set[str]:
        """Who is needed all the same. Where those who are live are too few, whoever comes back, by offering."""
        live = {uid for uid, member in self._members.items() if member.state == "live"}
        if len(live) < least:
            return doubted
        order = sorted(live & doubted, key=lambda uid: (-self._of[uid].until, -self._of[uid].times, uid))
        return set(order[len(live) - least :])

    def _is_out(self, uid: str, doubt: Doubt, current: Round) -> bool:
        member = self._members[uid]
        brings = current.terms.stage == "down" and member.leads
        here = member.state in ("live", "dropped")
        return here and doubt.until >= current.number and uid not in current.offers and not brings

    @property
    def told_max(self) -> int:
        """The most digests of shards that a Ready has to name."""
        return MORE_TOLD_MAX if self._telling else SHARDS_TOLD_MAX

    def aborted(self, event: Aborted, owners: Collection[str]) -> None:
        """``owners``: of the shards that are disputed."""
        if event.untold:
            self._telling = 2**TIMES_MAX
        self.outvoted(event.round, event.outvoted, owners)

    def outvoted(self, round_: int, uids: Collection[str], owners: Collection[str] = ()) -> None:
        """``owners``: of the shards that these hold differently."""
        for uid in uids:
            before = self._of[uid].causes if uid in self._of else []
            causes = [*before, sorted(owners)][-TIMES_MAX:]
            self._of[uid] = Doubt(causes, round_ + 2 ** len(causes))

    def committed(self, signers: Collection[str]) -> None:
        self._telling = max(0, self._telling - 1)
        for uid in [uid for uid in self._of if uid in signers]:
            self._of[uid].agreed += 1
            if self._of[uid].agreed >= 2**TIMES_MAX:
                del self._of[uid]

    def take_back(self, owner: str) -> None:
        """It is proved to have signed two results: who was doubted where its shards were disputed may be honest."""
        for uid, doubt in list(self._of.items()):
            causes = [owners for owners in doubt.causes if owner not in owners]
            if not causes:
                del self._of[uid]
            elif len(causes) < doubt.times:
                doubt.causes, doubt.until = causes, -1

    def take_over(self, uid: str) -> None:
        """A new member: of an organisation that has others, maybe."""
        owner = self._members[uid].owner
        kin = [doubt for other, doubt in sorted(self._of.items()) if self._members[other].owner == owner]
        if kin:
            worst = max(kin, key=lambda doubt: doubt.times)
            self._of[uid] = Doubt(list(worst.causes), max(doubt.until for doubt in kin))

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        """Nothing while nobody is doubted, and nobody has to tell more than ever."""
        rows = [[uid, doubt.causes, doubt.until, doubt.agreed] for uid, doubt in sorted(self._of.items())]
        return {**({"doubts": rows} if rows else {}), **({"telling": self._telling} if self._telling else {})}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._of = {uid: Doubt(list(map(list, causes)), *rest) for uid, causes, *rest in state.get("doubts", ())}
        self._telling = state.get("telling", 0)

    def check(self) -> None:
        assert set(self._of) <= set(self._members)
        assert 0 <= self._telling <= 2**TIMES_MAX
        assert all(1 <= doubt.times <= TIMES_MAX and doubt.agreed < 2**TIMES_MAX for doubt in self._of.values())
