"""Patience: how long a member waits for others, and what it says meanwhile.

Kept by `core/member`. Guarantees: whoever waits says every `NOTE_EVERY_S` for whom, by name; a wait that the contract
bounds ends with an error that names them.
"""

from __future__ import annotations

from swarm.core import awaited
from swarm.core.contract import Contract
from swarm.core.member_steps import Asked, Effect, GiveUp, Tell
from swarm.errors import Unreachable

NOTE_EVERY_S = 10.0
ALONE_MAX = 10
"""Sync points that ``onTooFewPeers="local"`` may pass alone before it waits like the others."""


class Patience:
    """``ledger``: since when, and why, the ledger is not there. ``alone``: how many sync points in a row have passed
    without the others.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self.ledger: tuple[float, str] | None = None
        self.alone = 0
        self._too_few_s: float | None = None
        self._noted_s = 0.0

    def begin(self, now_s: float) -> None:
        """The program waits from now on, however long it has trained while something was missing."""
        self._too_few_s = None
        self._noted_s = now_s
        if self.ledger is not None:
            self.ledger = (now_s, self.ledger[1])

    def ledger_is(self, now_s: float, lost: str) -> None:
        """Why it is not there; "" when it is."""
        self.ledger = (self.ledger or (now_s, lost)) if lost else None

    def for_ledger(self, now_s: float) -> list[Effect]:
        assert self.ledger is not None
        since_s, reason = self.ledger
        return self._waiting(now_s, since_s, f"the ledger: {reason}")

    def for_peers(self, now_s: float) -> list[Effect]:
        contract = self._contract
        if contract.options.onTooFewPeers == "stop" and contract.has_model:  # who never came is waited for
            return [GiveUp(Unreachable(f"too few peers in contract {contract.name}: {self.missing()}"))]
        self._too_few_s = now_s if self._too_few_s is None else self._too_few_s
        return self._waiting(now_s, self._too_few_s, f"peers: {self.missing()}")

    def for_model(self, now_s: float, since_s: float) -> list[Effect]:
        return self._waiting(now_s, since_s, f"a peer that serves the model {self._contract.base}")

    @property
    def too_few(self) -> bool:
        return len(self._contract.live()) < self._contract.options.minPeers or awaited.unled(self._contract)

    def may_go_alone(self, ask: Asked | None) -> bool:
        training = ask is not None and ask.kind == "sync"
        local = self._contract.options.onTooFewPeers == "local"
        return training and local and self.too_few and self.alone < ALONE_MAX

    def go_alone(self) -> str:
        """What to say of it."""
        self.alone += 1
        return f"too few peers ({self.missing()}): training on alone, {self.alone} of {ALONE_MAX}"

    def for_offers(self, now_s: float) -> list[Effect]:
        """There are enough: they are waited for without an end, as they may train for long."""
        self._too_few_s = None
        what = "merge" if self._contract.snap else "offers"  # of those who are picked, where this one is not
        return self.note(now_s, f"waiting for the {what} of {self.missing()}")

    def missing(self) -> str:
        """Whom this node waits for, by name; those who never enrolled have none."""
        return ", ".join(awaited.names(self._contract)) or "the ledger's decision"

    def note(self, now_s: float, text: str) -> list[Effect]:
        if now_s - self._noted_s < NOTE_EVERY_S:
            return []
        self._noted_s = now_s
        return [Tell(text)]

    def _waiting(self, now_s: float, since_s: float, whom: str) -> list[Effect]:
        limit_s = self._contract.options.tooFewPeersSeconds
        if limit_s and now_s - since_s >= limit_s:
            hint = "onTooFewPeers and tooFewPeersSeconds of the callback say what to do about it"
            return [GiveUp(Unreachable(f"waited {limit_s} s in contract {self._contract.name} for {whom}", hint=hint))]
        left = f", {limit_s - (now_s - since_s):.0f} s left" if limit_s else ""
        return self.note(now_s, f"waiting for {whom}{left}")
