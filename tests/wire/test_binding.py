from __future__ import annotations

import hashlib
from typing import Any

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from swarm.core import names
from swarm.errors import IdentityError, Outdated, Refused, SwarmError
from swarm.wire import frame
from swarm.wire.binding import Binding, NoNetworkYet, Side, refusal

NETWORK = b"\1" * 32


def key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def public(seed: int) -> bytes:
    return key(seed).public_key().public_bytes_raw()


def make(seed: int, *, dialler: bool, nonce: int | None = None, network: bytes = NETWORK, **more: Any) -> Binding:
    own = Side(key(seed), bytes([seed]) * 16, network, bytes([nonce or seed]) * 32, b"leaf %d" % seed)
    peer_leaf = more.pop("peer_leaf", b"leaf %d" % (3 - seed))
    return Binding(own, dialler=dialler, peer_leaf=peer_leaf, peer_name=f"the other of {seed}", **more)


def pass_on(data: bytes, to: Binding) -> None:
    while data:
        piece, data = data[: to.need], data[to.need :]
        to.feed(piece)


def converse(dialler: Binding, listener: Binding) -> None:
    pass_on(dialler.outgoing(), listener)
    pass_on(listener.outgoing(), dialler)
    pass_on(dialler.outgoing(), listener)


def frames(data: bytes) -> list[Any]:
    return frame.Decoder().feed(data)


def refused(binding: Binding, data: bytes, kind: type[SwarmError] = IdentityError) -> str:
    with pytest.raises(kind) as caught:
        pass_on(data, binding)
    assert binding.bound is None
    return caught.value.message


def hello(**changes: Any) -> bytes:
    (_, raw) = frames(make(1, dialler=True).outgoing())[0]
    fields = {name: value for name, value in {**msgpack.unpackb(raw), **changes}.items() if value is not None}
    return frame.pack(["hello", msgpack.packb(fields)])


def test_both_sides_learn_the_others_node_key_incarnation_and_network() -> None:
    dialler, listener = make(1, dialler=True), make(2, dialler=False)
    converse(dialler, listener)
    assert dialler.bound is not None
    assert listener.bound is not None
    assert (dialler.bound.node_key, listener.bound.node_key) == (public(2), public(1))
    assert (dialler.bound.incarnation, listener.bound.incarnation) == (b"\2" * 16, b"\1" * 16)
    assert dialler.bound.uid == names.uid_of(public(2))


def test_the_dialler_is_not_connected_before_it_has_read_the_listeners_proof() -> None:
    dialler, listener = make(1, dialler=True), make(2, dialler=False)
    pass_on(dialler.outgoing(), listener)
    hello_only, _ = frames(listener.outgoing())
    pass_on(frame.pack(hello_only), dialler)
    assert dialler.bound is None
    assert dialler.outgoing() == b""


def test_a_node_without_network_takes_the_listeners() -> None:
    dialler, listener = make(1, dialler=True, network=b""), make(2, dialler=False)
    converse(dialler, listener)
    assert dialler.network_id == listener.network_id == NETWORK


def test_two_nodes_without_network_refuse_each_other() -> None:
    dialler, listener = make(1, dialler=True, network=b""), make(2, dialler=False, network=b"")
    message = refused(listener, dialler.outgoing(), NoNetworkYet)
    assert message == "neither this node nor the other of 2 belongs to a network yet"


def test_a_listener_without_network_does_not_take_the_diallers() -> None:
    message = refused(make(2, dialler=False, network=b""), make(1, dialler=True).outgoing(), NoNetworkYet)
    assert message.startswith("this node belongs to no network yet and cannot take that of the other of 2")


def test_another_network_is_refused_and_both_are_named() -> None:
    message = refused(make(2, dialler=False, network=b"\2" * 32), make(1, dialler=True).outgoing())
    assert message == "the other of 2 belongs to network 0101010101010101, this node to 0202020202020202"


def test_another_protocol_version_is_refused_and_both_are_named() -> None:
    assert refused(make(2, dialler=False), hello(version=2)) == (
        "the other of 2 speaks protocol 2, this node speaks protocol 1"
    )
    assert "speaks protocol None" in refused(make(2, dialler=False), hello(version=None))


