"""What network nodes tell each other of themselves: signed heads, forced recoveries, the time.

Run by ``nodes/sn`` over every link between two network nodes: at once, before any word about the order of entries is
taken from it, and then every few seconds. What it finds out, and what follows:

    two heads of one epoch and index that differ     two histories: kept in STATE/evidence, said in every status; it
                                                     ends nobody, since each is the word of one
    an own head that the own ledger does not bear    this directory is an old copy: its vote must not be used again
    out
    a forced recovery that nobody here knew of       its epoch is followed, and shown to others; who voted before it
                                                     has decided in vain since, and comes back as a learner
    a clock far from the voters'                     said in every status; the node does not stand for election
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import msgpack
import trio

from swarm.core.ledger import Ledger
from swarm.core.ordering import epoch_of
from swarm.errors import BadInput, SwarmError
from swarm.nodes.clocks import Clocks
from swarm.nodes.sn_recovery import Judge, Recovery, judged
from swarm.nodes.sn_removal import Removal
from swarm.nodes.sn_return import ComeBack
from swarm.nodes.sn_twins import Twins
from swarm.runtime.clock import Clock
from swarm.runtime.control import Link
from swarm.runtime.driver import Driver
from swarm.runtime.founding import node_name
from swarm.runtime.tls import Local
from swarm.wire.heads import Evidence, Head, contradiction, read_evidence, read_head, sign_head
from swarm.wire.order import log_entry
from swarm.wire.signed import decode_entry

EVERY_S = 3.0
ANSWER_S = 5.0
COMMON_S = 10.0
FILE = "heads"
RECOVERY = "recovery"
EVIDENCE = "evidence"

log = logging.getLogger("swarm.SN")


class Heads:
    """``end`` is called with a ComeBack when this node may not go on as it is."""

    def __init__(
        self, local: Local, clock: Clock, driver: Driver, removal: Removal, end: Callable[[SwarmError], None]
    ) -> None:
        self._state, self._clock, self._driver, self._end = local.state, clock, driver, end
        self._signed, self._twins, self._removal = local.acquaintances.signed, Twins(local), removal
        self._met: WeakSet[Link] = WeakSet()
        self.evidence: list[Evidence] = []
        self._clocks = Clocks()
        self._theirs: dict[str, Head] = {}
        self._unchecked: dict[str, Head] = {}
        self._kept: list[bytes] = []
        self._unsaved: dict[str, bytes] = {}
        """What the disk has not taken yet, by the name of its file: a full one ends no network node."""
        self._recovery = b""
        """The entry of the last forced recovery, applied here or proven."""
        self._proven = 0
        """The epoch that it begins."""
        self._deciding: tuple[str, ...] = ()
        """Who decides in it."""
        self.judge = Judge(lambda: driver.ledger, self._follow)

    def read(self) -> None:
        """What the directory has kept. Raises SwarmError when it cannot be read."""
        network_id = self._state.network_id
        with contextlib.suppress(OSError, ValueError, SwarmError):  # it is a help, and was written without a sync
            for raw in msgpack.unpackb((self._state.path / FILE).read_bytes()):
                self._remember(read_head(raw, network_id))
        if (path := self._state.path / RECOVERY).exists():
            with contextlib.suppress(SwarmError):  # others have it, too
                self._note_recovery(path.read_bytes())
        for path in sorted((self._state.path / EVIDENCE).glob("*")):
            if path.suffix != ".part":  # which a crash has left
                self.evidence.append(read_evidence(path.read_bytes(), network_id))

    def hears(self, link: Link) -> bool:
        """Whether this node takes words about the order of entries over this link.

        Heads were exchanged (before, its vote or this node's could be one that must not be used), and the other side is
        an SN of this network as far as this node can know: a stranger is heard only by who has no ledger yet, or has
        seen an SN's signed word that it is behind, so that others may have come meanwhile.
        """
        ledger, uid = self._driver.ledger, link.peer.uid
        known = ledger.nodes.get(uid)
        ours = known is not None and known.identity.role == "sn" and not known.gone
        ours = ours or uid in (*self._driver.partners, *self._to_come)
        return link in self._met and (ours or not ledger.head_index or self._behind())

    def _behind(self) -> bool:
        ledger = self._driver.ledger
        own = (ledger.epoch, ledger.head_index)
        return any((head.epoch, head.index) > own for head in self._theirs.values() if self._counts(head))

    def _counts(self, head: Head) -> bool:
        """Else it is nobody's word: it may not join, or not have joined yet."""
        return head.uid in self._driver.ledger.nodes or head.uid in self._to_come

    @property
    def _to_come(self) -> tuple[str, ...]:
        """Who decides since a recovery that this node has been shown, and whom its ledger may not have yet."""
        return self._deciding if self._proven > self._driver.ledger.epoch else ()

    def notes(self) -> list[str]:
        """What a status must say of them, a sentence each."""
        notes = [f"this network has two histories: {_named(each, self._driver.ledger)}" for each in self.evidence]
        if off_ms := self._off_ms():
            side = "ahead of" if off_ms > 0 else "behind"
            minutes = abs(off_ms) / 60_000
            notes.append(f"the clock of this node is {minutes:.0f} min {side} that of the voters: it will not lead")
        return notes

    def _off_ms(self) -> int:
        return self._clocks.off_ms(self._state.uid, self._driver.voters)

    # ---- the exchange

    async def keep_exchanging(self, link: Link) -> None:
        """Over a link that this node has made; the other side answers. Ends with the link."""
        while not link.closed.is_set():
            try:
                body = await link.call("heads", self._told(link), deadline_s=ANSWER_S)
                await self._take(link, body)
                self._twins.take(link, body)
                self._removal.take(link, body)
            except SwarmError as error:
                log.warning("heads of %s: %s", link.peer, error.message)
            await trio.sleep(EVERY_S)

    async def answer(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        """The same of this node; or, asked ``at`` an index, only the hash of the entry there."""
        if type(index := body.get("at")) is int:
            entry = self._driver.entry_at(index)
            return {"hash": entry.hash if entry else b""}
        self._twins.take(link, body)
        reply = self._told(link)  # what was known before the question: it may bring the same head back
        await self._take(link, body)
        self._removal.take(link, body)
        return reply

    def _told(self, link: Link) -> dict[str, Any]:
        ledger, theirs = self._driver.ledger, self._theirs.get(link.peer.uid)
        return {
            "mine": self._sign(ledger.epoch, ledger.head_index, ledger.head_hash) if ledger.head_index else b"",
            "yours": theirs.raw if theirs else b"",
            "recovery": self._recovery,
            "wall_ms": self._clock.wall_ms(),
            **self._twins.told(link),
            **self._removal.told(link),
        }

    async def _take(self, link: Link, body: Any) -> None:
        match body:
            case {"mine": bytes(mine), "yours": bytes(yours), "recovery": bytes(recovery), "wall_ms": int(wall_ms)}:
                pass
            case _:
                raise BadInput(f"{link.peer} does not say how far its ledger goes")
        self._clocks.told(link.peer.uid, wall_ms, self._clock.wall_ms())
        self._driver.judge_clock(not self._off_ms())
        if yours:
            self._check_own(read_head(yours, self._state.network_id), link)
        if recovery:
            await self._check_recovery(recovery, link)
        if mine:
            head = read_head(mine, self._state.network_id)
            if head.uid != link.peer.uid:
                raise BadInput(f"{link.peer} shows the head of {head.uid} for its own")
            self._note(head)
        self._met.add(link)

    def take_word(self, link: Link, raw: Any) -> None:
        """That of a lone voter for entries that it sends: should it come back without them, it is shown this."""
        head = read_head(raw, self._state.network_id)
        if head.uid == link.peer.uid and self._counts(head):
            self._hold_against(head)
            self._remember(head)

    # ---- what follows

    def applied(self) -> None:
        """The ledger has gone on: heads that were beyond it may be judged now."""
        for uid, head in list(self._unchecked.items()):
            if head.index <= self._driver.ledger.head_index:
                del self._unchecked[uid]
                self._compare(head)

    def recovered(self, raw: bytes) -> None:
        """A forced recovery has been applied, or proven: who missed it is shown this entry."""
        if self._note_recovery(raw):
            self._save(RECOVERY, raw)

    def _note_recovery(self, raw: bytes) -> bool:
        entry = decode_entry(raw)
        epoch = epoch_of(entry.term)
        if epoch < self._proven:  # applied while this node catches up with a later one
            return False
        self._recovery, self._proven, self._deciding = raw, epoch, log_entry(entry).voters or ()
        self._driver.prove_epoch(epoch)
        self._driver.snapshots.begin_epoch(epoch, self._deciding)
        return True

    def _look_back(self) -> None:
        """Who began with a snapshot behind the last recovery finds that in its log, or in its archive in time."""
        ledger = self._driver.ledger
        if ledger.epoch > self._proven:
            with contextlib.suppress(SwarmError, OSError):
                raw = next(iter(self._driver.entries_after(ledger.voting.lost_after, 1)), b"")
                if epoch_of(decode_entry(raw).term) == ledger.epoch:
                    self.recovered(raw)

    def keep(self) -> None:
        """What others said last, for the time after a restart; what could not be written before, or was not known."""
        self._look_back()
        heads = [head.raw for _, head in sorted(self._theirs.items())]
        if heads != self._kept:
            self._kept = heads
            self._unsaved[FILE] = msgpack.packb(heads)
        self._write_unsaved()

    def _save(self, name: str, data: bytes) -> None:
        self._unsaved[name] = data
        self._write_unsaved()

    def _write_unsaved(self) -> None:
        for name, data in list(self._unsaved.items()):
            try:
                (self._state.path / name).parent.mkdir(mode=0o700, exist_ok=True)
                self._state.write_atomic(name, data, fsync=name != FILE)
            except (SwarmError, OSError) as error:
                log.debug("%s waits to be written: %s", name, error)
            else:
                del self._unsaved[name]

    def _note(self, head: Head) -> None:
        if not self._counts(head):
            return
        self._hold_against(head)
        self._remember(head)
        if head.index <= self._driver.ledger.head_index:
            self._compare(head)
        else:
            earliest = self._unchecked.get(head.uid, head)  # the one that this node will get to first
            self._unchecked[head.uid] = min(earliest, head, key=lambda each: each.index)

    def _hold_against(self, head: Head) -> None:
        """What its signer said before."""
        before = self._theirs.get(head.uid)
        if before is not None and (found := contradiction(before, head)) is not None:
            self._keep_evidence(found)

    def _remember(self, head: Head) -> None:
        before = self._theirs.get(head.uid)
        if before is None or (head.epoch, head.index) >= (before.epoch, before.index):
            self._theirs[head.uid] = head
            self._signed[head.node_key] = head.raw

    def _compare(self, head: Head) -> None:
        entry = self._driver.entry_at(head.index)
        if entry is not None and entry.hash != head.hash:
            own = read_head(self._sign(epoch_of(entry.term), entry.index, entry.hash), head.network_id)
            if (found := contradiction(own, head)) is not None:
                self._keep_evidence(found)

    def _keep_evidence(self, found: Evidence) -> None:
        if found.signers in [each.signers for each in self.evidence]:  # one proves it; a liar could go on for ever
            return
        self.evidence.append(found)
        self._save(f"{EVIDENCE}/{found.name}", found.raw())
        log.error(
            "THIS NETWORK HAS TWO HISTORIES: %s. The proof is kept in %s: stop training and ask both organisations",
            _named(found, self._driver.ledger),
            self._state.path / EVIDENCE / found.name,
        )

    def shows_another(self, proof: bytes) -> bool:
        """Whether this is what this node's key has signed and this process has not: another one has its directory."""
        if self._twins.speak_against_this(proof):
            return True
        try:
            head = read_head(proof, self._state.network_id)
        except SwarmError:
            return False
        return head.uid == self._state.uid and bool(self._not_borne_out(head))

    def _not_borne_out(self, head: Head) -> str:
        """What the ledger here has in place of the entry that this node's key has signed; empty: that entry."""
        entry = self._driver.entry_at(head.index, committed=False)  # after a kill more was than this node knows of
        if head.index > self._driver.last_index:
            return f"ends at entry {self._driver.last_index}"
        other = entry is not None and entry.hash != head.hash and epoch_of(entry.term) == head.epoch
        return "has another entry there" if other else ""

    def _check_own(self, head: Head, link: Link) -> None:
        if head.uid != self._state.uid:
            raise BadInput(f"{link.peer} brings a head of {head.uid} for this node's")
        if here := self._not_borne_out(head):
            self._end(
                ComeBack(
                    f"this state directory is an old copy: {link.peer} holds this node's own word for entry "
                    f"{head.index}, and the ledger here {here}"
                )
            )

    async def _check_recovery(self, raw: bytes, link: Link) -> None:
        """An epoch that this node has missed. Who has no ledger yet cannot judge it, and believes whom it joins."""
        ledger, entry = self._driver.ledger, decode_entry(raw)
        if epoch_of(entry.term) <= max(ledger.epoch, self._proven) or not ledger.head_index:
            return
        try:
            recovery = judged(raw, ledger, str(link.peer))
        except SwarmError:
            if entry.index > ledger.head_index + 1:  # what allows it may stand in entries that are not here yet
                self.judge.take(link, raw)
            raise
        await self._follow(recovery, link)

    async def _follow(self, recovery: Recovery, link: Link) -> None:
        """Believe the words of its epoch; or, who voted and does not in it, or has what it gave up: go on no more."""
        ledger, own = self._driver.ledger, self._state.uid
        if recovery.epoch <= ledger.epoch:  # the own ledger has taken it while others' was read, and goes on from it
            return
        voters = (*ledger.voters, *self._driver.voters)  # these by its log, whose end it may not know to be decided
        given_up = ledger.head_index >= recovery.index  # what is decided there, for this node, is another entry
        if given_up or (own in voters and recovery.uid != own):
            who = node_name(ledger, recovery.uid)
            self._end(
                ComeBack(
                    f"the ledger was recovered by force while this node was away: {who} decides since entry "
                    f"{recovery.index}, by the word of {recovery.author}",
                    common=await self._last_common(link, recovery.index - 1),
                )
            )
        elif recovery.epoch > self._proven:
            log.warning("epoch %d of the ledger has begun, by the word of %s", recovery.epoch, recovery.author)
            self.recovered(recovery.raw)

    async def _last_common(self, link: Link, upto: int) -> int:
        """The last entry up to this one that both ledgers have; the chain of hashes makes a search by halves of it. As
        far as the other side tells it: who has to end does so whether it is told or not."""
        low, high = 0, min(upto, self._driver.last_index)
        with trio.move_on_after(COMMON_S) as scope:
            while low < high:
                middle = (low + high + 1) // 2
                entry = self._driver.entry_at(middle, committed=False)
                try:
                    reply = await link.call("heads", {"at": middle}, deadline_s=ANSWER_S)
                except SwarmError as error:
                    log.warning("up to which entry %s has the same ledger is not known: %s", link.peer, error.message)
                    return high
                theirs = reply.get("hash") if isinstance(reply, dict) else None
                if entry is None or theirs in (entry.hash, b""):  # what is in a snapshot only was agreed upon
                    low = middle
                else:
                    high = middle - 1
        if scope.cancelled_caught:
            log.warning("up to which entry %s has the same ledger was not told within %g s", link.peer, COMMON_S)
        return high

    def _sign(self, epoch: int, index: int, digest: bytes) -> bytes:
        state = self._state
        return sign_head(state.node_key, network_id=state.network_id, epoch=epoch, index=index, hash=digest)


def _named(evidence: Evidence, ledger: Ledger) -> str:
    one, other = evidence.one, evidence.other
    return (
        f"entry {one.index} is {one.hash.hex()[:16]} by the word of {node_name(ledger, one.uid)}, "
        f"and {other.hash.hex()[:16]} by the word of {node_name(ledger, other.uid)}"
    )
