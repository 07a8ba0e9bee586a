"""The way of a node that is no SN to the ledger: follow its entries, propose its own, through any SN that answers.

Used by learning nodes, operators and client commands. Every entry is verified and applied here by the classes that the
SNs use, so an SN can withhold or delay, and nothing else. Guarantees: entries reach ``on_applied`` once and in order;
a proposal's bytes are signed once and retried as they are, so it takes effect at most once, whichever SN took it. Where
SNs were and what the ledger said is kept in the state directory: a node that starts again finds its network without the
one that it is told, and reads only what is new. Who has read what a forced recovery gave up ends (`nodes/givenup`), and
so does whom most SNs turn away once it has begun, as one too many or too old, or do not let join.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from swarm.core.events import Applied, NodeGone, NodeKnown, Outcome
from swarm.core.ledger import Ledger
from swarm.errors import Crowded, GivenUp, IdentityError, Outdated, SwarmError, Unreachable
from swarm.nodes.acquainting import acquaint, acquaint_all
from swarm.nodes.firstcontact import FirstContact
from swarm.nodes.givenup import Shown, ahead
from swarm.nodes.hearsay import NotAdmitted, TurnedAway, asked, borne_out, head_of
from swarm.runtime.change import either
from swarm.runtime.control import Control, Link, Prompt
from swarm.runtime.inturn import InTurn
from swarm.runtime.ledgercopy import LedgerCopy
from swarm.runtime.replica import Replica
from swarm.runtime.started import TaskStatus
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local, address_text
from swarm.wire.signed import Entry, sign_proposal

CALL_S = 10.0
LONGER = 4
"""Where many turn to one busy network node at once, those who give up early only make it busier."""
CATCH_UP_S = 60.0
BEHIND_S = 10.0
"""An SN that has sent nothing for so long of what was acknowledged may not have it, as with a full disk."""
CONFIRM_S = 6.0
BACKOFF_S = (0.1, 0.25, 0.5, 1.0, 2.0)
TAKING_S = 2.0
"""After so long an SN that has sent entries is told how far they were taken."""
BREATH = 16
FLAGS = "--sn-ip its --host-ip and --sn-api-port its API port"

Address = tuple[str, int]
log = logging.getLogger("swarm.SL")


def parse_address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


class LedgerLink:
    """One node's standing connection to the ledger, over whichever SN answers."""

    def __init__(
        self,
        local: Local,
        entrances: Sequence[Address],
        *,
        on_applied: Callable[[Entry, Applied], None] = lambda entry, applied: None,
        on_link: Callable[[str], None] = lambda reason: None,
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.local = local
        self.copy = LedgerCopy(local.state)
        self.replica = self.copy.read() or Replica(local.state.network_id)
        self.replica.on_applied = self._on_entry
        acquaint_all(local, self.replica.ledger)
        self._on_applied = on_applied
        self.lost = "no SN has answered yet"
        """Why there is no SN at hand; empty while there is one."""
        self._entrances = list(entrances)
        self._remembered = [parse_address(text) for text in self.copy.network_nodes()]
        self._turned_away = TurnedAway()
        self._shown = Shown(self.copy, local.credentials.identity.anchor)
        self._on_link = on_link
        self._report = report
        self._link: Link | None = None
        self._feeder: Link | None = None
        self._pieces = InTurn()
        self._left: Address | None = None
        """The network node that was linked last: any other one comes before it."""
        self._unfit = ""
        """Why the entries of the network node at hand do not go on where the own ones end."""
        self._outdated: Outdated | None = None
        """From here on this release does not know what the entries mean."""
        self._unconfirmed = False  # the ledger was there last without a majority
        self._begun = False  # with whatever the ledger said then
        self._behind = 0  # how often a network node was, before that
        self._shorter = False  # the ledger at hand ended, when it was linked, before where the own one does
        self._linked = trio.Event()
        self._applied = trio.Event()
        self._seq = 0

    @property
    def ledger(self) -> Ledger:
        return self.replica.ledger

    @property
    def state(self) -> StateDirectory:
        return self.local.state

    def handlers(self) -> dict[str, Callable[[Link, dict[str, Any]], Awaitable[dict[str, Any] | None]]]:
        """The verbs that an SN calls on its followers."""
        return {"entries": self._entries}

    def prompt(self) -> dict[str, Prompt]:
        return {"entries": lambda link, request: link is self._feeder and self._pieces.comes(request)}

    async def run(self, control: Control, *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        """Stay linked until GivenUp is raised. ``started`` when the first SN's ledger has been read to its head."""
        failures, contact = 0, FirstContact(log, FLAGS)
        while True:
            address = self._next(failures)
            pause_s = BACKOFF_S[min(failures // max(1, len(self._entrances)), len(BACKOFF_S) - 1)]
            try:
                link, head = await self._follow(control, address, failures)
                if not self._begun:
                    await self._begin(link, head)
                    task_status.started()
            except SwarmError as error:
                # Whoever answers at an address ends nothing that goes on, and only most of those of the ledger do.
                told = not self._begun and address in self._entrances and not isinstance(error, Unreachable)
                over = self._begun and self._turned_away.heard(error, self.ledger)
                if told or over or isinstance(error, GivenUp):
                    raise
                if not self._begun:
                    contact.failed(address, error, pause_s)
                self._set_lost(error.message)
                await trio.sleep(pause_s)
                failures += 1
                continue
            failures = 0
            self._turned_away.let_in()
            await link.closed.wait()
            self._check_outdated()
            self._left = address
            who = f"{link.peer.identity.name} ({link.peer.identity.organisation})"
            self._set_lost(f"{who}: {self._unfit or link.reason}")

    async def propose(self, kind: str, body: dict[str, Any], *, joining: bool = False) -> Outcome:
        """Have an entry made of this, however long the ledger pauses; its outcome, accepted or refused. Waits without
        a deadline of its own: who calls it says whom it waits for (``lost``) and for how long."""
        self._seq = seq = self._seq + 1
        raw = sign_proposal(
            self.state.node_key,
            network_id=self.state.network_id,
            uid=self.state.uid,
            incarnation=self.state.incarnation,
            seq=seq,
            kind=kind,
            body=body,
            certificate_key=self.local.credentials.private_key if joining else None,
        )
        attempt, not_admitted = 0, NotAdmitted(log)
        while True:
            await self._linked.wait()
            if (link := self._link) is None:
                continue
            try:
                if self._shorter:  # it might go on in another way, since a forced recovery: nothing is proposed there
                    await link.close()
                    raise ahead(self.replica.head_index)
                outcome = await asked(link, "propose", {"proposal": raw}, CALL_S, Outcome.from_wire)
                await self._reach(outcome.index)
                outcome = borne_out(self.ledger, self.state, seq, outcome)
            except Unreachable as error:
                # It went, or its ledger pauses, or is crowded for long: the same bytes again, through whoever answers.
                if joining:
                    not_admitted.heard(error, link, self.ledger)
                self._report(f"{kind} not yet acknowledged: {error.message}")
                if not link.closed.is_set() and not (isinstance(error, Crowded) and attempt < 3 * len(BACKOFF_S)):
                    self._set_pausing(error.message)
                    if len(self._known()) > 1:
                        await link.close()  # another one may see a majority
                await trio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1
                continue
            self._set_found()
            return outcome

    async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> Any:
        """One call on the SN at hand."""
        with trio.move_on_after(deadline_s):
            await self._linked.wait()
        if self._link is None:
            raise Unreachable(f"no SN answered within {deadline_s:g} s: {self.lost}")
        return await self._link.call(verb, body, deadline_s=deadline_s)

    def tell(self, verb: str, body: dict[str, Any]) -> None:
        """A notice to the SN at hand, if there is one."""
        if self._link is not None:
            self._link.tell(verb, body)

    def reread(self) -> None:
        """Before it runs: have the whole ledger read, from its first entry on, whatever is kept of it here."""
        self._forget()

    async def catch_up(self, deadline_s: float) -> None:
        """Apply all that was acknowledged so far; while nobody can say how much that is, what the SN at hand has."""
        try:
            status = await self.call("status", {"only": "head", "confirmed": True}, deadline_s=deadline_s)
        except Unreachable:
            status = await self.call("status", {"only": "head"}, deadline_s=deadline_s)
        await self._reach(head_of(status)[0])

    async def confirm(self) -> bool:
        """Whether the SN at hand sees a majority. If not, the ledger is lost until one does."""
        if (link := self._link) is None:
            return False
        try:
            await asked(link, "status", {"only": "head", "confirmed": True}, CONFIRM_S, head_of)
        except Unreachable as error:
            self._unconfirmed = True
            if not link.closed.is_set():
                self._set_pausing(error.message)
                if len(self._known()) > 1:
                    await link.close()
            return False
        self._set_found()
        return True

    def _on_entry(self, entry: Entry, applied: Applied) -> None:
        acquaint(self.local, self.ledger, applied)
        self._shown.removals.applied(entry, self.ledger, applied)
        if not self.lost and any(isinstance(event, NodeKnown | NodeGone) for event in applied.events):
            self._remember()
        self._on_applied(entry, applied)

    # ---- linking

    def _next(self, failures: int) -> Address:
        known = sorted(self._known(), key=lambda address: address == self._left)
        return known[failures % len(known)]

    def _known(self) -> list[Address]:
        """SNs of the own organisation first, then those of others, then what the command line named; and before the
        ledger is read, where they were when this node ran last."""
        first = [] if self._begun else [*self._entrances, *self._remembered]
        return list(dict.fromkeys([*first, *self._in_ledger(), *self._entrances]))

    def _in_ledger(self) -> list[Address]:
        own = self.local.credentials.identity.anchor
        nodes = [node for node in map(self.ledger.nodes.__getitem__, dict(self.ledger.sns())) if node.addresses]
        nodes.sort(key=lambda node: node.identity.anchor != own)
        return [parse_address(node.addresses[0]) for node in nodes]

    def _remember(self) -> None:
        known = self._in_ledger()
        if known != self._remembered:
            self._remembered = known
            self.copy.keep_network_nodes([address_text(*each) for each in known])

    async def _follow(self, control: Control, address: Address, failures: int) -> tuple[Link, int]:
        deadline_s = CALL_S * min(1 + failures // len(self._known()), LONGER)
        link = await control.connect(address[0], address[1], deadline_s=deadline_s)
        self._feeder, self._pieces, self._unfit = link, InTurn(), ""  # its entries may come before its answer
        try:
            if link.peer.identity.role != "sn":
                raise IdentityError(f"{link.peer.identity} answers at {address[0]}:{address[1]} and is no network node")
            place = {"after": self.replica.head_index, "hash": self.ledger.head_hash, "epoch": self.ledger.epoch}
            reply = await asked(link, "follow", {**place, "ahead": True}, deadline_s, dict)
            head, goes_on = head_of(reply)
            if self._begun:
                self._shown.must_go_on(reply, self.ledger, str(link.peer))
            if not goes_on:
                raise self._disagree()
        except BaseException:
            await link.close()
            raise
        self._link, self._shorter = link, head < self.replica.head_index
        self._linked.set()
        if not self._unconfirmed:
            self._set_found()
        return link, head

    async def _begin(self, link: Link, head: int) -> None:
        """Read the ledger up to where it ends there, and where it ended here before. Raises Unreachable if that cannot
        be with this link, or it is of an epoch that was given up."""
        try:
            if head < self.copy.index:
                raise self._ends_before(head)
            await self._reach(head, link)
            if (earlier := self._shown.earlier(self.ledger)) is not None:
                self._forget()
                raise earlier
        except BaseException:
            await link.close()
            raise
        self._remember()
        self._begun = True

    def _ends_before(self, head: int) -> Unreachable:
        """That network node is behind, or what is kept here was given up by a forced recovery."""
        kept, self._behind = self.copy.index, self._behind + 1
        if self._behind > 2 * len(self._known()):
            self._forget()
        return Unreachable(f"its ledger ends with entry {head}, and this node has seen entry {kept}")

    def _disagree(self) -> Unreachable:
        """What is kept here is of what a forced recovery gave up, or that network node's ledger is."""
        head = self.replica.head_index
        self._forget()
        return Unreachable(f"its ledger is another one than what this node has up to entry {head}")

    def _forget(self) -> None:
        """Have the ledger read from its first entry: now, or once this process has gone on long enough with its own."""
        self.copy.forget()
        if not self._begun:
            self.replica = Replica(self.state.network_id, on_applied=self._on_entry)

    def _set_lost(self, reason: str) -> None:
        self._link = None
        if self._linked.is_set():
            self._linked = trio.Event()
        self._set_pausing(reason)

    def _set_pausing(self, reason: str) -> None:
        self.lost = reason
        self._on_link(reason)

    def _set_found(self) -> None:
        self._unconfirmed = False
        if self.lost:
            self.lost = ""
            self._on_link("")

    async def _entries(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        if link is self._feeder:
            pieces = self._pieces
            try:
                await self._apply(link, body)
            finally:
                pieces.ended()
        return {"head": self.replica.head_index}

    async def _apply(self, link: Link, body: dict[str, Any]) -> None:
        head = self.replica.head_index
        if body.get("after", head) != head:
            return  # the piece before it was more than there was time for: it comes again
        try:
            await self._take(link, body["entries"])
            self._shorter = False
        except SwarmError as error:
            if isinstance(error, Outdated):
                self._outdated = error
            else:
                self._unfit = error.message
                self._forget()
            self._wake()
            await link.close()
            raise
        self._wake()
        with contextlib.suppress(SwarmError):  # no room for it
            self.copy.keep(self.replica)

    async def _take(self, link: Link, raws: Sequence[bytes]) -> None:
        """As many as there is time for, heartbeats going on: a busy host reads thousands of entries for minutes."""
        until_s = trio.current_time() + TAKING_S
        for count, raw in enumerate(raws, 1):
            self.replica.take(raw)
            if count % BREATH == 0:
                await trio.lowlevel.checkpoint()
                if link is not self._feeder or trio.current_time() > until_s:
                    return

    def _wake(self) -> None:
        self._applied.set()
        self._applied = trio.Event()

    def _check_outdated(self) -> None:
        if self._outdated is not None:
            raise Outdated(self._outdated.message, hint=self._outdated.hint)

    async def _reach(self, index: int, link: Link | None = None) -> None:
        """Wait until this node's own replica has applied the entry: as long as it takes, while entries come, from this
        link, if it is one that has to, and else from another SN where the one at hand does not have it."""
        silent_s = 0.0
        while self.replica.head_index < index:
            self._check_outdated()
            if link is not None and link.closed.is_set():
                raise Unreachable(self._unfit or link.reason)
            at_hand = self._link
            with trio.move_on_after(BEHIND_S) as silence:
                await (self._applied.wait() if link is None else either(self._applied, link.closed))
            silent_s = silent_s + BEHIND_S if silence.cancelled_caught else 0.0
            if silent_s >= CATCH_UP_S:
                raise Unreachable(
                    f"of the ledger's entries up to {index} none came for {CATCH_UP_S:g} s: "
                    f"this node is at {self.replica.head_index}"
                )
            if silent_s and link is None and at_hand is not None and at_hand is self._link and len(self._known()) > 1:
                await at_hand.close()  # once, however many wait: the next one has to have its time
