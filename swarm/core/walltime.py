"""Wall time: by which time of this process's host a certificate has to have begun, however its clock is set back.

Kept by ``runtime/credentials``, one a process, and told both clocks at every judgement. Guarantees: the time that was
reached never goes back while the process lives, and goes on as the other clock does, so who was valid once is never
"not valid yet" here again; a process that begins on a host whose clock is behind knows no better than that clock.
Only the beginning of certificates is measured on it: they expire by the wall clock as it stands, since a clock that was
ahead for a moment must not make them expire for good.
"""

from __future__ import annotations


class WallTime:
    def __init__(self) -> None:
        self._origin_ms: int | None = None
        """What the wall clock would have shown when the other one was at 0: the latest that it has claimed."""

    def reached_ms(self, wall_ms: int, now_ms: int) -> int:
        """The latest that it has been by now; ``now_ms``: on the clock that only goes forward."""
        origin_ms = wall_ms - now_ms
        self._origin_ms = origin_ms if self._origin_ms is None else max(self._origin_ms, origin_ms)
        return self._origin_ms + now_ms
