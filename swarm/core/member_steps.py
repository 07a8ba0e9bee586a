"""What happens to a member, and what it asks to be done: the events and effects of ``core/member``.

Made by ``nodes/learning`` (events) and performed by it (effects).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from swarm.core.events import Aborted, BaseLost, Committed, ContractCleared, Finished, MemberGone, SnapMade
from swarm.errors import SwarmError

# ---- events: what has happened -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """The program stands at a sync point with its weights frozen. ``digest`` is theirs."""

    kind: Literal["begin", "sync", "end"]
    digest: str
    batches: int = 0
    epochs: int = 0


@dataclass(frozen=True)
class OfferJudged:
    round: int
    accepted: bool
    reason: str = ""


@dataclass(frozen=True)
class Merged:
    """This node holds all bytes of the result of an attempt, in a file that outlives its process."""

    round: int
    attempt: int
    digest: str


@dataclass(frozen=True)
class Stalled:
    round: int
    attempt: int
    uid: str
    reason: str


@dataclass(frozen=True)
class Fetched:
    digest: str


@dataclass(frozen=True)
class FetchFailed:
    digest: str
    reason: str


@dataclass(frozen=True)
class LedgerLost:
    reason: str


@dataclass(frozen=True)
class LedgerBack:
    pass


@dataclass(frozen=True)
class Ticked:
    pass


Event = (
    Asked | OfferJudged | Merged | Stalled | Fetched | FetchFailed | LedgerLost | LedgerBack | Ticked
    | SnapMade | Committed | Aborted | BaseLost | Finished | ContractCleared | MemberGone
)  # fmt: skip


# ---- effects: what is to be done -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Propose:
    kind: str
    body: dict[str, Any]


@dataclass(frozen=True)
class BeginExchange:
    """Exchange weights as the snap says; ``source`` tells whether the program's weights or the base are contributed."""

    snap: SnapMade
    source: Literal["own", "base"]


@dataclass(frozen=True)
class EndExchange:
    pass


@dataclass(frozen=True)
class Fetch:
    digest: str
    holders: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """To the program. ``merged`` and ``adopted`` hand over the model ``digest``; ``kept`` and ``alone`` nothing."""

    how: Literal["merged", "adopted", "kept", "alone"]
    round: int
    digest: str
    members: int = 0
    training_over: bool = False
    note: str = ""


@dataclass(frozen=True)
class Tell:
    """A line for the program's log."""

    text: str


@dataclass(frozen=True)
class GiveUp:
    error: SwarmError


Effect = Propose | BeginExchange | EndExchange | Fetch | Answer | Tell | GiveUp
