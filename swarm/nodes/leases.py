"""Which entry of the ledger made each lease of an operator: by that a lease is told from one that was given up.

Used by `nodes/swop`. The state of the ledger does not say it: it is kept with the operator's copy of that. A forced
recovery gives up leases, too, and the ledger that goes on may lease the same slot with the same fence, for another
task. Guarantee: what was begun under a lease that was given up has ended and is out of the way before anything is begun
or adopted under one that took its place.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from swarm.core.events import Applied, SlotAssigned, SlotChanged
from swarm.core.ledger import Ledger
from swarm.engines.pair import Engine
from swarm.nodes.slotdirectory import SlotDirectories, SlotDirectory
from swarm.nodes.trees import removed
from swarm.runtime.ledgercopy import LedgerCopy
from swarm.wire.signed import Entry

ASIDE = "given-up"
KEPT = 50
log = logging.getLogger("swarm.SWOP")


class Leases:
    """``uid``: the operator whose leases they are; ``copy``: what it keeps of the ledger."""

    def __init__(self, uid: str, ledger: Callable[[], Ledger], copy: LedgerCopy) -> None:
        self._uid, self._ledger, self._copy = uid, ledger, copy

    def applied(self, entry: Entry, applied: Applied) -> None:
        moved = [event for event in applied.events if isinstance(event, SlotAssigned | SlotChanged)]
        own = [event for event in moved if event.swop == self._uid]
        made = self._copy.leases
        for event in own:
            if isinstance(event, SlotAssigned):
                made[event.slot] = [event.fence, entry.hash.hex()]
        if own:  # only those that go on are asked for
            for over in made.keys() - {slot.id for slot in self._ledger().board.leases_of(self._uid)}:
                del made[over]

    def entry(self, lease: SlotAssigned) -> str:
        """Its hash; empty if it was not seen, and a release that did not keep it has left a copy of the ledger."""
        fence, made = self._copy.leases.get(lease.slot, (0, ""))
        return str(made) if fence == lease.fence else ""

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
