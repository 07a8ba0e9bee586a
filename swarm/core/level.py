"""The levels of a hierarchy: a group merges among itself, and every so often with the other groups, through its leader.

Kept by `core/contract` for contracts that name an ``upper`` one: those of groups. Guarantees: all members of a group
see the same stage in the same round, because it follows from the ledger; what comes from above replaces what the group
has, as it is; the training of a group ends only with what comes from above.

    up    ──Committed──► up       a merge of the group's own, until there were ``upperEvery`` of them since the last
          ──Committed──► down     the last of them: the leader offers it in the upper contract, with the group's weight
          ──BaseLost───► up       a merge of the group's own is gone: it goes on from the one before
          ──BaseLost───► down     what came from above is gone: the leader brings what is newest there, offers nothing
    down  ──Committed──► up       the leader's offer alone counts: it is what the upper contract has merged
          ──Aborted────► down     the leader offers it again
          ──BaseLost───► down     what was to go up is gone: the leader brings what is newest above, and offers nothing
    any   ──BaseLost───► up       nobody holds any model of the group: it begins anew

A leader offers nothing only where the upper contract has a model, and since the fourth version of the rules: else what
the group has left goes up, with the weight of what is gone.

With x the merges of groups and W the weights that were merged in them, the upper contract has Σ W·x / Σ W: the mean of
all members of all groups with their own weights, as if there were no groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Stage = Literal["single", "up", "down"]
"""Of a contract: of no group; the group merges; it takes what comes from above."""
SINCE = 4
"""The version of the rules by which a group that has lost its model takes nothing along."""
FORGETS_SINCE = 5
"""The version by which a group that has lost all of them forgets what came from above."""


class Level:
    """``weight``: of all that is in the group's newest merge, in 1/1000; 0: there is nothing to go up. ``handed``: the
    digest of the model that came from above last; empty: none did. ``ending``: as many of the group have stopped as
    have to."""

    def __init__(self, every: int) -> None:
        """``every``: how many merges of its own a group has for each from above; 0: it is no group."""
        self.weight = 0
        self.handed = ""
        self.ending = False
        self._every = every
        self._merges = 0

    @property
    def stage(self) -> Stage:
        if not self._every:
            return "single"
        return "down" if self._merges >= self._every else "up"

    def committed(self, digest: str, weight: int, *, ending: bool) -> None:
        """The round of this stage was committed: ``weight`` is the whole weight of what is in it."""
        if self.stage == "up":
            self._merges, self.weight, self.ending = self._merges + 1, weight, ending
        elif self.stage == "down":
            self._merges, self.handed = 0, digest

    def lost(self, digest: str, *, met: bool) -> None:
        """Nobody holds the newest model. Where groups have ``met``, what is left has been above, or is older than what
        came from there: the leader brings what is newest there, and takes nothing along that would count again."""
        if met and (self.stage == "down" or (self._every and digest == self.handed)):
            self._merges, self.weight = self._every, 0

    def begin_anew(self) -> None:
        """Nobody holds any model of the group."""
        self._merges = self.weight = 0

    def forget(self) -> None:
        """What a group without a model merges next comes from nothing that came from above: it has counted nowhere."""
        self.handed = ""

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        """Nothing where there is no group: it is as if there were no such thing."""
        return {"level": [self._merges, self.weight, self.handed, self.ending]} if self._every else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """From a contract's state."""
        if "level" in state:
            self._merges, self.weight, self.handed, self.ending = state["level"]

    def check(self) -> None:
        assert 0 <= self._merges <= self._every
