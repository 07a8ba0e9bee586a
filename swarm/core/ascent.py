"""The ascent: how a member that leads its group (`core/level`) comes by what it offers in a round for that from above.

Kept by `core/member`. Guarantees: the group's merge goes up before anything is brought down, and again where the ledger
does not take what was brought: the upper contract has gone on without this member, and its newest model is to be
fetched. It gives up where that is what was refused before, so it goes again as long as the upper contract goes on. Who
leads no group goes nowhere, and who leads one that has lost its merge only brings down what is newest above.

    nothing brought ──climb──► Climb ──lifted──► brought ──committed──► nothing brought of the next merge
                                 ▲                │ refused, as what was brought before: given up
                                 └─────again──────┘ refused
"""

from __future__ import annotations

from swarm.core.contract import Contract
from swarm.core.member_steps import Climb, Lifted


class Ascent:
    """``lifted``: what was brought last, of whichever merge."""

    def __init__(self, uid: str, contract: Contract) -> None:
        self.lifted: Lifted | None = None
        self._uid = uid
        self._contract = contract
        self._refused = ("", "")
        """The group's merge, and what was brought of it that the ledger did not take."""

    def climb(self) -> Climb | None:
        """What has to be done before anything is offered; None: it lies here, or another member brings it."""
        base, leads = self._contract.base, self._contract.members[self._uid].leads
        if not leads or (self.lifted is not None and self.lifted.base == base):
            return None
        level = self._contract.level
        return Climb(base, ending=level.ending, again=self._refused[0] == base or not level.weight)

    def refused(self) -> bool:
        """The ledger does not take what was brought: whether to go again."""
        if self.lifted is None or (tried := (self._contract.base, self.lifted.digest)) == self._refused:
            return False
        self.lifted, self._refused = None, tried
        return True
