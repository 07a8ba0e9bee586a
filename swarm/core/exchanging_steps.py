"""What happens in an exchange, and what it asks to be done: the events and effects of ``core/exchanging``.

Made by ``runtime/exchange`` (events) and performed by it (effects).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

What = Literal["offer", "distances", "shard"]
"""What is pulled: a contribution, what an owner says about the distances in its shard, or the shard itself."""

# ---- events: what has happened -------------------------------------------------------------------------------------


class Pull(NamedTuple):
    """(Also an effect.) Bytes ``start`` to ``stop`` of what is of ``of``, to be had from ``source``.

    ``source`` is another than ``of`` only for what an owner has signed: a member that holds it.
    """

    what: What
    of: str
    source: str
    start: int
    stop: int


class Arrived(NamedTuple):
    """The bytes of the pull below ``upto`` are here; the same again: its source lives and has no more yet."""

    pull: Pull
    upto: int


@dataclass(frozen=True, slots=True)
class Verified:
    """All bytes of the pull are here and are what was promised: by the offer, or by the owner's signature."""

    pull: Pull


@dataclass(frozen=True, slots=True)
class Failed:
    """The pull is over. ``bad``: what came cannot be used, so its source is to blame, and not asked again."""

    pull: Pull
    reason: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A contribution that arrived whole cannot be merged."""

    uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class Measured:
    """The distances in the chunk that starts here are known."""

    start: int


@dataclass(frozen=True, slots=True)
class Published:
    """What I have to say about distances is written down and signed."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What is to be merged how is known."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The chunk that starts here is merged."""

    start: int


@dataclass(frozen=True, slots=True)
class Held:
    """This member says Ready in this attempt: it holds every shard."""

    uid: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """``rtt_s``: round trips to members, as far as known."""

    rtt_s: Mapping[str, float] = field(default_factory=dict)


Event = Arrived | Verified | Failed | Spoilt | Measured | Published | Weighed | Merged | Held | Ticked

# ---- effects: what is to be done -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stop:
    """End the pull; `Failed` tells that it has ended."""

    pull: Pull
    reason: str


@dataclass(frozen=True, slots=True)
class Measure:
    """How far apart the parts of a chunk are; `Measured` tells the end."""

    start: int
    stop: int
    parts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Publish:
    """All of my shards is measured: sign what I have to say about it, and serve it; `Published` tells the end."""


@dataclass(frozen=True, slots=True)
class Weigh:
    """What all owners say is here: find out how to merge, the same everywhere; `Weighed` tells the end."""


@dataclass(frozen=True, slots=True)
class Merge:
    """The chunk, from ``parts`` (uid, weight) in this order."""

    start: int
    stop: int
    parts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Serve:
    """The bytes of my shard that starts at ``shard`` are final below ``upto``."""

    shard: int
    upto: int


@dataclass(frozen=True, slots=True)
class Sign:
    """My shard that starts at ``shard`` is merged whole."""

    shard: int


@dataclass(frozen=True, slots=True)
class Blame:
    """``alive``: it gives signs of life and nothing else, so it may be waiting for somebody itself."""

    uid: str
    reason: str
    alive: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """Every byte of the result is here and verified: this member may say Ready."""


Effect = Pull | Stop | Measure | Publish | Weigh | Merge | Serve | Sign | Blame | Finish
