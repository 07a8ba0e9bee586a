"""The snapshots of a network node: kept, signed by the others, given away in pieces, fetched from another node.

Used by the driver; ``answer_cosign`` and ``answer_piece`` are the verbs `cosign` and `snapshot` of an SN's links.
Guarantees: old entries leave the log only when a majority of the voters has signed the state that stands for them; a
node signs only the state that it came to by itself; what ``fetch`` returns is whole and signed by a majority of the
voters that it names, and of those that the ledger here knows, if there is one (or by who decides since a recovery that
this node was shown); who has a ledger asks for their signatures first, so nobody by himself can make it read a state,
or end by one; the size is signed by nobody, and how long a fetch may take depends on what this node keeps itself, too:
with a large size one network node holds up another no longer; who comes to that state after a majority has signed it is
asked later, since who fetches it may know other voters; a node whose state is not the one that a majority has signed
after the same entry ends, unless the others run another version of swarm: another release may write the same state in
other words.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import trio

import swarm
from swarm.core.asking import Fetched, Install, Installed, Keep
from swarm.core.divergence import Divergence, same_entry
from swarm.core.ledger import Ledger
from swarm.core.ordering import FetchSnapshot, SnapshotFailed
from swarm.core.snapshot import Point, Snapshot, restored
from swarm.errors import BadInput, IdentityError, InternalError, Outdated, SwarmError, Unreachable
from swarm.runtime.backfill import Backfill
from swarm.runtime.founding import node_name
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.store import Store
from swarm.runtime.storejobs import KeepSnapshot, ReplaceLog, Signatures
from swarm.wire.cosigning import is_majority, sign_point, signers, signs_point, vouched

PIECE_BYTES = 256 * 1024
STATE_MAX = 512 * 1024 * 1024
KEPT_BEHIND = 1000
"""Entries that stay in the log before a snapshot: who lacks no more than these needs none."""
AGAIN_S = 2.0
LATER_S = 60.0
"""So often the network nodes are asked whose signature under the newest signed snapshot is missing."""
FETCH_S = 60.0
SLOWEST = 128 * 1024
"""Bytes a second: a snapshot that takes longer, and so long besides, does not come. Meanwhile no entry is taken."""
GROWTH = 4
LIKELY = 16 * 1024 * 1024
"""Nobody signs a size: what is more than so many times the one kept here, and so many bytes, has to come faster."""
SEEN = 4

Step = Callable[[Fetched | Installed | SnapshotFailed], None]
Call = Callable[[str, str, dict[str, Any]], Awaitable[Any]]
"""uid, verb, body: the reply of another network node; raises SwarmError, and Unreachable in time."""

log = logging.getLogger("swarm.SN")


class Snapshots:
    def __init__(self, store: Store, state: StateDirectory, call: Call, ledger: Callable[[], Ledger]) -> None:
        self._store = store
        self._state = state
        self._call = call
        self._ledger = ledger
        self._fetches, self._to_fetch = trio.open_memory_channel[str](1)
        self._signatures: dict[int, Signatures] = {}  # under the snapshot that is being installed
        self._seen: dict[int, Point] = {}
        """The newest snapshots that were made here."""
        self._newest: Snapshot | None = None
        self._signed: tuple[Snapshot, Signatures] | None = None
        """The newest that a majority has signed, without the state itself."""
        self._come = trio.Event()
        self._began = trio.Event()  # with a snapshot from elsewhere
        self._served: tuple[Snapshot, Signatures] | None = None
        self._divergence = Divergence()
        self._begun: tuple[int, tuple[str, ...]] = (0, ())
        if (stored := store.snapshot()) is not None:
            snapshot, signatures = stored
            if not signatures:
                self._note(snapshot)
            elif state.uid in signatures:
                self._seen[snapshot.index] = snapshot.point
            if signatures:
                self._signed = replace(snapshot, state=b""), signatures

    async def run(self, step: Step, in_loop: Callable[..., None]) -> None:
        """Until cancelled. ``step`` tells the orderer, ``in_loop`` has something called from the store's thread."""
        self._step = step
        self._in_loop = in_loop
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._gather)
            nursery.start_soon(self._fetch_all)
            nursery.start_soon(self._fill_archive)

    def perform(self, effect: Keep | FetchSnapshot | Install) -> None:
        match effect:
            case Keep():
                self._store.submit(KeepSnapshot(effect.snapshot))
                self._note(effect.snapshot)
            case FetchSnapshot():
                self._fetches.send_nowait(effect.sender)
            case Install():
                snapshot = effect.snapshot
                done = partial(self._in_loop, self._installed, snapshot)
                signatures = self._signatures.pop(snapshot.index)
                self._store.submit(ReplaceLog(snapshot, signatures, done))
                self._signed = replace(snapshot, state=b""), dict(signatures)

    # ---- made here

    def _note(self, snapshot: Snapshot) -> None:
        self._seen[snapshot.index] = snapshot.point
        for old in sorted(self._seen)[:-SEEN]:
            del self._seen[old]
        self._newest = snapshot
        self._come.set()

    async def _gather(self) -> None:
        """Have each snapshot signed; then let go of the entries that it stands for."""
        while True:
            with trio.move_on_after(LATER_S):
                await self._come.wait()
            if not self._come.is_set():
                await self._complete()
                continue
            self._come = trio.Event()
            signatures: Signatures = {}
            while (snapshot := self._newest) is not None:
                if set(signatures) - set(snapshot.voters):
                    signatures = {}
                await self._ask_all(snapshot, signatures, snapshot.voters)
                if snapshot is not self._newest:
                    signatures = {}
                elif is_majority(signatures, snapshot.voters):
                    self._newest, self._signed = None, (replace(snapshot, state=b""), signatures)
                    self._store.sign(snapshot.index, dict(signatures))
                    self._store.shed(snapshot.index - KEPT_BEHIND)
                    log.info("the ledger's state after entry %d is kept, signed by %d", snapshot.index, len(signatures))
                else:
                    await trio.sleep(AGAIN_S)

    async def _complete(self) -> None:
        """Add the signatures of network nodes that have come to that state since."""
        if self._signed is None or self._signed[0].index != self._store.snapshot_index:
            return
        snapshot, signatures = self._signed
        before = len(signatures)
        await self._ask_all(snapshot, signatures, tuple(self._others()))
        if len(signatures) == before or snapshot.index != self._store.snapshot_index:
            return
        self._store.sign(snapshot.index, dict(signatures))
        if self._served is not None and self._served[0].index == snapshot.index:
            self._served = self._served[0], dict(signatures)

    async def _ask_all(self, snapshot: Snapshot, signatures: Signatures, uids: tuple[str, ...]) -> None:
        network_id, point = self._state.network_id, snapshot.point
        if self._state.uid in uids:
            signatures[self._state.uid] = sign_point(self._state.node_key, network_id, point)
        for uid in uids:
            if uid in signatures:
                continue
            try:
                reply = await self._call(uid, "cosign", {"point": list(point), "version": swarm.__version__})
            except SwarmError as error:
                log.debug("no signature of %s under a snapshot: %s", self._name(uid), error.message)
                continue
            signature = reply.get("signature") if isinstance(reply, dict) else None
            if isinstance(signature, bytes) and signs_point(self._key(uid), signature, network_id, point):
                signatures[uid] = signature
                self._divergence.agrees(uid, snapshot.index)
            elif isinstance(reply, dict):
                self._compare(uid, point, reply)
        if elsewhere := self._divergence.outvoted(point, snapshot.voters):
            raise InternalError(
                f"the ledger's state after entry {snapshot.index} is {snapshot.digest} here, and a majority of the "
                f"voters has signed {elsewhere}: this node must not answer for the ledger any longer",
                hint="check its memory and disk, and start it with --rejoin and --sentinel-ip of another network node",
            )

    def _compare(self, uid: str, own: Point, reply: dict[str, Any]) -> None:
        """No signature: this node may not be there yet, or has come to another state, and signs that."""
        match reply:
            case {"differs": [int(index), int(term), bytes(hash_), str(digest)], "signed": bytes(signature)}:
                other = index, term, hash_, digest
            case _:
                return
        good = signs_point(self._key(uid), signature, self._state.network_id, other)
        self._note_difference(uid, own, other, signed=good and reply.get("version") == swarm.__version__)

    def _note_difference(self, uid: str, own: Point, other: Point, *, signed: bool) -> None:
        if self._divergence.differs(uid, own, other, signed=signed):
            log.error("%s", self._divergence.note(uid, self._name))

    def notes(self) -> list[str]:
        """What a status must say of the states that others have come to, a sentence each."""
        return self._divergence.notes(self._name)

    def _key(self, uid: str) -> bytes:
        node = self._ledger().nodes.get(uid)
        return node.node_key if node else b""

    def _name(self, uid: str) -> str:
        return node_name(self._ledger(), uid)

    # ---- for others

    def answer_cosign(self, uid: str, body: dict[str, Any]) -> dict[str, Any]:
        """The signature under a snapshot of this node, once this one has come to the same state; else none, or, when
        it has come to another state after that entry, the signature under its own."""
        match body.get("point"):
            case [int(index), int(term), bytes(hash_), str(digest)]:
                point = index, term, hash_, digest
            case _:
                raise BadInput("'cosign' says index, term, hash and digest of a snapshot")
        own = self._seen.get(index)
        if own is None or not same_entry(own, point):
            return {"signature": b""}  # not there yet; and two histories are found out by heads
        signature = sign_point(self._state.node_key, self._state.network_id, own)
        if own == point:
            self._divergence.agrees(uid, index)
            return {"signature": signature}
        self._note_difference(uid, own, point, signed=False)
        return {"signature": b"", "differs": list(own), "signed": signature, "version": swarm.__version__}

    def answer_piece(self, body: dict[str, Any]) -> dict[str, Any]:
        """A piece of the newest snapshot that a majority has signed, or of the one asked for; or entries that such a
        snapshot stands for."""
        if type(after := body.get("after")) is int and after >= 0:
            return {"entries": self._store.raws_after(after, self._ledger().head_index, PIECE_BYTES)}
        index, offset = body.get("index", 0), body.get("offset", 0)
        if type(index) is not int or type(offset) is not int or index < 0 or offset < 0:
            raise BadInput("'snapshot' says index and offset of a piece")
        index = index or self._store.snapshot_index
        if self._served is None or self._served[0].index != index or not self._served[1]:
            self._served = self._store.snapshot(index) if index else None
        if self._served is None or not self._served[1]:
            raise BadInput(f"this network node has no signed snapshot at entry {index}")
        snapshot, signatures = self._served
        return {
            "index": snapshot.index,
            "term": snapshot.term,
            "hash": snapshot.hash,
            "voters": list(snapshot.voters),
            "digest": snapshot.digest,
            "size": len(snapshot.state),
            "signatures": signatures,
            "piece": snapshot.state[offset : offset + PIECE_BYTES],
        }

    # ---- from another

    async def _fetch_all(self) -> None:
        async for uid in self._to_fetch:
            try:
                snapshot, signatures = await self.fetch(uid)
            except Outdated:
                raise
            except SwarmError as error:
                hint = f" ({error.hint})" if error.hint else ""
                log.warning("no snapshot from %s: %s%s", self._name(uid), error.message, hint)
                await trio.sleep(AGAIN_S)
                self._step(SnapshotFailed())
            else:
                self._signatures = {snapshot.index: signatures}
                self._step(Fetched(snapshot))

    def _installed(self, snapshot: Snapshot) -> None:
        self._store.adopt(snapshot)
        self._began.set()
        log.info("the ledger begins here with the state after entry %d", snapshot.index)
        self._step(Installed(snapshot))

    async def _fill_archive(self) -> None:
        """This node may have begun with a snapshot, or be about to."""
        backfill = Backfill(self._store.archive, self._ask_entries, self._others)
        while True:
            base = self._store.first_index - 1
            await backfill.fill(self._state.network_id, base, self._store.hash_at(base))
            await self._began.wait()
            self._began = trio.Event()

    async def _ask_entries(self, uid: str, after: int) -> Any:
        return await self._call(uid, "snapshot", {"after": after})

    def _others(self) -> list[str]:
        return [uid for uid, _ in self._ledger().sns() if uid != self._state.uid]

    def begin_epoch(self, epoch: int, voters: tuple[str, ...]) -> None:
        """A signed recovery has been judged: they decide in this epoch, whatever the ledger here knows by now."""
        self._begun = epoch, voters

    async def fetch(self, uid: str) -> tuple[Snapshot, Signatures]:
        """The newest snapshot there. Raises SwarmError when it does not come, or is not what it must be: Outdated
        only if those have signed it who must have, or where there is no ledger yet, as told."""
        first = await self._ask_piece(uid, {})
        own = self._ledger()
        if first.index <= own.head_index:
            raise BadInput(f"the snapshot of {self._name(uid)} holds nothing behind entry {own.head_index}")
        unheard = set(self._deciding(own)) - set(own.nodes)  # their keys are in the state itself
        if not unheard:
            self._must_be_vouched(own, uid, first)
        snapshot = await self._fetch_state(uid, first)
        try:
            ledger = restored(snapshot)
        except Outdated as error:
            if not unheard:
                raise
            raise Unreachable(f"the snapshot of {self._name(uid)}: {error.message}", hint=error.hint) from error
        if self._state.network_id and ledger.network_id != self._state.network_id:
            raise IdentityError(f"the snapshot of {self._name(uid)} is of another network")
        if not is_majority(signers(ledger, snapshot.point, first.signatures), snapshot.voters):
            raise IdentityError(f"the snapshot of {self._name(uid)} is not signed by a majority of its voters")
        self._must_be_vouched(ledger, uid, first)
        return snapshot, first.signatures

    async def _ask_piece(self, uid: str, body: dict[str, Any]) -> Piece:
        """Whatever goes wrong at the other node, or it says so, ends nothing here."""
        try:
            reply = await self._call(uid, "snapshot", body)
        except SwarmError as error:
            raise Unreachable(f"{self._name(uid)} does not give it: {error.message}", hint=error.hint) from error
        return Piece(reply)

    async def _fetch_state(self, uid: str, first: Piece) -> Snapshot:
        parts, size = [first.piece], len(first.piece)
        deadline_s = FETCH_S + min(first.size, self._likely()) / SLOWEST
        with trio.move_on_after(deadline_s):
            while size < first.size:
                piece = await self._ask_piece(uid, {"index": first.index, "offset": size})
                whole = min(PIECE_BYTES, first.size - size)  # of small ones there could be millions
                if piece.digest != first.digest or len(piece.piece) != whole:
                    raise BadInput(f"the snapshot of {self._name(uid)} changed while it was fetched")
                parts.append(piece.piece)
                size += whole
        if size < first.size:
            raise Unreachable(
                f"{self._name(uid)} has given {size} bytes of {first.size} within {deadline_s:.0f} s: that is too slow"
            )
        return Snapshot(first.index, first.term, first.hash, first.voters, b"".join(parts), first.digest)

    def _likely(self) -> int:
        """Who has no ledger yet does nothing else than wait, and knows nothing."""
        if not self._ledger().head_index:
            return STATE_MAX
        kept = self._store.snapshot()
        return LIKELY + GROWTH * (len(kept[0].state) if kept else 0)

    def _deciding(self, own: Ledger) -> tuple[str, ...]:
        """Who decides since a recovery that the own ledger does not have yet; nobody: its voters do."""
        epoch, begun = self._begun
        return begun if epoch > own.epoch else ()

    def _must_be_vouched(self, keys: Ledger, uid: str, first: Piece) -> None:
        own = self._ledger()
        if own.head_index and not vouched(own, keys, self._deciding(own), first.point, first.signatures):
            raise IdentityError(
                f"the snapshot of {self._name(uid)} is not signed by most of the voters that the ledger here knows",
                hint="if most of them were replaced while this node was away, start it with --rejoin",
            )


class Piece:
    """What another node sent, checked field by field."""

    def __init__(self, reply: Any) -> None:
        match reply:
            case {
                "index": int(index), "term": int(term), "hash": bytes(hash_), "voters": list(voters),
                "digest": str(digest), "size": int(size), "signatures": dict(signatures), "piece": bytes(piece),
            } if index > 0 and term >= 0 and len(piece) <= PIECE_BYTES and size <= STATE_MAX:  # fmt: skip
                self.index, self.term, self.hash, self.digest, self.size = index, term, hash_, digest, size
                self.voters = tuple(str(uid) for uid in voters)
                self.signatures = {str(uid): bytes(each) for uid, each in signatures.items() if isinstance(each, bytes)}
                self.piece = piece
            case _:
                raise BadInput("a piece of a snapshot that cannot be read")

    @property
    def point(self) -> Point:
        return self.index, self.term, self.hash, self.digest
