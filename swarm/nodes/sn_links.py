"""The links of a network node: to all other network nodes of the ledger, and from everybody who calls.

Run by ``nodes/sn``. Of two network nodes the one with the smaller uid dials at once, the other one when it has waited
in vain: so each finds the other again whichever of them moved, or sits behind a wall that lets calls out only.
Guarantees: a node whose ledger is empty takes part through the entrance that it was told, whoever answers there; later
that is one address more to try; what an address leads to ends nothing here: that this node is outdated, replaced or
runs twice, other network nodes of the ledger have to say, and not one of several alone; or its own key has said so.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from swarm.core.election import majority
from swarm.core.ledger import Ledger
from swarm.core.names import peer_id
from swarm.errors import IdentityError, Outdated, Replaced, RunsTwice, SwarmError, Unreachable
from swarm.nodes.firstcontact import FirstContact
from swarm.nodes.ledgerlink import Address, parse_address
from swarm.runtime.change import Change
from swarm.runtime.control import Control, Link
from swarm.runtime.started import TaskStatus
from swarm.runtime.tls import Local, address_text

DIAL_S = 6.0
GRACE_S = 2.0
FLAGS = "--sentinel-ip its --host-ip"
BACKOFF_S = (0.25, 0.5, 1.0, 2.0)

log = logging.getLogger("swarm.SN")


class Links:
    """``ledger`` gives the address book, ``own`` this node's addresses; ``linked`` follows each link that this node
    makes, until it ends; ``ended`` hears why this process may not take part any longer; ``shown`` judges what is shown
    for it that another process has its node key."""

    def __init__(
        self,
        local: Local,
        ledger: Callable[[], Ledger],
        own: Callable[[], list[str]],
        *,
        linked: Callable[[Link], Awaitable[None]],
        ended: Callable[[Replaced | RunsTwice | Outdated], None],
        shown: Callable[[bytes], bool],
    ) -> None:
        self._local = local
        self._ledger = ledger
        self._own = own
        self._linked = linked
        self._ended = ended
        self._shown = shown
        self._outdated_for: set[str] = set()
        self._doubled_for: set[str] = set()
        """Who has said that another process has this node's place."""
        self._open: dict[str, list[Link]] = {}
        self._keeping: set[str] = set()
        self._changed = Change()
        self.ever = False
        """Whether some network node has been linked since this one started."""

    # ---- what others ask

    def of(self, uid: str | None) -> Link | None:
        """The newest link to this node."""
        return self._open[uid][-1] if uid in self._open else None

    def heard(self) -> list[str]:
        return list(self._open)

    def network_nodes(self) -> list[Link]:
        return [links[-1] for links in self._open.values() if links[-1].peer.identity.role == "sn"]

    # ---- running

    async def run(
        self, control: Control, entrances: Sequence[Address], *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Stay linked for ever; started once there is a ledger, or somebody to take it from."""
        async with trio.open_nursery() as nursery:
            if entrances:
                nursery.start_soon(self._use_entrances, control, entrances)
            started = False
            while True:
                for uid, _ in self._ledger().sns():
                    if uid != self._local.state.uid and uid not in self._keeping:
                        self._keeping.add(uid)
                        nursery.start_soon(self._keep, control, uid)
                if not started and (self._ledger().head_index or self.ever):
                    started = True
                    task_status.started()
                await self._changed.wait()

    def look(self) -> None:
        """The ledger may name other network nodes now, or other addresses."""
        self._changed.tell()

    async def accepted(self, link: Link) -> None:
        """Keep a link that another process has made, until it ends."""
        await self._hold(link, made=False)

    async def _hold(self, link: Link, *, made: bool) -> None:
        uid = link.peer.uid
        self._open.setdefault(uid, []).append(link)
        is_network_node = link.peer.identity.role == "sn"
        self.ever |= is_network_node
        self._changed.tell()
        try:
            async with trio.open_nursery() as nursery:
                if made:
                    nursery.start_soon(self._linked, link)
                await link.closed.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._open[uid].remove(link)
            if not self._open[uid]:
                del self._open[uid]
                if is_network_node:
                    log.info("no link to %s any longer: %s", link.peer, link.reason)
            self._changed.tell()

    # ---- dialling

    async def _keep(self, control: Control, uid: str) -> None:
        """Be linked to this network node for as long as the ledger has it."""
        failures = 0
        while uid in dict(self._ledger().sns()):
            if uid in self._open:
                failures = 0
                await self._changed.wait()
            elif await self._called(uid, failures):
                continue
            elif await self._dial(control, uid):
                failures = 1
            else:
                failures += 1
        self._keeping.discard(uid)

    async def _called(self, uid: str, failures: int) -> bool:
        """Whether it calls by itself before it is time to dial it (again); new addresses are tried at once."""
        first_s = GRACE_S if self._local.state.uid > uid else 0.0
        before = self._ledger().nodes[uid].addresses
        with trio.move_on_after(BACKOFF_S[min(failures, len(BACKOFF_S)) - 1] if failures else first_s):
            while uid not in self._open and self._ledger().nodes[uid].addresses == before:
                await self._changed.wait()
        return uid in self._open

    async def _dial(self, control: Control, uid: str) -> bool:
        node = self._ledger().nodes[uid]
        # The port for network nodes first; the API's leads to the same process. A node that came back under another key
        # meets itself in the ledger.
        for address in [parse_address(text) for text in reversed(node.addresses) if text not in self._own()]:
            try:
                link = await control.connect(*address, peer_id=peer_id(node.node_key), deadline_s=DIAL_S)
            except SwarmError as error:
                self._note(error, f"{node.identity.name} ({node.identity.organisation})")
                if isinstance(error, Outdated):
                    self._note_outdated(uid, error)
                elif isinstance(error, Replaced | RunsTwice):
                    self._note_doubled(uid, error)
                continue
            self._doubled_for.discard(uid)
            await self._hold(link, made=True)
            return True
        return False

    async def _use_entrances(self, control: Control, entrances: Sequence[Address]) -> None:
        """While no network node is linked: whoever answers there, however it is called now."""
        tries, contact = 0, FirstContact(log, FLAGS)
        while True:
            if self.network_nodes():
                await self._changed.wait()
                tries = 0
                continue
            entrance = entrances[tries % len(entrances)]
            tries += 1
            pause_s = BACKOFF_S[min(tries, len(BACKOFF_S)) - 1]
            try:
                link = await control.connect(*entrance, deadline_s=DIAL_S)
            except Unreachable as error:
                if not self._ledger().head_index:
                    contact.failed(entrance, error, pause_s)
            except IdentityError as error:
                self._note(error, address_text(*entrance))
                if not self._ledger().head_index:  # nobody else is known who could say otherwise
                    if not isinstance(error, Replaced | RunsTwice):
                        raise
                    self._ended(error)
            else:
                if link.peer.identity.role == "sn":
                    await self._hold(link, made=True)
                    continue
                await link.close()
                if not self._ledger().head_index:
                    raise IdentityError(f"{link.peer.identity} answers for the sentinel and is no network node")
            with trio.move_on_after(pause_s):
                while not self.network_nodes():
                    await self._changed.wait()

    def _note_outdated(self, uid: str, error: Outdated) -> None:
        """Half of the others say so; where there is but one, it ends nobody who decides alone, whose ledger follows no
        rules without it: if another was begun by force, that one lets it in and shows it."""
        self._outdated_for.add(uid)
        others = self._others()
        if self._believes(others) and 2 * len(self._outdated_for & others) >= len(others):
            self._ended(error)

    def _others(self) -> set[str]:
        return {uid for uid, _ in self._ledger().sns()} - {self._local.state.uid}

    def _believes(self, others: set[str]) -> bool:
        """Whether the mere word of others may end this node: that of the only other one would end the ledger, if this
        node decides alone."""
        return len(others) > 1 or self._ledger().voters != (self._local.state.uid,)

    def _note_doubled(self, uid: str, error: Replaced | RunsTwice) -> None:
        """Its own key has spoken; or a majority of the others has met the other process, or they all lie."""
        self._doubled_for.add(uid)
        others = self._others()
        said = self._believes(others) and len(self._doubled_for & others) >= majority(others)
        if said or self._shown(error.proof):
            self._ended(error)

    def _note(self, error: SwarmError, who: str) -> None:
        level = logging.DEBUG if isinstance(error, Unreachable) else logging.WARNING
        log.log(level, "no link to %s: %s", who, error.message)
