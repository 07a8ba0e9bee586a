"""The exchange: one attempt of one round on one member, from the snap to the digest of the result.

Started by ``nodes/learning``; does in threads of its own what `core/exchanging` decides, callbacks from any of them.
Guarantees: the result is the merge of the snap's members with the snap's weights, in uid order, the same bits on every
member; a shard is used only with its owner's signature under its digest, whoever passed it on; what came of the
contributions is there for the next attempt; nothing is called back after `cancel`.

    scatter   pull my shards of every contribution    ┐
    merge     chunk k while chunk k+1 arrives         ├ overlap, chunk by chunk
    gather    pull the others' shards as they grow    ┘
    broadcast (small models) is the same with the whole model as everybody's shard, and no gather

Methods that judge whole contributions measure where others merge, then pull what all have measured, and merge then.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from time import monotonic

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core import exchanging_steps as x
from swarm.core.events import SnapMade
from swarm.core.exchanging import Exchanging
from swarm.core.exchanging_places import CHUNK, places
from swarm.core.merge import Members, Method, distances
from swarm.core.merge.method import Array, may_be_faulty
from swarm.core.tensors import LEAF_BYTES, Schema
from swarm.core.wireform import Base, Coding
from swarm.errors import InternalError, SwarmError
from swarm.runtime import threads
from swarm.runtime.clipping import limited
from swarm.runtime.data import DataClient, FetchStopped, Region, Stop, Want
from swarm.runtime.data_rates import Rates
from swarm.runtime.exchange_form import contributions, form_of
from swarm.runtime.exchange_measuring import Measuring
from swarm.runtime.exchange_merging import HASH, BadContribution, Merging, ProvenLeaves, Store
from swarm.runtime.exchange_news import Done, News, Owing, Scattered, Stalling, Stuck
from swarm.runtime.exchange_signed import Signed, Signer
from swarm.runtime.exchange_staging import Staging
from swarm.wire import merkle, tensorbytes

TICK_S = 0.25
OWED_TICKS = 4
log = logging.getLogger("swarm.exchange")


class Exchange:
    """``own`` is frozen, and ``result`` this exchange's alone, until it is done or cancelled.

    ``store`` has written down all of the result when it is done; see `Merging`.
    With ``coding`` bytes travel in its wire form, and ``own`` is in it. ``most``: how far contributions may be from the
    base, unless it is 0. ``steps``: an outer step with momentum follows.
    ``base``: the snap's model, once there is one. ``tell(snap, news)`` hears of it: `Scattered` and `Done` at most
    once, `Stalling` once a member.
    """

    def __init__(
        self,
        *,
        snap: SnapMade,
        uid: str,
        network_id: bytes,
        node_key: Ed25519PrivateKey,
        node_keys: Mapping[str, bytes],
        schema: Schema,
        hash_name: str,
        method: Method,
        max_faulty: int = -1,
        own: memoryview,
        base: Base | None = None,
        result: memoryview,
        store: Store | None = None,
        coding: Coding | None = None,
        most: float = 0.0,
        steps: bool = False,
        staging: Staging,
        client: DataClient,
        rates: Rates,
        tell: Callable[[SnapMade, News], None],
    ) -> None:
        self._snap = snap
        self._uid = uid
        self._schema = schema
        self._hash_name = hash_name
        self._base = base
        self._result = result
        self._form = form_of(snap, own.toreadonly(), result, coding)
        self._staging = staging
        self._client = client
        self._rates = rates
        self._tell_it = tell
        self._members = {member.uid: member for member in snap.members}
        self._leaves = memoryview(bytearray(schema.leaves * HASH))
        sources = contributions(uid, self._form, staging)
        self._method = method
        self._max_faulty = max_faulty
        held = limited(schema, base, most, steps, sources, uid)
        self._merging = Merging(schema, self._method, held, result, self._leaves, hash_name, self._form.settle, store)
        self._mine = [place for place in places(snap, uid, schema.nbytes) if place.owner == uid]
        self._measuring = Measuring(schema, snap, self._mine, sources) if self._method.distances else None
        said = self._measuring.said if self._measuring else memoryview(b"")
        signer = Signer(uid, network_id, node_key, node_keys)
        self._signed = Signed(snap, signer, hash_name, len(result), self._form, self._leaves, said)
        if self._measuring is None:
            self._merging.prepare(self._parties(None))
        self._machine: Exchanging | None = None
        self._early: list[x.Event] = []
        self._pulls: dict[x.Pull, Stop] = {}
        self._over = threading.Event()
        self._lock = threading.RLock()
        self._scattered = self._failed = False
        self._pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="merge")
        self._began_s = monotonic()
        self._marks: dict[str, float] = {}

    def start(self) -> None:
        self._thread(self._run)

    def held(self, uid: str) -> None:
        """This member says that it holds the result of this attempt."""
        self._happened(x.Held(uid))

    def cancel(self) -> None:
        """Returns at once; transfers notice within moments and close their own connections only."""
        with self._lock:  # a call back that has begun is waited for
            if self._over.is_set():
                return
            self._over.set()
            for stop in self._pulls.values():
                stop.set()
            if self._machine is not None:
                writers = [stop.settle for stop in self._pulls.values()]
                self._staging.leave(self._snap, self._machine.kept(), [*writers, self._pool.shutdown])
        self._signed.fail(f"attempt {self._snap.attempt} of round {self._snap.round} is over here")
        self._pool.shutdown(wait=False, cancel_futures=True)

    def region(self, want: Want) -> Region:
        """What this member merged or measured, or holds of what others did; raises Refused."""
        return self._signed.region(want)

    def proof(self, piece: int) -> dict[str, bytes] | None:
        """What the owner of this piece (`Signed`) signed for the bytes that came here; None when none came."""
        return self._signed.proof(piece)

    # ---- the machine

    def _run(self) -> None:
        self._staging.settle()
        with self._lock:
            if self._over.is_set():
                return
            senders = [m.uid for m in self._snap.members if m.weight and m.uid != self._uid] if self._mine else []
            ranges = [(self._form.at(place.start), self._form.at(place.stop)) for place in self._mine]
            kept = self._staging.enter(self._snap, senders, ranges)
            judges = self._method.distances
            self._machine = Exchanging(self._snap, self._uid, self._schema.nbytes, kept, judges=judges)
            self._rates.begin()
            self._perform(self._machine.begin(monotonic()))
            for event in self._early:
                self._happened(event)
        self._watch(self._machine)

    def _watch(self, machine: Exchanging) -> None:
        ticks = 0
        while not self._over.wait(TICK_S) and not machine.finished:
            self._rates.sample()
            self._happened(x.Ticked(self._client.rtt_s))
            ticks += 1
            if ticks % OWED_TICKS == 0:
                with self._lock:
                    self._tell(Owing(machine.owed()))
        if machine.finished:
            self._rates.end()

    def _happened(self, event: x.Event) -> None:
        with self._lock:
            if self._over.is_set() or self._failed:
                return
            if self._machine is None:
                self._early.append(event)
                return
            self._mark(event)
            if isinstance(event, x.Verified | x.Failed):
                del self._pulls[event.pull]
            self._perform(self._machine.handle(event, monotonic()))

    def _perform(self, effects: list[x.Effect]) -> None:
        for effect in effects:
            match effect:
                case x.Pull():
                    self._pulls[effect] = stop = Stop()
                    self._thread(self._pull, effect, stop)
                case x.Stop():
                    self._pulls[effect.pull].set()
                case x.Measure():
                    self._pool.submit(self._guarded, self._measure, effect)
                case x.Publish():
                    self._pool.submit(self._guarded, self._publish)
                case x.Weigh():
                    self._pool.submit(self._guarded, self._weigh)
                case x.Merge():
                    self._pool.submit(self._guarded, self._merge, effect)
                case x.Serve():
                    self._signed.advance(effect.shard, effect.upto)
                case x.Sign() if self._snap.topology == "sharded":
                    self._pool.submit(self._guarded, self._signed.sign, "shard", effect.shard)
                case x.Blame():
                    self._tell(Stalling(effect.uid, effect.reason, effect.alive))
                case x.Finish():
                    self._pool.submit(self._guarded, self._finish)
        if self._machine is not None and self._machine.scattered and not self._scattered:
            self._scattered = True
            self._tell(Scattered())

    # ---- pulling

    def _pull(self, pull: x.Pull, stop: Stop) -> None:
        try:
            match pull.what:
                case "offer":
                    self._pull_offer(pull, stop)
                case "shard":
                    self._pull_shard(pull, stop)
                case "distances":
                    self._pull_distances(pull, stop)
        except FetchStopped:
            self._happened(x.Failed(pull, "it was stopped"))
        except BadContribution as error:
            if error.uid != pull.source:  # who passed on what another has signed is not to blame
                self._happened(x.Spoilt(error.uid, error.message))
            self._happened(x.Failed(pull, error.message, bad=error.uid == pull.source))
        except SwarmError as error:
            self._happened(x.Failed(pull, error.message))
        else:
            self._happened(x.Verified(pull))

    def _pull_offer(self, pull: x.Pull, stop: Stop) -> None:
        member, room, form = self._members[pull.of], self._staging.room(pull.of), self._form
        proven = self._proven(pull, stop) if member.root and pull.start < pull.stop else None

        def arrived(offset: int) -> None:
            upto = form.whole(offset)
            self._happened(x.Arrived(pull, proven.checked(partial(form.read, sent=room), upto) if proven else upto))

        first, last = form.at(pull.start), form.at(pull.stop)
        self._from(pull, member.digest, (first, last), room[first:last], stop, arrived)
        if self._snap.topology == "broadcast" and not member.root:
            sent = self._sent(member.digest, form.read(0, self._schema.nbytes, room))
            if sent != member.digest:
                raise BadContribution(pull.of, f"it offered {member.digest} and sent {sent}")

    def _sent(self, offered: str, room: memoryview) -> str:
        """The digest of whole weights that came; the base goes by the ledger's, which may cover more than weights."""
        if offered == self._snap.base and self._base is not None and np.array_equal(room, self._base(0, len(room))):
            return offered
        return tensorbytes.digest(self._schema, room, self._hash_name)

    def _proven(self, pull: x.Pull, stop: Stop) -> ProvenLeaves:
        """The hashes that the leaves of this pull have to have by the Merkle root of their offer."""
        snap, member = self._snap, self._members[pull.of]
        first, last = pull.start // LEAF_BYTES, -(-pull.stop // LEAF_BYTES)
        hashes = bytearray((last - first) * HASH)
        want = Want(snap.contract, snap.round, "leaves", snap.attempt, member.digest, first * HASH, last * HASH)
        proof = self._client.fetch(member.address, member.uid, want, memoryview(hashes), stop=stop)
        if not merkle.verify(member.root, self._schema.leaves, first, hashes, proof, self._hash_name):
            raise BadContribution(pull.of, "the leaf hashes it sent do not belong to the root it offered")
        return ProvenLeaves(pull.of, (pull.start, pull.stop), bytes(hashes), self._hash_name)

    def _pull_shard(self, pull: x.Pull, stop: Stop) -> None:
        hashed = pull.start
        hashing: list[Future[None]] = []

        room, into = self._form.shard(pull.start, pull.stop)

        def arrived(offset: int) -> None:
            nonlocal hashed
            upto = into(offset)
            whole = upto if upto == pull.stop else upto - (upto - pull.start) % CHUNK
            for first in range(hashed, whole, CHUNK):
                sealed = first, min(first + CHUNK, pull.stop)
                hashing.append(self._pool.submit(self._guarded, self._merging.receive, *sealed))
            hashed = whole
            self._happened(x.Arrived(pull, upto))

        span = self._form.at(pull.start), self._form.at(pull.stop)
        proof = self._from(pull, "", span, room, stop, arrived)
        for leaves in hashing:
            leaves.result()
        self._signed.take(pull, proof, self._merging.unfit(pull.start, pull.stop))

    def _pull_distances(self, pull: x.Pull, stop: Stop) -> None:
        assert self._measuring is not None
        said, span = self._measuring.said[pull.start : pull.stop], (pull.start, pull.stop)
        proof = self._from(pull, "", span, said, stop, lambda upto: self._happened(x.Arrived(pull, upto)))
        self._signed.take(pull, proof)
        if not distances.sound(bytes(self._measuring.said[pull.start : pull.stop])):
            raise BadContribution(pull.of, "the distances that it says it measured are none")

    def _from(
        self,
        pull: x.Pull,
        digest: str,
        span: tuple[int, int],
        room: memoryview,
        stop: Stop,
        on_progress: Callable[[int], None],
    ) -> bytes:
        """These bytes, as on the wire; ``on_progress`` hears up to where they are in ``room``."""
        snap, source = self._snap, self._members[pull.source]
        want = Want(snap.contract, snap.round, pull.what, snap.attempt, digest, *span)
        counted = self._rates.counted(source.uid, want.start, on_progress)
        return self._client.fetch(source.address, source.uid, want, room, counted, stop)

    # ---- merging

    def _measure(self, chunk: x.Measure) -> None:
        assert self._measuring is not None
        self._measuring.measure(chunk.start, chunk.stop, chunk.parts)
        self._happened(x.Measured(chunk.start))

    def _publish(self) -> None:
        assert self._measuring is not None
        for start in self._measuring.publish(self._uid):
            self._signed.sign("distances", start)
        self._happened(x.Published())

    def _weigh(self) -> None:
        assert self._measuring is not None
        self._merging.prepare(self._parties(self._measuring.matrix()))
        self._happened(x.Weighed())

    def _parties(self, between: Array | None) -> Members:
        weights = tuple(member.weight for member in self._snap.members if member.weight)
        return Members(weights, may_be_faulty(len(weights), self._max_faulty), between)

    def _merge(self, chunk: x.Merge) -> None:
        self._merging.merge(chunk.start, chunk.stop, chunk.parts)
        self._happened(x.Merged(chunk.start))

    def _finish(self) -> None:
        digest = tensorbytes.digest_of_leaves(self._schema, self._leaves, self._hash_name)
        self._marks["hash"] = monotonic()
        self._tell(Done(digest, self._signed.digests(), self._phases()))

    # ---- threads

    def _thread(self, job: Callable[..., None], *args: object) -> None:
        threads.begin(partial(self._guarded, job, *args), job.__name__)

    def _guarded(self, job: Callable[..., None], *args: object) -> None:
        """Run a job of this exchange; what goes wrong is told once, and not after the end."""
        try:
            job(*args)
        except BadContribution as error:
            if error.uid == self._uid:
                self._fail(error)
            else:
                self._happened(x.Spoilt(error.uid, error.message))
        except SwarmError as error:
            self._fail(error)
        except Exception as error:
            if not self._over.is_set():  # a pool that was shut down takes no more jobs, for one
                log.exception("the exchange failed by a mistake of ours")
            self._fail(InternalError(f"the exchange of round {self._snap.round} failed: {error!r}"))

    def _fail(self, error: SwarmError) -> None:
        with self._lock:
            if not self._failed:
                self._failed = True
                self._tell(Stuck(error))

    def _tell(self, news: News) -> None:
        with self._lock:
            if not self._over.is_set():
                self._tell_it(self._snap, news)

    # ---- time

    def _mark(self, event: x.Event) -> None:
        match event:
            case x.Verified():
                self._marks["gather" if event.pull.what == "shard" else "scatter"] = monotonic()
            case x.Merged():
                self._marks["merge"] = monotonic()

    def _phases(self) -> dict[str, float]:
        """What each phase added to the time; as they overlap, each counts from the end of the one before it."""
        phases, at = {}, self._began_s
        for phase in ("scatter", "merge", "gather", "hash"):
            until = max(at, self._marks.get(phase, at))
            phases[phase], at = until - at, until
        return phases
