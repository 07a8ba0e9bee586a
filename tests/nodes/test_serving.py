"""A learning node's raw weights go to those who merge them, each as much as it merges, and to nobody else."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from swarm.core.events import Contributor, Shard, SnapMade
from swarm.core.member import Phase
from swarm.core.membership import Member
from swarm.core.names import Identity
from swarm.core.tensors import LEAF_BYTES, Schema
from swarm.core.wireform import Coding, WireForm
from swarm.errors import Refused
from swarm.nodes import serving
from swarm.nodes.attempt import Attempt
from swarm.nodes.contribution import HASH, Contribution
from swarm.runtime.data import NotYet, Region, Stranger, Want
from swarm.runtime.tls import Peer
from swarm.wire import tensorbytes
from tests.nodes.test_contribution import contract

SCHEMA = Schema.of({"a": np.zeros(6 * LEAF_BYTES // 4 - 5, np.float32)})
ME, OTHER, THIRD = "me", "other", "third"
SHARDS = (Shard(ME, 0, 2), Shard(OTHER, 2, 5), Shard(THIRD, 5, 6))


def peer(uid: str) -> Peer:
    return Peer(Identity("org-a", bytes(32), "sl", "sl-1"), b"", uid, "", b"", b"", ())


def contribution(coding: Coding | None = None) -> Contribution:
    content = memoryview(bytes(SCHEMA.nbytes))
    sent = content if coding is None else memoryview(bytes(coding.form.nbytes))
    return Contribution(sent, tensorbytes.leaf_hashes(content, "sha256"), "sha256", coding)


def attempt(topology: Any, coding: Coding | None = None) -> Attempt:
    """What is served of the exchange is not asked for here."""
    members = tuple(Contributor(uid, 1, "d", "127.0.0.1:1") for uid in (ME, OTHER, THIRD))
    snap = SnapMade("a-contract", 0, 1, members, SHARDS if topology == "sharded" else (), topology, "base", b"s")
    return Attempt(snap, contribution(coding), cast(Any, None), handed=True, exchange=cast(Any, None), method="mean")


def read(now: Attempt, uid: str, what: str, start: int, stop: int, attempt: int = 1) -> Region:
    want = Want("a-contract", 0, what, attempt, "d", start, stop)
    return serving.part(contract(), now, Phase.MERGING, peer(uid), want)


INT8 = Coding(WireForm(SCHEMA, "int8"), lambda start, stop: memoryview(bytes(stop - start)))


@pytest.mark.parametrize("coding", [None, INT8])
@pytest.mark.parametrize("shard", SHARDS[1:])
def test_an_owner_reads_its_shard_of_the_weights_and_of_their_hashes(shard: Shard, coding: Coding | None):
    now = attempt("sharded", coding)
    first, last = shard.first_leaf * LEAF_BYTES, min(shard.stop_leaf * LEAF_BYTES, SCHEMA.nbytes)
    start, stop = (coding.form.at(first), coding.form.at(last)) if coding else (first, last)
    for asked in [(start, stop), (start + 1, stop - 1), (stop, stop)]:  # all, the rest after a break, the end of it
        assert read(now, shard.owner, "offer", *asked) is now.own._region
    leaves = shard.first_leaf * HASH, shard.stop_leaf * HASH
    assert bytes(read(now, shard.owner, "leaves", *leaves).piece(*leaves, 0)) == now.own._leaves[slice(*leaves)]

    for asked in [(0, now.own._region.stop), (start - 1, stop), (start, stop + 1), (0, 1)]:
        with pytest.raises(Refused, match=r"sl-1.* does not merge bytes .* of the offer .*, so may not read them"):
            read(now, shard.owner, "offer", *asked)
    for asked in [(0, 6 * HASH), (leaves[0] - HASH, leaves[1]), (leaves[0], leaves[1] + HASH)]:
        with pytest.raises(Refused, match=r"does not merge bytes .* of the leaves"):
            read(now, shard.owner, "leaves", *asked)


def test_in_a_broadcast_every_member_of_the_attempt_reads_all():
    now = attempt("broadcast")
    assert read(now, OTHER, "offer", 0, SCHEMA.nbytes) is now.own._region
    assert read(now, THIRD, "leaves", 0, 6 * HASH).stop == 6 * HASH


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
def test_a_member_that_is_not_in_the_attempt_reads_no_raw_weights(topology: str):
    now = attempt(topology)
    for what, stop in [("offer", SCHEMA.nbytes), ("offer", 0), ("leaves", 6 * HASH)]:
        with pytest.raises(Refused, match="does not merge bytes"):
            read(now, "late", what, 0, stop)


@pytest.mark.parametrize(
    ("state", "said"),
    [("left", "has left contract a-contract"), ("excluded", "is excluded from contract a-contract: it signed two")],
)
@pytest.mark.parametrize("what", ["offer", "model"])
def test_who_left_or_was_excluded_reads_nothing(what: str, state: Any, said: str):
    agreed, want = contract(), Want("a-contract", 0, what, 1, "d", 0, 1)
    with pytest.raises(Stranger, match="is no member of contract 'a-contract'"):  # or has enrolled since
        serving.check_member(agreed, peer(OTHER), want)
    for here in ("live", "dropped", "lost", "restarted"):
        agreed.members[OTHER] = Member("sl-1", "org-a", 2, 1000, 128, "127.0.0.1:1", here)
        serving.check_member(agreed, peer(OTHER), want)
    agreed.members[OTHER].state = state
    with pytest.raises(Refused, match=said):
        serving.check_member(agreed, peer(OTHER), want)


def test_before_it_takes_part_members_are_told_from_strangers_and_who_has_left_is_refused():
    agreed, want = contract(), Want("a-contract", 0, "offer", 1, "d", 0, 1)
    agreed.members[OTHER] = Member("sl-1", "org-a", 2, 1000, 128, "127.0.0.1:1", "live")
    assert type(serving.not_yet(agreed, peer(OTHER), want)) is NotYet
    assert type(serving.not_yet(agreed, peer(THIRD), want)) is Stranger
    assert type(serving.not_yet(None, peer(OTHER), want)) is Stranger
    agreed.members[OTHER].state = "left"
    with pytest.raises(Refused, match="has left contract a-contract"):
        serving.not_yet(agreed, peer(OTHER), want)


@pytest.mark.parametrize("what", ["offer", "leaves"])
def test_weights_that_were_offered_to_another_attempt_of_this_number_are_not_those_of_this_one(what: str):
    """After a forced recovery there may be two."""
    now = attempt("broadcast")
    stop = HASH * 6 if what == "leaves" else SCHEMA.nbytes
    assert read(now, OTHER, what, 0, stop)
    want = Want("a-contract", 0, what, 1, "another", 0, stop)
    with pytest.raises(Refused, match="may not read them"):
        serving.part(contract(), now, Phase.MERGING, peer(OTHER), want)
