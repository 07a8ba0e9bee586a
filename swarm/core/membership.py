"""Membership: a member of a contract, and whether it is waited for.

Kept by `core/contract`. Guarantees: the state follows from what happened by one table; what is not in it changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from swarm.errors import Refused

ANCHORED_SINCE = 5
"""The version of the ledger's rules (`core/rules`) with which an organisation's members are told by its CA."""

State = Literal["live", "dropped", "lost", "restarted", "left", "excluded"]

MEMBER: dict[tuple[State, str], State] = {
    ("live", "enrolled"): "live",
    ("dropped", "enrolled"): "live",
    ("lost", "enrolled"): "live",
    ("restarted", "enrolled"): "live",
    ("left", "enrolled"): "live",
    ("live", "offered"): "live",
    ("dropped", "offered"): "live",
    ("lost", "offered"): "live",
    ("live", "dropped"): "dropped",
    ("live", "lost"): "lost",
    ("dropped", "lost"): "lost",
    ("lost", "back"): "dropped",
    ("live", "restarted"): "restarted",
    ("dropped", "restarted"): "restarted",
    ("lost", "restarted"): "restarted",
    ("live", "left"): "left",
    ("dropped", "left"): "left",
    ("lost", "left"): "left",
    ("restarted", "left"): "left",
    ("live", "excluded"): "excluded",
    ("dropped", "excluded"): "excluded",
    ("lost", "excluded"): "excluded",
    ("restarted", "excluded"): "excluded",
    ("left", "excluded"): "excluded",
}
"""A member's states and what moves them. A pair that is not here changes nothing.

live = is waited for · dropped = missed a round, may offer · lost = its node is lost · restarted = its process began
anew and has to enrol again · left · excluded = was proved to have signed two things that cannot both be true.
"""


@dataclass(slots=True)
class Member:
    name: str
    organisation: str
    ordinal: int
    weight: int
    sync_frequency: int
    data_address: str
    state: State = "live"
    leads: bool = False
    """Takes part in the upper contract for its group (`core/level`)."""
    anchor: bytes = b""
    """Of its organisation; empty where nobody has enrolled since `ANCHORED_SINCE` holds."""

    @property
    def owner(self) -> str:
        """Whose it is, to count by: a printed name becomes another when a second CA of that name is admitted."""
        return self.anchor.hex() or self.organisation

    def to_state(self) -> list[Any]:
        values = [getattr(self, each.name) for each in fields(self)]
        while values[-1] in (False, b""):  # as ever where nobody leads
            values.pop()
        return values

    def on(self, happened: str) -> None:
        self.state = MEMBER.get((self.state, happened), self.state)

    def must_be_in(self, contract: str) -> None:
        """Refuse the word of who is in the contract no more."""
        if self.state == "left":
            raise Refused(f"{self} has left contract {contract}: it has to enrol again")
        self.must_be_honest(contract)

    def must_be_honest(self, contract: str) -> None:
        if self.state == "excluded":
            reason = "it signed two different results for one shard"
            raise Refused(
                f"{self} is excluded from contract {contract}: {reason}", hint=f"swarm contract reset {contract}"
            )

    def __str__(self) -> str:
        return f"{self.name} ({self.organisation})"
