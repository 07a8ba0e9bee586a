"""The timekeeper at work on the leading SN: fed with time, events and signs of life, its proposals signed.

Used by the driver while it leads. Guarantees: nothing is proposed before the ledger knows this process, which it would
refuse; each proposal is signed once with the node key and a number of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from swarm.core.events import Event
from swarm.core.ledger import Ledger
from swarm.core.timekeeper import Propose, Tick, Timekeeper
from swarm.runtime.statedir import StateDirectory
from swarm.wire.signed import sign_proposal


class Durations:
    def __init__(self, ledger: Ledger, state: StateDirectory, append: Callable[[bytes], object]) -> None:
        self._ledger = ledger
        self._state = state
        self._append = append
        self._timekeeper: Timekeeper | None = None
        self._seq = 1  # 1 is the introduction of this incarnation

    def tick(self, now_s: float) -> None:
        own = self._ledger.nodes.get(self._state.uid)
        if own is None or own.incarnation != self._state.incarnation:
            return
        if self._timekeeper is None:
            self._timekeeper = Timekeeper(self._ledger, self._state.uid, now_s)
        self._propose(self._timekeeper.handle(Tick(now_s)))

    def applied(self, events: Iterable[Event]) -> None:
        if self._timekeeper is not None:
            for event in events:
                self._propose(self._timekeeper.handle(event))

    def alive(self, uids: Iterable[str], now_s: float) -> None:
        if self._timekeeper is not None:
            for uid in uids:
                self._timekeeper.alive(uid, now_s)

    def _propose(self, proposals: list[Propose]) -> None:
        for proposal in proposals:
            self._seq += 1
            raw = sign_proposal(
                self._state.node_key,
                network_id=self._ledger.network_id,
                uid=self._state.uid,
                incarnation=self._state.incarnation,
                seq=self._seq,
                kind=proposal.kind,
                body=proposal.body,
            )
            self._append(raw)
