"""What a leader proposes by itself: the ends of durations, and who decides from now on.

Made anew by the orderer for every term that it leads, so all durations begin anew. Guarantees: nothing is proposed
before the ledger knows this process, which it would refuse; a change of the voters only when the last one is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from swarm.core.electorate import Electorate, wanted
from swarm.core.events import Event
from swarm.core.ledger import Ledger
from swarm.core.timekeeper import Propose, Tick, Timekeeper


class Initiative:
    def __init__(self, ledger: Ledger, uid: str, incarnation: bytes) -> None:
        self._ledger = ledger
        self._uid = uid
        self._incarnation = incarnation
        self._timekeeper: Timekeeper | None = None
        self._electorate = Electorate()

    @property
    def _known(self) -> bool:
        own = self._ledger.nodes.get(self._uid)
        return own is not None and own.incarnation == self._incarnation

    def tick(
        self, now_s: float, voters: tuple[str, ...], behind: Mapping[str, int], *, settled: bool, changing: bool
    ) -> list[Propose]:
        """``behind``: how many entries each learner lacks; ``settled``: an entry of this term is committed;
        ``changing``: a Configuration entry is under way."""
        if not self._known:
            return []
        if self._timekeeper is None:
            self._timekeeper = Timekeeper(self._ledger, self._uid, now_s)
        proposals = self._timekeeper.handle(Tick(now_s))
        voting = wanted(self._ledger.sns(), self._ledger.sentinel)
        chosen = self._electorate.tick(now_s, voting, voters, behind, settled=settled, changing=changing)
        if chosen is not None:
            proposals.append(Propose("Configuration", {"voters": list(chosen)}))
        return proposals

    def applied(self, events: Iterable[Event]) -> list[Propose]:
        if self._timekeeper is None:
            return []
        return [proposal for event in events for proposal in self._timekeeper.handle(event)]

    def alive(self, uids: Iterable[str], now_s: float) -> None:
        if self._timekeeper is not None:
            for uid in uids:
                self._timekeeper.alive(uid, now_s)
