"""How long each step of a round took on a learning node, on the machine's monotonic clock.

Kept by ``nodes/learning`` and told with its report of the round.
"""

from __future__ import annotations

from time import monotonic

EXCHANGED = ("scatter", "merge", "gather")


class RoundTimes:
    """From a program's asking to its answer: ``reach`` is told each point as it comes."""

    def __init__(self, bytes_before: int = 0) -> None:
        self.bytes_before = bytes_before
        """What this node had sent until then."""
        self._at = {"asked": monotonic()}
        self._exchanged_s: dict[str, float] = {}

    def reach(self, point: str) -> None:
        """hashed, snapped, merged, committed."""
        self._at[point] = monotonic()

    def exchanged(self, phases_s: dict[str, float]) -> None:
        self._exchanged_s = phases_s
        self.reach("merged")

    @property
    def asked_s(self) -> float:
        return self._at["asked"]

    @property
    def seconds(self) -> float:
        return round(monotonic() - self.asked_s, 6)

    def phases_s(self) -> dict[str, float]:
        """Of a merged round; empty for a model that was adopted."""
        if "merged" not in self._at:
            return {}
        at = self._at
        return {
            "hash": at["hashed"] - at["asked"] + self._exchanged_s["hash"],
            "offer": at["snapped"] - at["hashed"],
            **{phase: self._exchanged_s[phase] for phase in EXCHANGED},
            "commit": at["committed"] - at["merged"],
            "load": monotonic() - at["committed"],
        }
