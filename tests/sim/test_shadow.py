"""A ledger that is restored from its state judges what follows as the one does that it was taken from."""

from __future__ import annotations

from swarm.core.ledger import Ledger
from tests.sim.scenario import run

FROM_ENTRY = 20


def test_what_a_ledger_keeps_beside_its_state_is_found(monkeypatch):
    right = Ledger.apply

    def apply(ledger, header, claim):
        """Counts what it has applied itself, which no state says, and goes by that."""
        ledger.count = getattr(ledger, "count", 0) + 1
        applied = right(ledger, header, claim)
        ledger.time += ledger.count >= FROM_ENTRY
        return applied

    assert run(0, shared=False).clean
    monkeypatch.setattr(Ledger, "apply", apply)
    report = run(0, shared=False)
    assert "shadow.py" in report.failed
    assert "a ledger that was restored" in report.failed


def test_what_goes_by_the_order_of_a_dict_is_found(monkeypatch):
    right = Ledger.apply

    def apply(ledger, header, claim):
        """Names whoever is the first in a dict, as it was filled."""
        applied = right(ledger, header, claim)
        if header.index >= FROM_ENTRY and applied.outcome.accepted:
            applied.outcome.result["first"] = next(reversed(ledger.nodes))
        return applied

    monkeypatch.setattr(Ledger, "apply", apply)
    report = run(0, shared=False)
    assert "shadow.py" in report.failed
    assert "'first'" in report.failed
