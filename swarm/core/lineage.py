"""Lineage: from which committed model a program's weights descend, and how late their change has become.

Kept by `core/member`. Guarantees: a change counts once: what is in a committed merge is not put on another model; a
change that comes late is offered on the model that the others have by then, with less weight the later it is, or is
given up.
"""

from __future__ import annotations

from swarm.core.contract import Contract
from swarm.core.rebase import LATEST, permille

NEVER = 10**9


class Lineage:
    """``origin``: the model that was handed to the program last; the schema's hash while none was."""

    def __init__(self, uid: str, contract: Contract, origin: str) -> None:
        self._contract = contract
        self._too_late = NEVER if contract.options.asyncGoal else LATEST + 1
        """Without a goal somebody who is later than that is no slow member, but one that was away."""
        self.origin = origin
        self.counted = False
        """The open ask's weights are in a committed merge."""
        self._counted_in = ""
        self._batches = self._batches_handed = 0
        self.moved: tuple[str, str] | None = None
        """The model that the change lies on now, and the digest of both together."""
        self.permille = 1000
        """What the open ask's weights count."""
        kept = list(contract.kept)
        later = next((len(kept) - 1 - at for at, commit in enumerate(kept) if commit.digest == origin), None)
        self._commits = None if later is None else contract.commits - later
        """How many models the contract had committed with that one; None: it is none that can be built on."""
        since = kept[len(kept) - (later or 0) :]
        self._merged = next((commit.digest for commit in since if uid in commit.members), "")
        """The program waited for this merge when the node before this one ended: it comes with the same weights."""

    @property
    def late(self) -> int:
        """How many merges have gone by without the program's change; 0 when it can be offered as it is."""
        contract = self._contract
        if self.counted or not contract.has_model or self.origin == contract.base:
            return 0
        return self._too_late if self._commits is None else max(1, contract.commits - self._commits)

    @property
    def given_up(self) -> bool:
        return self.late >= self._too_late

    @property
    def on_base(self) -> str:
        """The digest of the moved change; "" while it is still to be put on the base. What has counted stays as is."""
        fits = self.moved is not None and (self.counted or self.moved[0] == self._contract.base)
        return self.moved[1] if self.moved and fits else ""

    def asked(self, batches: int) -> None:
        """``batches``: how many the program has trained in all."""
        self._batches = batches
        self.counted, self.moved, self.permille = bool(self._merged), None, 1000
        self._merged, self._counted_in = "", self._merged

    def count(self, digest: str) -> None:
        """The open ask's weights are in this model."""
        self.counted, self._counted_in = True, digest

    def lose(self, digest: str) -> None:
        """This model is lost, and with it what was in it."""
        if digest == self._merged:
            self._merged = ""
        if digest == self._counted_in:
            self.counted, self._counted_in = False, ""

    def move(self, base: str, digest: str) -> None:
        self.moved, self.permille = (base, digest), permille(self.late)

    def give_up(self) -> None:
        """The change cannot be put on another model."""
        self._commits = None

    def handed_over(self) -> None:
        """The program goes on from the contract's base."""
        self._batches_handed = self._batches
        self.origin = self._contract.base
        self._commits = self._contract.commits if self._contract.has_model else None

    # ---- telling

    def of_offered_anew(self) -> str:
        missed = f"missed {self.late} merges" if self.late > 1 else "missed a merge"
        batches, weight = self._batches - self._batches_handed, f"{self.permille / 10:g} % of its weight"
        return f"{missed}: what {batches} batches have changed is offered anew, with {weight}"

    def of_adopted(self) -> str:
        """Of a change that is in no merge, and is given up."""
        others, batches = self._contract.options.pickPeers, self._batches - self._batches_handed
        why = f"a round of {others} others" if others else "missed a merge"
        return f"{why}: adopted the model of round {self._contract.round - 1}, gave up {batches} batches"
