"""Whether a forced recovery gave up what a node that follows the ledger has read, and what it ends with then.

Used by ``nodes/ledgerlink`` with what a network node answers who follows it, and by operators, which begin anew.
Guarantees: only a forced recovery that somebody with the right to it has signed, by the ledger that this node has read,
ends anything; no network node's word does. What ends a node is kept in its state directory first, if there is room, and
no ledger of an earlier epoch is begun with from then on: each epoch ends it once at most.

Some of that ledger stands behind the recovery, and there the very node that it promotes may have been removed, since
nobody reached it. When the recovery was signed, nobody can show: who is removed for good could sign one for a place
before that at any time, and would have back what it has lost. So a removal counts as none there only if who signed has
the right to another one even now, or is of this node's own organisation.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import AsyncIterator
from typing import Any

import trio

from swarm.core.events import Applied, NodeGone
from swarm.core.ledger import Ledger
from swarm.core.ordering import epoch_of
from swarm.errors import BadInput, GivenUp, Refused, SwarmError, Unreachable
from swarm.nodes.sn_recovery import Recovery, judged
from swarm.runtime.founding import node_name
from swarm.runtime.ledgercopy import RECOVERY, LedgerCopy
from swarm.runtime.statedir import StateDirectory
from swarm.wire.signed import Entry, decode_entry

AGAIN_S = 5.0
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
ANEW = "start this node again: it reads the ledger anew"
log = logging.getLogger("swarm.SWOP")


async def begin_anew(state: StateDirectory, signals: AsyncIterator[int]) -> None:
    """As after a new start of the process, which has to be counted on disk: waits until there is room, or for a signal,
    by which the next life ends in order. Raises BadInput for what no time mends."""
    while True:
        try:
            return state.begin_anew()
        except BadInput as error:
            if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in NO_ROOM):
                raise
            log.warning("it waits to begin anew, and tries again in %g s: %s", AGAIN_S, error.message)
        with trio.move_on_after(AGAIN_S):
            return os.kill(os.getpid(), await anext(signals))


class Removals:
    """Of network nodes, as this process has read them; ``own``: the anchor of its organisation."""

    def __init__(self, own: bytes) -> None:
        self._own = own
        self._at: dict[str, int] = {}
        """By uid: the entry that removed it."""

    def applied(self, entry: Entry, ledger: Ledger, applied: Applied) -> None:
        if entry.index == 1:  # it is read anew
            self._at.clear()
        for event in applied.events:
            if isinstance(event, NodeGone) and ledger.nodes[event.uid].state == "removed":
                self._at[event.uid] = entry.index

    def judged(self, raw: bytes, ledger: Ledger, who: str) -> Recovery:
        """The forced recovery that ``who`` shows, by this ledger, and by whom it had not removed where that stands.
        Raises SwarmError."""
        index = decode_entry(raw).index
        since = [uid for uid, at in self._at.items() if at >= index]
        recovery = judged(raw, ledger, who, since, ledger.time)
        if recovery.uid in since and recovery.anchor not in {self._own, *(anchor for _, anchor in ledger.sns())}:
            raise Refused(
                f"{who} shows a forced recovery of {node_name(ledger, recovery.uid)}, which was removed, "
                f"by {recovery.author}, of whose organisation there is no network node"
            )
        return recovery


def must_go_on(reply: Any, ledger: Ledger, who: str, removals: Removals) -> None:
    """Raise GivenUp if ``who`` shows that this ledger was given up, and Unreachable if what it shows proves nothing."""
    match reply:
        case {"recovery": bytes(raw)}:
            pass
        case _:
            return
    try:
        recovery = removals.judged(raw, ledger, who)
    except SwarmError as error:
        raise Unreachable(f"{error.message}, by the ledger as this node has it; if it is right, {ANEW}") from error
    if recovery.index <= ledger.head_index and recovery.epoch > ledger.epoch:
        decides = node_name(ledger, recovery.uid)
        raise GivenUp(
            f"this node has read entry {ledger.head_index} of a ledger that was given up by force: {decides} decides "
            f"since entry {recovery.index}, by the word of {recovery.author}",
            hint=f"{ANEW}; what was acknowledged to it since entry {recovery.index} may have to be done again",
        )


def ahead(index: int) -> Unreachable:
    """Of a network node that is behind, or has lost entries; whoever has a forced recovery shows it."""
    return Unreachable(
        f"its ledger ended before entry {index}, which this node has; if that lasts, see its 'swarm status' and {ANEW}"
    )


class Shown:
    """The forced recovery that ended this node last, if one did. ``copy``: what it keeps of the ledger; ``own``: the
    anchor of its organisation."""

    def __init__(self, copy: LedgerCopy, own: bytes) -> None:
        self._copy, self.removals = copy, Removals(own)
        self._epoch = self._index = 0
        with contextlib.suppress(OSError, SwarmError):  # none, or not as it was written: it is found out again
            self._read((copy.state.path / RECOVERY).read_bytes())

    def _read(self, raw: bytes) -> None:
        entry = decode_entry(raw)
        self._epoch, self._index = epoch_of(entry.term), entry.index

    def must_go_on(self, reply: Any, ledger: Ledger, who: str) -> None:
        """The same, and keep what ends this node."""
        try:
            must_go_on(reply, ledger, who, self.removals)
        except GivenUp:
            with contextlib.suppress(SwarmError):  # no room for it: the next start finds it out again
                self._copy.state.write_atomic(RECOVERY, reply["recovery"])
            self._read(reply["recovery"])
            self._copy.forget()
            raise

    def earlier(self, ledger: Ledger) -> Unreachable | None:
        """Why nothing may begin with this ledger, if it is of an epoch before that: who showed it was given up as well,
        or is behind, or lies."""
        if ledger.epoch >= self._epoch:
            return None
        return Unreachable(
            f"its ledger is of epoch {ledger.epoch}, and this node was shown that epoch {self._epoch} began by force "
            f"with entry {self._index}; if that lasts, see its 'swarm status'"
        )
