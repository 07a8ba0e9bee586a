"""The exchange: one attempt of one round on one member, from the snap to the digest of the result.

Started by ``nodes/learning``; blocking threads of its own, callbacks from any of them. Guarantees: the result is the
merge of the snap's members with the snap's weights, in uid order, the same bits on every member; a shard is used only
with its owner's signature under its digest; nothing is called back after `cancel`.

    scatter   pull my shard of every contribution     ┐
    merge     chunk k while chunk k+1 arrives         ├ overlap, chunk by chunk
    gather    pull the others' shards as they grow    ┘
    broadcast (small models) is the same with the whole model as everybody's shard, and no gather
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.events import Contributor, Shard, SnapMade
from swarm.core.merge import METHODS
from swarm.core.tensors import LEAF_BYTES, Schema
from swarm.errors import InternalError, SwarmError
from swarm.runtime.data_client import DataClient, FetchStopped
from swarm.runtime.data_protocol import Want
from swarm.runtime.data_region import Region
from swarm.runtime.exchange_merging import CHUNK, HASH, BadContribution, Merging, Part
from swarm.wire import shardproof, tensorbytes

log = logging.getLogger("swarm.exchange")


class Exchange:
    """``own`` is frozen, and ``result`` this exchange's alone, until it is done or cancelled.

    ``region`` is what other members may gather from this one. ``on_done(digest, phases_s)`` is called at most once;
    ``on_stalled(uid, reason)`` once for each member whose bytes do not come or cannot be used; ``on_failed(error)``
    when this member itself cannot go on.
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
        method: str,
        own: memoryview,
        result: memoryview,
        client: DataClient,
        on_done: Callable[[str, dict[str, float]], None],
        on_stalled: Callable[[str, str], None],
        on_failed: Callable[[SwarmError], None],
    ) -> None:
        self._snap = snap
        self._uid = uid
        self._network_id = network_id
        self._node_key = node_key
        self._node_keys = node_keys
        self._schema = schema
        self._hash_name = hash_name
        self._method = METHODS[method]
        self._own = own.toreadonly()
        self._result = result
        self._client = client
        self._on_done = on_done
        self._on_stalled = on_stalled
        self._on_failed = on_failed
        self._leaves = memoryview(bytearray(schema.leaves * HASH))
        self._members = {member.uid: member for member in snap.members}
        self._mine = self._my_shard()
        self.region = Region(result[slice(*self._bytes(self._mine))], self._bytes(self._mine)[0])
        if snap.topology == "broadcast":
            self.region.fail("a broadcast has no shards")
        self._stop = threading.Event()
        self._lock = threading.RLock()
        self._told: set[str] = set()
        self._pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="merge")
        self._parts_left = 0
        self._marks: dict[str, float] = {}

    def start(self) -> None:
        self._began = monotonic()
        merging = self._begin_merging()
        jobs = self._scatter(merging) + self._gather()
        self._parts_left = len(jobs) + (merging is not None)
        if merging is None:
            self.region.finish()
        elif self._members[self._uid].weight:
            merging.arrived(self._uid, merging.nbytes)
        for uid, job, args in jobs:
            threading.Thread(target=self._guarded, args=(uid, job, *args), name=f"{job.__name__}", daemon=True).start()

    def cancel(self) -> None:
        """Returns at once; transfers notice within moments and close their own connections only."""
        with self._lock:  # a call back that has begun is waited for
            self._stop.set()
        self.region.fail(f"attempt {self._snap.attempt} of round {self._snap.round} is over here")
        self._pool.shutdown(wait=False, cancel_futures=True)

    # ---- scatter and merge

    def _begin_merging(self) -> Merging | None:
        start, stop = self._bytes(self._mine)
        if start == stop:
            return None
        senders = [member for member in self._snap.members if member.weight]
        return Merging(
            self._schema,
            (start, stop),
            self._method,
            [Part(member.uid, member.weight, self._contribution(member.uid, start, stop)) for member in senders],
            self._result[start:stop],
            self._leaves_of(self._mine),
            self._hash_name,
            self.region,
            self._submit,
            self._merged,
        )

    def _scatter(self, merging: Merging | None) -> list[Job]:
        if merging is None:
            return []
        return [(part.uid, self._pull_part, (part, merging)) for part in merging.parts if part.uid != self._uid]

    def _contribution(self, uid: str, start: int, stop: int) -> memoryview:
        if uid == self._uid:
            return self._own[start:stop]
        return np.empty(stop - start, np.uint8).data  # numpy's large arrays come in huge pages

    def _pull_part(self, part: Part, merging: Merging) -> None:
        start, stop = self._bytes(self._mine)
        member = self._members[part.uid]
        self._fetch(
            member,
            Want(self._snap.contract, self._snap.round, "offer", self._snap.attempt, member.digest, start, stop),
            part.data,
            lambda upto: merging.arrived(part.uid, upto - start),
        )
        self._mark("scatter")
        if self._snap.topology == "broadcast":
            sent = tensorbytes.digest(self._schema, part.data, self._hash_name)
            if sent != member.digest:
                raise BadContribution(part.uid, f"it offered {member.digest} and sent {sent}")
        self._part_done()

    def _merged(self) -> None:
        self._mark("merge")
        if self._snap.topology == "sharded":
            digest = shardproof.shard_digest(self._leaves_of(self._mine), self._hash_name)
            self.region.finish(shardproof.sign(self._node_key, self._place(self._mine), digest))
        self._part_done()

    # ---- gather

    def _gather(self) -> list[Job]:
        if self._snap.topology == "broadcast":
            return []
        others = [shard for shard in self._snap.shards if shard.owner != self._uid and _leaves(shard)]
        return [(shard.owner, self._pull_shard, (shard,)) for shard in others]

    def _pull_shard(self, shard: Shard) -> None:
        start, stop = self._bytes(shard)
        hashed = start
        hashing: list[Future[None]] = []

        def arrived(upto: int) -> None:
            nonlocal hashed
            whole = stop if upto == stop else upto - (upto - start) % CHUNK
            for first in range(hashed, whole, CHUNK):
                hashing.append(self._pool.submit(self._hash, first, min(first + CHUNK, stop)))
            hashed = whole

        want = Want(self._snap.contract, self._snap.round, "shard", self._snap.attempt, "", start, stop)
        proof = self._fetch(self._members[shard.owner], want, self._result[start:stop], arrived)
        self._mark("gather")
        for leaves in hashing:
            leaves.result()
        digest = shardproof.shard_digest(self._leaves_of(shard), self._hash_name)
        if not shardproof.verify(self._node_keys[shard.owner], self._place(shard), digest, proof):
            raise BadContribution(shard.owner, "the shard it sent is not signed by it")
        self._part_done()

    def _hash(self, first: int, stop: int) -> None:
        hashes = tensorbytes.leaf_hashes(self._result[first:stop], self._hash_name)
        at = first // LEAF_BYTES * HASH
        self._leaves[at : at + len(hashes)] = hashes

    # ---- the end

    def _part_done(self) -> None:
        with self._lock:
            self._parts_left -= 1
            if self._parts_left:
                return
        digest = tensorbytes.digest_of_leaves(self._schema, self._leaves, self._hash_name)
        self._mark("hash")
        self._pool.shutdown(wait=False)
        self._tell(self._on_done, digest, self._phases())

    def _phases(self) -> dict[str, float]:
        """What each phase added to the time; as they overlap, each counts from the end of the one before it."""
        phases, at = {}, self._began
        for phase in ("scatter", "merge", "gather", "hash"):
            until = max(at, self._marks.get(phase, at))
            phases[phase], at = until - at, until
        return phases

    def _mark(self, phase: str) -> None:
        with self._lock:
            self._marks[phase] = monotonic()

    # ---- threads

    def _fetch(self, member: Contributor, want: Want, into: memoryview, on_progress: Callable[[int], None]) -> bytes:
        return self._client.fetch(member.address, member.uid, want, into, on_progress, self._stop)

    def _submit(self, job: Callable[..., None], *args: Any) -> None:
        self._pool.submit(self._guarded, self._uid, job, *args)

    def _guarded(self, uid: str, job: Callable[..., None], *args: Any) -> None:
        """Run a job of this exchange; what goes wrong is told once, and not after the end."""
        try:
            job(*args)
        except FetchStopped:
            return
        except BadContribution as error:
            self._failed(error.uid, error)
        except SwarmError as error:
            self._failed(uid, error)
        except Exception as error:
            if not self._stop.is_set():  # a pool that was shut down takes no more jobs, for one
                log.exception("the exchange failed by a mistake of ours")
            self._failed(self._uid, InternalError(f"the exchange of round {self._snap.round} failed: {error!r}"))

    def _failed(self, uid: str, error: SwarmError) -> None:
        with self._lock:
            if uid in self._told:
                return
            self._told.add(uid)
        if uid == self._uid:
            self._tell(self._on_failed, error)
        else:
            self._tell(self._on_stalled, uid, error.message)

    def _tell(self, callback: Callable[..., None], *args: Any) -> None:
        with self._lock:
            if not self._stop.is_set():
                callback(*args)

    # ---- the layout

    def _my_shard(self) -> Shard:
        if self._snap.topology == "broadcast":
            return Shard(self._uid, 0, self._schema.leaves)
        return next((shard for shard in self._snap.shards if shard.owner == self._uid), Shard(self._uid, 0, 0))

    def _bytes(self, shard: Shard) -> tuple[int, int]:
        return self._schema.span(shard.first_leaf, shard.stop_leaf)

    def _leaves_of(self, shard: Shard) -> memoryview:
        return self._leaves[shard.first_leaf * HASH : shard.stop_leaf * HASH]

    def _place(self, shard: Shard) -> shardproof.ShardPlace:
        index = next(index for index, known in enumerate(self._snap.shards) if known == shard)
        return shardproof.ShardPlace(self._network_id, self._snap.contract, self._snap.round, self._snap.attempt, index)


Job = tuple[str, Callable[..., None], tuple[Any, ...]]


def _leaves(shard: Shard) -> int:
    return shard.stop_leaf - shard.first_leaf
