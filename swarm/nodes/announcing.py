"""What an operator says of itself to the ledger: the taskrunner that it listens on, and its room for jobs.

Used by `nodes/swop`, once it has joined and whenever there is something else to say. Guarantee: one is said after the
other, each with the room as it is by then, so the ledger and ``ready.json`` end with the newest one.
"""

from __future__ import annotations

import os
from contextlib import suppress

import trio

from swarm.core.rules import has_kind
from swarm.errors import SwarmError
from swarm.nodes.ledgerlink import LedgerLink
from swarm.nodes.room import Room
from swarm.runtime.statedir import StateDirectory
from swarm.wire.profile import Profile


class Announcing:
    def __init__(self, profile: Profile, room: Room, link: LedgerLink, state: StateDirectory) -> None:
        self._profile, self._room, self._link, self._state = profile, room, link, state
        self._saying = trio.Lock()

    async def say(self) -> None:
        """Raises what the ledger has against it."""
        async with self._saying:  # a proposal may be made again after a pause, and would be overtaken by the next
            await self._say(self._room.body())

    async def _say(self, room: dict[str, int]) -> None:
        profile = self._profile
        body = {"taskrunner": profile.taskrunner, "group": profile.groupname, "peers": len(profile.nodes)}
        body |= room if has_kind("JobsSubmitted", self._link.ledger.rules.active) else {}
        if (error := (await self._link.propose("SwopListening", body)).error()) is not None:
            raise error
        with suppress(SwarmError):  # who waits on this host reads there what the ledger knows; without room, says so
            self._state.write_json("ready.json", {"uid": self._state.uid, "pid": os.getpid(), "room": room})
