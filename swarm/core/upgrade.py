"""When a leader proposes newer rules: once all nodes have known them for a while.

Asked at every tick. The while is for a node that is down for a moment, and that would be out when it is back with its
former release. Guarantees: nothing is proposed sooner; what changed nothing is proposed again, but not at every tick.
"""

from __future__ import annotations

SETTLED_S = 20.0
AGAIN_S = 5.0


class Upgrade:
    def __init__(self) -> None:
        self._version = 0
        self._due_s = 0.0

    def tick(self, now_s: float, active: int, attainable: int) -> int | None:
        """The version to propose now, if any. ``attainable``: the newest that all nodes know."""
        if attainable != self._version:
            self._version, self._due_s = attainable, now_s + SETTLED_S
        if attainable <= active or now_s < self._due_s:
            return None
        self._due_s = now_s + AGAIN_S
        return attainable
