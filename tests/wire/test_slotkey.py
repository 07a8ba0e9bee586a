"""A slot's key: the same secret gives it again, nobody learns the secret from it, and a proof is one process's own."""

import pytest

from swarm.wire.slotkey import Place, SlotKey, holds

SECRET, NETWORK = b"any key chosen by a person", b"n" * 32
PLACE = Place(NETWORK, "digits", "trainer", "uid", b"1" * 16)


def test_a_secret_gives_one_key_for_each_task_of_each_network():
    keys = {
        SlotKey.of(secret, network, task).public
        for secret in (SECRET, SECRET + b"\n")
        for network in (NETWORK, b"m" * 32)
        for task in ("digits", "mnist")
    }
    assert len(keys) == 8
    assert SlotKey.of(SECRET, NETWORK, "digits").public in keys


@pytest.mark.parametrize(
    "other",
    [{"network_id": b"m" * 32}, {"task": "mnist"}, {"role": "coach"}, {"uid": "uid2"}, {"incarnation": b"2" * 16}],
)
def test_a_proof_is_good_for_one_start_of_one_process_in_one_role(other):
    key = SlotKey.of(SECRET, NETWORK, "digits")
    proof = key.prove(PLACE)
    assert holds(key.public, PLACE, proof)
    assert not holds(key.public, Place(**{**{name: getattr(PLACE, name) for name in PLACE.__slots__}, **other}), proof)
    assert not holds(b"x" * 32, PLACE, proof)
    assert not holds(key.public, PLACE, bytes(64))
