"""Catching up: how a member that lacks the committed model comes by it, and what it owes the others once it is here.

Kept by `core/member`. Guarantees: one model is on its way at a time, and another takes its place only when nobody keeps
the first one any more; what nobody serves is told to the program once, said in the ledger where that changes anything,
and tried again; with the model here a change that no merge has is offered anew, unless it comes too late for that.

    here ──fetch──► on its way ──fetched──► here
                      ▲    └──failed──► unserved ──FETCH_AGAIN_S later──► on its way
                      └── fetch, where nobody keeps that one any more
"""

from __future__ import annotations

from swarm.core import contributing
from swarm.core.contract import Contract
from swarm.core.lineage import Lineage
from swarm.core.member_steps import Asked, Effect, Fetch, Propose, Tell
from swarm.core.patience import Patience

FETCH_AGAIN_S = 2.0


class CatchUp:
    """``wanted``: the digest of the model that was asked for last."""

    def __init__(self, uid: str, contract: Contract, lineage: Lineage, patience: Patience) -> None:
        self.wanted = ""
        self._uid = uid
        self._contract = contract
        self._lineage = lineage
        self._patience = patience
        self._unserved_s: float | None = None
        """Since when this wait is one for a model that nobody serves."""
        self._again_s = 0.0

    def anew(self) -> None:
        """From here on it is another wait: for another model, or of another ask."""
        self._unserved_s = None

    def comes_first(self, ask: Asked, holds: str) -> bool:
        """Whether the base is to be fetched, or handed over if it is here, before anything is offered."""
        contract, lineage = self._contract, self._lineage
        if contract.finished or holds != contract.base:
            return True
        nothing_to_give = lineage.given_up or lineage.counted
        adopts = ask.kind == "begin" or (ask.kind == "sync" and nothing_to_give)
        return adopts and contract.has_model

    # ---- on its way

    def fetch(self, digest: str, holders: tuple[str, ...]) -> Fetch:
        """``holders``: who has it for certain; others who may have it are asked after them."""
        self.wanted = digest
        members = dict.fromkeys((*holders, *self._contract.kept.holders(digest), *self._contract.live()))
        return Fetch(digest, tuple(uid for uid in members if uid != self._uid))

    @property
    def goes_on(self) -> bool:
        """The members have the wanted model still, and what is newer is fetched once it is here."""
        return self._contract.kept.of(self.wanted) is not None

    def failed(self, reason: str, now_s: float) -> list[Effect]:
        self._again_s = now_s + FETCH_AGAIN_S
        if self._unserved_s is not None:
            return self._missing()  # told at the first try; every tick goes on telling whom it waits for
        self._unserved_s = now_s
        text = f"this node is behind, and contributes nothing until it has the model {self.wanted}: {reason}"
        return [Tell(text), *self._missing()]

    def _missing(self) -> list[Effect]:
        if not self._contract.kept.unsaid(self._uid, self.wanted):
            return []
        return [Propose("Missing", {"contract": self._contract.name, "digest": self.wanted})]

    def is_due(self, now_s: float) -> bool:
        """Whether to try again what nobody has served."""
        return now_s >= self._again_s

    def waits(self, now_s: float) -> list[Effect]:
        """What to say, or to do, about the time that it has taken."""
        assert self._unserved_s is not None, "nobody has served the model"
        return self._patience.for_model(now_s, self._unserved_s)

    # ---- here

    def offers(self, ask: Asked) -> bool:
        """The base is here: whether the member has something to offer on it, or its program goes on with it.

        An ended program waits for the final model, with its own weights offered anew.
        """
        contract = self._contract
        if contract.finished:
            return False
        if contributing.down(contract) or ask.kind == "end" or not contract.has_model:
            return True
        return self.unmerged(ask) and not self._lineage.given_up and not contract.sits_out(self._uid)

    def unmerged(self, ask: Asked) -> bool:
        """What the program has trained is in no merge."""
        return ask.kind == "sync" and not self._lineage.counted
