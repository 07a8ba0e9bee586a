"""The ascent: how a member that leads its group (`core/level`) comes by what it offers in a round for that from above.

Kept by `core/member`. Guarantees: the group's merge goes up before anything is brought down, and again, once, where the
ledger does not take what was brought: the upper contract has gone on without this member, and its newest model is to be
fetched. Whoever leads no group goes nowhere.

    nothing brought ──climb──► Climb ──lifted──► brought ──committed──► nothing brought of the next merge
                                                  │ refused: Climb, again ──lifted──► brought ──refused──► given up
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
        self._again = ""
        """The group's merge with which this member has been up twice."""

    def climb(self) -> Climb | None:
        """What has to be done before anything is offered; None: it lies here, or another member brings it."""
        base, leads = self._contract.base, self._contract.members[self._uid].leads
        if not leads or (self.lifted is not None and self.lifted.base == base):
            return None
        return Climb(base, ending=self._contract.level.ending, again=self._again == base)

    def refused(self) -> bool:
        """The ledger does not take what was brought: whether to go again."""
        base = self._contract.base
        if self.lifted is None or self._again == base:
            return False
        self.lifted, self._again = None, base
        return True
