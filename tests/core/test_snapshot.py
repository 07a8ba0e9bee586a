"""Snapshots that somebody sent: a ledger comes of them, or one error."""

import msgpack
import pytest

from swarm.core.snapshot import Snapshot, digest_of, restored, taken
from swarm.errors import BadInput
from tests.core.scene import Actor, Scene


def good() -> Snapshot:
    scene = Scene()
    scene.join(Actor("sl", "sl-1"))
    return taken(scene.ledger, 1, scene.ledger.voters)


def with_state(snapshot: Snapshot, state: bytes) -> Snapshot:
    return Snapshot(snapshot.index, snapshot.term, snapshot.hash, snapshot.voters, state, digest_of(state))


def test_what_was_taken_is_restored():
    assert restored(good()).digest() == good().digest


@pytest.mark.parametrize("junk", [None, [], {}, "", [[]], {"rules": 1}])
@pytest.mark.parametrize("place", [None, "head", "voters", "anchors", "nodes", "contracts", "unopened", "board"])
def test_a_state_of_any_other_shape_is_one_error(place, junk):
    snapshot = good()
    state = msgpack.unpackb(snapshot.state)
    changed = with_state(snapshot, msgpack.packb(junk if place is None else {**state, place: junk}))
    if place in ("anchors", "nodes", "unopened") and junk == []:
        assert restored(changed).digest() == changed.digest  # a state with none: nobody has signed it
    elif changed.digest != snapshot.digest:
        with pytest.raises(BadInput):
            restored(changed)


@pytest.mark.parametrize("state", [b"", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\x91" * 5000])
def test_bytes_that_are_no_state_are_one_error(state):
    with pytest.raises(BadInput):
        restored(with_state(good(), state))


def test_a_state_whose_keys_are_hashed_without_a_seed_is_not_even_read():
    state = msgpack.packb({**msgpack.unpackb(good().state), "jobs": {1: 1}})
    with pytest.raises(BadInput, match="int is not allowed for map key"):
        restored(with_state(good(), state))
