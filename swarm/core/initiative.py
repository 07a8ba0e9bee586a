"""What a leader proposes by itself: the ends of durations, who decides from now on, and the rules that all know by now.

Made anew by the orderer for every term that it leads, so all durations begin anew. Guarantees: nothing is proposed
before the ledger knows this process, which it would refuse, but for the change of the voters by which one that was
removed, and cannot join again, comes to end; a change of the voters only when the last one is committed.
"""

from __future__ import annotations

from collections.abc import Iterable

from swarm.core.asking import Heard
from swarm.core.consensus import Consensus
from swarm.core.electorate import Electorate, wanted
from swarm.core.events import Event
from swarm.core.ledger import Ledger
from swarm.core.timekeeper import Propose, Tick, Timekeeper
from swarm.core.upgrade import Upgrade


class Initiative:
    def __init__(self, ledger: Ledger, uid: str, incarnation: bytes) -> None:
        self._ledger = ledger
        self._uid = uid
        self._incarnation = incarnation
        self._timekeeper: Timekeeper | None = None
        self._electorate = Electorate()
        self._upgrade = Upgrade()

    @property
    def _known(self) -> bool:
        own = self._ledger.nodes.get(self._uid)
        return own is not None and own.incarnation == self._incarnation

    @property
    def _hands_over(self) -> bool:
        """Whether it was removed, and began anew since. By older rules the ledger would not follow."""
        own = self._ledger.nodes.get(self._uid)
        return own is not None and own.state == "removed" and self._ledger.voting.is_followed("Configuration")

    def tick(self, now_s: float, consensus: Consensus) -> list[Propose]:
        if not self._known:
            return self._voters(now_s, consensus) if self._hands_over else []
        if self._timekeeper is None:
            self._timekeeper = Timekeeper(self._ledger, self._uid, now_s)
        proposals = [*self._timekeeper.handle(Tick(now_s)), *self._voters(now_s, consensus)]
        rules = self._ledger.rules
        if (version := self._upgrade.tick(now_s, rules.active, rules.attainable())) is not None:
            proposals.append(Propose("ProtocolActivated", {"rules": version}))
        return proposals

    def _voters(self, now_s: float, consensus: Consensus) -> list[Propose]:
        sns = self._ledger.sns()
        voters = self._electorate.tick(
            now_s,
            wanted(sns, self._ledger.sentinel),
            consensus.voters,
            consensus.behind(),
            consensus.in_step,
            set(consensus.voters) - set(dict(sns)),
            settled=consensus.committed_own_term,
            changing=consensus.changing,
        )
        return [Propose("Configuration", {"voters": list(voters)})] if voters is not None else []

    def applied(self, events: Iterable[Event]) -> list[Propose]:
        if self._timekeeper is None:
            return []
        return [proposal for event in events for proposal in self._timekeeper.handle(event)]

    def heard(self, heard: Heard, now_s: float) -> list[Propose]:
        if self._timekeeper is None:
            return []
        for uid in heard.uids:
            self._timekeeper.alive(uid, now_s)
        return [proposal for uid, incarnation in heard.going for proposal in self._timekeeper.going(uid, incarnation)]
