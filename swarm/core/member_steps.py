"""What happens to a member, and what it asks to be done: the events and effects of ``core/member``.

Made by ``nodes/learning`` (events) and performed by it (effects).
"""

from __future__ import annotations

from collections.abc import Mapping
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
    shards: tuple[bytes, ...] = ()
    """The digests of the snap's shards, so that who merged differently is known by its shard; none for a broadcast."""


@dataclass(frozen=True)
class Owed:
    """How many bytes are still to come of whose weights and shards, told about once a second while exchanging."""

    round: int
    attempt: int
    owed: Mapping[str, int]


@dataclass(frozen=True)
class Stalled:
    round: int
    attempt: int
    uid: str
    reason: str
    alive: bool = False
    """It gives signs of life and nothing else: it may be waiting for somebody itself."""


@dataclass(frozen=True)
class Fetched:
    digest: str


@dataclass(frozen=True)
class FetchFailed:
    digest: str
    reason: str


@dataclass(frozen=True)
class Rebased:
    """The program's change since ``origin`` lies on ``base`` now: these bytes have this digest."""

    base: str
    digest: str


@dataclass(frozen=True)
class RebaseFailed:
    base: str
    reason: str


@dataclass(frozen=True)
class Lifted:
    """The upper contract has made ``digest`` of the group's merge ``base``; ``over``: its training is over."""

    base: str
    digest: str
    over: bool


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
    Asked | OfferJudged | Merged | Owed | Stalled | Fetched | FetchFailed | Rebased | RebaseFailed | Lifted
    | LedgerLost | LedgerBack | Ticked
    | SnapMade | Committed | Aborted | BaseLost | Finished | ContractCleared | MemberGone
)  # fmt: skip


# ---- effects: what is to be done -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Propose:
    """An Offer's ``rates``, and its ``root`` where the contract asks for one, are added by who performs it."""

    kind: str
    body: dict[str, Any]


Source = Literal["own", "base", "rebased"]
"""What a member contributes: its program's weights, the model that it holds, or another one that it has: its late
change on the newest model, or what its group's upper contract has merged."""


@dataclass(frozen=True)
class BeginExchange:
    snap: SnapMade
    source: Source


@dataclass(frozen=True)
class EndExchange:
    pass


@dataclass(frozen=True)
class Show:
    """Propose as Evidence what the owners of these shards, by number in the snap, signed for what they sent here."""

    round: int
    attempt: int
    shards: tuple[int, ...]


@dataclass(frozen=True)
class Fetch:
    """Get a committed model. One at a time: of one that was on its way before, nothing is said any more."""

    digest: str
    holders: tuple[str, ...]


@dataclass(frozen=True)
class Rebase:
    """Put the program's change since the model ``origin`` onto the model ``base``; both are held, or it fails."""

    origin: str
    base: str


@dataclass(frozen=True)
class Climb:
    """Merge the group's model ``base`` in the upper contract; ``ending``: the group has nothing more to train.

    ``again``: it has been there, and what was brought is out of date or lost: bring the upper contract's newest model.
    """

    base: str
    ending: bool
    again: bool = False


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


Effect = Propose | BeginExchange | EndExchange | Show | Fetch | Rebase | Climb | Answer | Tell | GiveUp