def test_ones_own_key_is_refused() -> None:
    message = refused(make(1, dialler=False, nonce=9), make(1, dialler=True).outgoing())
    assert "came with this node's own key" in message


def test_a_reflected_hello_is_refused() -> None:
    dialler = make(1, dialler=True)
    assert "came with this node's own key" in refused(dialler, dialler.outgoing())


def test_ones_own_nonce_is_refused() -> None:
    message = refused(make(2, dialler=False), make(1, dialler=True, nonce=2).outgoing())
    assert message == "the other of 2 sent this node's own nonce back: its messages were reflected"


def test_a_uid_that_is_not_of_the_key_is_refused() -> None:
    assert "claims uid " in refused(make(2, dialler=False), hello(uid=names.uid_of(public(7))))


@pytest.mark.parametrize("pin", [names.uid_of(public(7)), names.peer_id(public(7))])
def test_another_than_the_expected_node_is_refused(pin: str) -> None:
    dialler, listener = make(1, dialler=True, expected=pin), make(2, dialler=False)
    pass_on(dialler.outgoing(), listener)
    message = refused(dialler, listener.outgoing())
    assert message == (
        f"the other of 1 is node {names.peer_id(public(2))} (uid {names.uid_of(public(2))}), expected {pin}"
    )
    assert dialler.outgoing() == b""


@pytest.mark.parametrize("pin", [names.uid_of(public(2)), names.peer_id(public(2))])
def test_the_expected_node_is_accepted(pin: str) -> None:
    dialler, listener = make(1, dialler=True, expected=pin), make(2, dialler=False)
    converse(dialler, listener)
    assert dialler.bound is not None


def test_a_replayed_proof_is_refused() -> None:
    recorded_dialler = make(1, dialler=True)
    recorded_listener = make(2, dialler=False)
    first = recorded_dialler.outgoing()
    pass_on(first, recorded_listener)
    pass_on(recorded_listener.outgoing(), recorded_dialler)
    last = recorded_dialler.outgoing()
    listener = make(2, dialler=False, nonce=77)
    pass_on(first, listener)
    assert "did not prove that it holds its node key" in refused(listener, last)


def test_a_replayed_listener_is_refused() -> None:
    recorded_listener = make(2, dialler=False)
    pass_on(make(1, dialler=True).outgoing(), recorded_listener)
    dialler = make(1, dialler=True, nonce=78)
    dialler.outgoing()
    assert "did not prove" in refused(dialler, recorded_listener.outgoing())


def test_a_reflected_proof_is_refused() -> None:
    """The listener's proof sent back as the dialler's, by somebody who knows the dialler's hello only."""
    listener = make(2, dialler=False)
    pass_on(make(1, dialler=True).outgoing(), listener)
    _, proof = frames(listener.outgoing())
    assert "did not prove" in refused(listener, frame.pack(proof))


def test_a_proof_under_another_certificate_is_refused() -> None:
    dialler, listener = make(1, dialler=True), make(2, dialler=False, peer_leaf=b"stolen")
    pass_on(dialler.outgoing(), listener)
    assert "did not prove" in refused(dialler, listener.outgoing())


def test_what_signs_is_exactly_the_transcript() -> None:
    dialler, listener = make(1, dialler=True), make(2, dialler=False)
    first = dialler.outgoing()
    pass_on(first, listener)
    (_, hello_l), (_, proof_l) = frames(listener.outgoing())
    ((_, hello_d),) = frames(first)
    parts = [hello_d, hello_l, b"leaf 1", b"leaf 2"]
    signed = b"swarm/bind/1" + b"listener" + b"".join(hashlib.sha256(part).digest() for part in parts)
    key(2).public_key().verify(proof_l, signed)


def test_a_hello_can_be_refused_before_anything_is_proved() -> None:
    def check(_: object) -> None:
        raise IdentityError("known under another name")

    listener = make(2, dialler=False, check=check)
    assert refused(listener, make(1, dialler=True).outgoing()) == "known under another name"
    assert [message[0] for message in frames(listener.outgoing())] == ["hello"]


def old(_: object) -> None:
    raise Outdated("too old")


