"""The room that an operator offers to jobs: as its profile says it now, also while the operator runs.

Used by `nodes/swop`, which asks at every tick and tells the ledger what is new. Guarantee: a profile that cannot be
read any more, or has faults, changes nothing and is warned of once.
"""

from __future__ import annotations

import logging
from pathlib import Path

from swarm.errors import SwarmError
from swarm.wire import profile

log = logging.getLogger("swarm.SWOP")


class Room:
    """``capacity``: what the profile said when the operator began."""

    def __init__(self, path: Path, capacity: profile.Capacity | None) -> None:
        self.capacity = capacity
        self._path = path
        self._seen = self._stamp()

    def look(self) -> bool:
        """Whether it has changed since the last time."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen, before = stamp, self.capacity
        try:
            self.capacity = profile.parse(self._path.read_bytes(), str(self._path)).capacity
        except (OSError, SwarmError) as error:
            log.warning("the profile has changed and cannot be read, its capacity stays as it was: %s", error)
        return self.capacity != before

    def body(self) -> dict[str, int]:
        """The fields of a SwopListening."""
        return {"cpu": self.capacity.cpu, "gpu": self.capacity.gpu} if self.capacity is not None else {}

    def _stamp(self) -> tuple[int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return (0, 0)
        return status.st_mtime_ns, status.st_ino
