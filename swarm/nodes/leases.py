"""Which entry of the ledger made each lease of an operator: by that a lease is told from one that was given up.

Used by `nodes/swop`. A forced recovery gives up leases, too, and the ledger that goes on may lease the same slot with
the same fence, for another task. Guarantee: what was begun under a lease that was given up has ended and is out of the
way before anything is begun or adopted under one that took its place.
"""

from __future__ import annotations

import logging
import os

from swarm.core.events import Applied, SlotAssigned, SlotChanged
from swarm.engines.pair import Engine
from swarm.nodes.slotdirectory import SlotDirectories, SlotDirectory
from swarm.nodes.trees import removed
from swarm.wire.signed import Entry

ASIDE = "given-up"
KEPT = 50
log = logging.getLogger("swarm.SWOP")


class Leases:
    """``uid``: the operator whose leases they are."""

    def __init__(self, uid: str) -> None:
        self._uid = uid
        self._entries: dict[tuple[str, int], str] = {}
        """By slot and fence: of those that go on."""

    def applied(self, entry: Entry, applied: Applied) -> None:
        for event in applied.events:
            match event:
                case SlotAssigned(swop=self._uid):
                    self._entries[event.slot, event.fence] = entry.hash.hex()
                case SlotChanged(swop=self._uid, leased=False):
                    self._entries.pop((event.slot, event.fence), None)

    def entry(self, lease: SlotAssigned) -> str:
        """Its hash; empty if it was not seen, since the operator went on from what it had kept of the ledger."""
        return self._entries.get((lease.slot, lease.fence), "")

    def is_given_up(self, directory: SlotDirectory, head: int) -> bool:
        """Whether the lease of that slot and fence is another one than this was begun under, or can become one: a fence
        is the number of the entry that made the lease, and the ledger has none of that number yet."""
        if directory.lease.fence > head:
            return True
        return self.entry(directory.lease) not in ("", directory.entry) and bool(directory.entry)


def end_given_up(directory: SlotDirectory, engine: Engine) -> None:
    """For a thread. Its logs are kept beside the directories of the operator's slots, as far as there is room."""
    place, slot = directory.path, directory.lease.slot
    engine.sweep(place)
    aside = place.parent.parent / ASIDE / place.parent.name
    what = "its lease with fence %d was given up by a forced recovery"
    try:
        directory.clear()
        aside.mkdir(mode=0o700, parents=True, exist_ok=True)
        SlotDirectories(aside, SlotDirectory).prune(KEPT - 1)
        removed(aside / place.name)
        os.replace(place, aside / place.name)
    except OSError as error:
        removed(place)
        why = error.strerror or error
        log.warning(f"slot %s: {what}; the logs of what ran could not be kept: %s", slot, directory.lease.fence, why)
        return
    log.warning(f"slot %s: {what}; the logs of what ran are in %s", slot, directory.lease.fence, aside / place.name)