def test_who_refuses_a_hello_signs_that() -> None:
    dialler, listener = make(1, dialler=True, expected=names.uid_of(public(2))), make(2, dialler=False, check=old)
    refused(listener, dialler.outgoing())
    with pytest.raises(Outdated, match="too old") as caught:
        pass_on(listener.refusal(Outdated("too old")), dialler)
    assert not caught.value.unproved
    assert caught.value.said_by == names.uid_of(public(2))


@pytest.mark.parametrize("forged", ["no hello", "no signature", "other words", "another conversation"])
def test_a_refusal_that_is_not_signed_is_anybodys(forged: str) -> None:
    dialler, listener = make(1, dialler=True), make(2, dialler=False, check=old)
    refused(listener, make(1, dialler=True, nonce=7 if forged == "another conversation" else 1).outgoing())
    hello, (_, fields) = frames(listener.refusal(Outdated("too old")))
    if forged == "no signature":
        fields.pop("signature")
    if forged == "other words":
        fields["message"] = "far too old"
    if forged != "no hello":
        pass_on(frame.pack(hello), dialler)
    with pytest.raises(Outdated) as caught:
        pass_on(frame.pack(["refused", fields]), dialler)
    assert caught.value.unproved
    assert caught.value.said_by == ""


def test_a_refusal_is_told_to_the_other_side_as_the_same_class() -> None:
    dialler = make(1, dialler=True)
    dialler.outgoing()
    with pytest.raises(Refused, match=r"^the other of 1 refused this node: not today$") as caught:
        pass_on(refusal(Refused("not today", hint="come\x1b again")), dialler)
    assert caught.value.hint == "come? again"


@pytest.mark.parametrize(
    "message",
    [["proof", b"x" * 64], ["hello", b"x"], ["hello", msgpack.packb([1])], ["hello"], 7, {"hello": b""}, ["bye"]],
)
def test_another_step_than_the_next_is_refused(message: object) -> None:
    listener = make(2, dialler=False)
    text = refused(listener, frame.pack(message))
    assert "something else than the next step" in text or "malformed hello" in text


@pytest.mark.parametrize("rules", [0, -1, "2", 1.5, True])
def test_a_malformed_version_of_rules_is_refused(rules: object) -> None:
    assert "sent a malformed hello" in refused(make(2, dialler=False), hello(rules=rules))


def test_a_hello_may_say_more_than_this_release_knows_and_less_than_later_ones_say() -> None:
    listener = make(2, dialler=False)
    heard = []
    listener._check = heard.append
    pass_on(hello(rules=None, added_in_a_later_release=[1, {"a": 2}]), listener)
    assert [each.rules for each in heard] == [1]
    assert [message[0] for message in frames(listener.outgoing())] == ["hello", "proof"]


@pytest.mark.parametrize("field", ["network_id", "node_key", "uid", "incarnation", "nonce"])
@pytest.mark.parametrize("value", [None, 5, b"short"])
def test_a_malformed_hello_is_refused(field: str, value: object) -> None:
    assert "sent a malformed hello" in refused(make(2, dialler=False), hello(**{field: value}))


def test_a_second_hello_is_refused() -> None:
    listener = make(2, dialler=False)
    first = make(1, dialler=True).outgoing()
    pass_on(first, listener)
    assert "something else than the next step" in refused(listener, first)


def test_a_frame_over_4_kib_is_refused_by_its_header() -> None:
    assert "a frame of 4097 bytes received" in refused(make(2, dialler=False), (4097).to_bytes(4, "big"))


@given(st.binary(max_size=200))
def test_noise_never_binds(noise: bytes) -> None:
    listener = make(2, dialler=False)
    try:
        while len(noise) >= listener.need and listener.need:
            piece, noise = noise[: listener.need], noise[listener.need :]
            listener.feed(piece)
    except SwarmError:
        pass
    assert listener.bound is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_flipped_bit_passes(at: int, flip: int) -> None:
    dialler, listener = make(1, dialler=True), make(2, dialler=False)
    pass_on(dialler.outgoing(), listener)
    answer = bytearray(listener.outgoing())
    answer[at % len(answer)] ^= flip
    try:
        while answer and len(answer) >= dialler.need:
            piece, answer = answer[: dialler.need], answer[dialler.need :]
            dialler.feed(bytes(piece))
    except SwarmError:
        pass
    assert dialler.bound is None
