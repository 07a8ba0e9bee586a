"""Signatures under snapshots: whose they are, also when the ledger that says so came from somebody."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.ledger import Ledger
from swarm.core.names import Identity, uid_of
from swarm.core.node import Node, Outcomes
from swarm.wire.cosigning import is_majority, sign_point, signers, vouched

VOTER, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
POINT = (7, 1, b"h" * 32, "sha256:" + "0" * 64)


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


UID = uid_of(public(VOTER))


def ledger(key: Ed25519PrivateKey) -> Ledger:
    """One that says that this is the voter's key."""
    made = Ledger()
    made.network_id = b"n" * 32
    made.nodes[UID] = Node(Identity("org-a", bytes(32), "sn", "sn-1"), public(key), (), Outcomes(b""))
    return made


def test_a_voters_signature_counts():
    here = ledger(VOTER)
    assert signers(here, POINT, {UID: sign_point(VOTER, here.network_id, POINT)}) == (UID,)
    assert not signers(here, POINT, {UID: sign_point(OTHER, here.network_id, POINT)})
    assert not signers(here, POINT, {UID: sign_point(VOTER, b"o" * 32, POINT)})


def test_a_state_that_gives_the_voters_another_key_is_signed_by_none_of_them():
    forged = ledger(OTHER)
    signed = signers(forged, POINT, {UID: sign_point(OTHER, forged.network_id, POINT)})
    assert not is_majority(signed, (UID,))


def test_only_most_of_the_voters_that_the_own_ledger_has_admitted_vouch_for_a_state():
    here = ledger(VOTER)
    good = {UID: sign_point(VOTER, here.network_id, POINT)}
    invented = {uid_of(public(OTHER)): sign_point(OTHER, here.network_id, POINT)}

    def by(own: Ledger, voters: tuple[str, ...], signatures: dict[str, bytes]) -> bool:
        own.voting.uids = voters
        return vouched(own, everybody, (), POINT, signatures)

    everybody = ledger(VOTER)
    newcomer = Node(Identity("org-b", bytes(32), "sn", "sn-2"), public(OTHER), (), Outcomes(b""))
    everybody.nodes[uid_of(public(OTHER))] = newcomer
    assert by(here, (UID,), good)
    assert by(here, (UID,), {**invented, **good})
    assert not by(here, (UID,), invented)
    assert not by(here, (UID,), {UID: sign_point(OTHER, here.network_id, POINT)})
    two = *invented, UID
    assert not by(here, two, {**invented, **good}), "one of two, whatever a stranger signs"
    here.nodes[two[0]] = newcomer
    assert by(here, two, {**invented, **good})
    assert not by(here, ("another",), {**invented, **good}), "who does not vote has no say"
    here.nodes[UID].state = "removed"
    assert not by(here, (UID,), good), "its word ended with its place"
    learner = ledger(VOTER)
    learner.nodes[UID].identity = Identity("org-a", bytes(32), "sl", "sl-1")
    assert not by(learner, (UID,), good)


def test_who_decides_since_a_recovery_vouches_also_for_who_has_never_heard_of_it():
    here, theirs = ledger(VOTER), ledger(VOTER)
    promoted = uid_of(public(OTHER))
    theirs.nodes[promoted] = Node(Identity("org-b", bytes(32), "sn", "sn-2"), public(OTHER), (), Outcomes(b""))
    here.voting.uids = (UID,)
    signed = {promoted: sign_point(OTHER, here.network_id, POINT)}
    assert vouched(here, theirs, (promoted,), POINT, signed)
    assert not vouched(here, theirs, (), POINT, signed), "nobody has judged a recovery"
    assert not vouched(here, theirs, (promoted,), POINT, {UID: sign_point(VOTER, here.network_id, POINT)})
    theirs.nodes[promoted].node_key = public(VOTER)
    forged = {promoted: sign_point(VOTER, here.network_id, POINT)}
    assert not vouched(here, theirs, (promoted,), POINT, forged), "a uid is made of its key"
