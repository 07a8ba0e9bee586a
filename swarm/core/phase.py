"""The phases of a member: what its open ask waits for. Drawn in docs/ARCHITECTURE.md, moved by `core/member`."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    RESTING = "resting"
    OFFERED = "offered"
    MERGING = "merging"
    READY = "ready"
    OVERTAKEN = "overtaken"
    """The others have committed; this node's own exchange goes on, and most often ends with the same bytes."""
    LATE = "late"
    SITTING_OUT = "sitting out"
    """The round takes other members: it waits for their model, and offers if so many of them go that it is next."""
    FETCHING = "fetching"
    BEHIND = "behind"
    """Nobody serves the base that this node lacks: it says so, contributes nothing, and tries again."""
    REBASING = "rebasing"
    CLIMBING = "climbing"
    """It leads a group, and merges in the upper contract what the group has merged."""


EXCHANGING = (Phase.MERGING, Phase.READY)
