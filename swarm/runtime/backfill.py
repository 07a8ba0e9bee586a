"""The old entries of a network node that began with a snapshot: fetched from the others, into its archive.

Run by ``runtime/snapshots``, in the background and without haste: nothing here waits for them, but who follows the
ledger from its first entry can then do so at this node too, and its audit has no gap. Guarantees: what comes is kept
only while each entry follows the one before, beginning with this network's genesis; if it does not end with the entry
that the snapshot stands for, it is another history, and is thrown away and fetched elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from swarm.core.ordering import NO_HASH
from swarm.errors import BadInput, SwarmError
from swarm.runtime.archive import Archive
from swarm.wire.signed import decode_entry

AGAIN_S = 5.0
SEGMENT_BYTES = 1 << 20
"""What others give in one answer may be a single entry: a file each would leave no inodes."""

log = logging.getLogger("swarm.SN")


class Backfill:
    """``ask`` has another node (by uid) answer with entries behind an index; ``others`` says whom there is to ask."""

    def __init__(
        self, archive: Archive, ask: Callable[[str, int], Awaitable[Any]], others: Callable[[], Sequence[str]]
    ) -> None:
        self._archive = archive
        self._ask = ask
        self._others = others

    async def fill(self, network_id: bytes, upto: int, hash_: bytes) -> None:
        """Until the archive has the entries from the first up to this one, whose hash is known."""
        if self._archive.reach() >= upto:
            return
        turn = 0
        while self._archive.reach() < upto:
            others = self._others()
            uid = others[turn % len(others)] if others else ""
            try:
                await self._from(uid, network_id, upto, hash_)
            except (SwarmError, OSError) as error:  # a full disk, too: there is time
                log.info("no old entries from %s: %s", uid or "anybody", error)
                turn += 1
                await trio.sleep(AGAIN_S)
        log.info("the archive holds the entries up to %d", upto)

    async def _from(self, uid: str, network_id: bytes, upto: int, hash_: bytes) -> None:
        reach = self._archive.reach()
        raws = list(self._archive.after(reach - 1)) if reach else []
        previous, packed = decode_entry(raws[-1]).hash if raws else NO_HASH, list[bytes]()
        while reach < upto:
            taken = _entries(await self._ask(uid, reach))[: upto - reach]
            for index, raw in enumerate(taken, reach + 1):
                entry = decode_entry(raw)
                if entry.index != index or entry.prev_hash != previous or (index == 1 and entry.hash != network_id):
                    raise BadInput(f"entry {index} does not follow entry {index - 1} of this network")
                previous = entry.hash
            if reach + len(taken) == upto and previous != hash_:
                await trio.to_thread.run_sync(self._archive.drop, upto)
                raise BadInput(f"its entry {upto} is not the one that the snapshot stands for")
            reach, packed = reach + len(taken), packed + taken
            if reach == upto or sum(map(len, packed)) >= SEGMENT_BYTES:
                await trio.to_thread.run_sync(self._archive.write, reach + 1 - len(packed), packed)
                packed = []


def _entries(reply: Any) -> list[bytes]:
    match reply:
        case {"entries": [_, *_] as entries} if all(isinstance(entry, bytes) for entry in entries):
            return list(entries)
    raise BadInput("the answer holds no entries")
