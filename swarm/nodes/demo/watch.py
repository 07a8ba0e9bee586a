"""The ledger as `swarm demo --chaos` sees it: which round is in flight, and which network node leads.

Runs in a thread of its own beside the demo, as the first organisation's command interface. Guarantees: it only reads;
whatever becomes of the network node that it asks, it goes on with another; it says why while it sees nothing.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

import trio

from swarm.core.events import Aborted, Applied, Committed, Event, MemberReady, SnapMade
from swarm.errors import SwarmError
from swarm.nodes.client import Client
from swarm.nodes.ledgerlink import Address
from swarm.runtime.authority import CertificateTree
from swarm.runtime.credentials import Credentials
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local
from swarm.wire.signed import Entry

ASK_EVERY_S = 0.25
FLIGHT_S = 0.1
"""Of a round, as long as none has been seen; and at most, as one that waits for somebody is no measure."""


class Watch:
    """A context manager: it watches within."""

    def __init__(self, tree: CertificateTree, address: Address, state: Path) -> None:
        self.round = -1
        """The newest that was merged or is being merged."""
        self.phase = ""
        """Of the round in flight: merging, then ready; empty between rounds."""
        self.commits = 0
        self.flight_s = FLIGHT_S
        """How long the last round was in flight, a usual one at most."""
        self.leader = ""
        """The uid of the network node that leads, as far as it is known."""
        self._blind = "no network node has answered yet"
        """Why nothing can be seen at present; empty while it can."""
        self._begun_s = 0.0
        self._in_flight = threading.Event()
        self._tree, self._address, self._state = tree, address, state
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def in_flight(self, patience_s: float) -> bool:
        """Wait until a round is; False if none was."""
        return self._in_flight.wait(patience_s)

    def seen(self, blind: str) -> None:
        """The ledger was asked: why it cannot be seen at present, or an empty text."""
        self._blind = blind

    def describe(self, awaited: str) -> str:
        """What is awaited, with what keeps it from being seen."""
        return f"{awaited} ({self._blind})" if self._blind else awaited

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        tree = self._tree
        credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)
        with StateDirectory(self._state) as state:
            trio.run(self._follow, _Reader(Local(credentials, state), self._address, self))

    async def _follow(self, reader: _Reader) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(reader.run)
            while not self._closing.is_set():
                try:
                    await reader.follow()  # from the first time on every entry is seen
                    self.leader = str((await reader.status())["leader"] or "")
                    self.seen("")
                except SwarmError as error:
                    self.leader = ""
                    self.seen(error.message)
                await trio.sleep(ASK_EVERY_S)
            reader.close()

    def on_event(self, event: Event) -> None:
        match event:
            case SnapMade():
                self.round, self.phase = event.round, "merging"
                self._begun_s = time.monotonic()
                self._in_flight.set()
            case MemberReady():
                self.phase = "ready"
            case Committed() | Aborted():
                self._in_flight.clear()
                self.flight_s = min(FLIGHT_S, time.monotonic() - self._begun_s)
                self.round, self.phase = event.round, ""
                self.commits += isinstance(event, Committed)


class _Reader(Client):
    def __init__(self, local: Local, address: Address, watch: Watch) -> None:
        super().__init__(local, address)
        self._watch = watch

    async def follow(self) -> None:
        await self._follow()

    def _on_applied(self, entry: Entry, applied: Applied) -> None:
        super()._on_applied(entry, applied)
        for event in applied.events:
            self._watch.on_event(event)
