"""Proposals and entries on the wire: whose they are, and what is refused before it is decoded."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgpack
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from swarm.core.claims import Blank, Unverified, Verified
from swarm.core.ledger import Ledger
from swarm.core.names import uid_of
from swarm.core.ordering import NO_HASH
from swarm.errors import BadInput
from swarm.wire import signed
from swarm.wire.signed import decode_entry, decode_proposal, make_entry, sign_proposal, verify, verify_proposal
from swarm.wire.slotkey import Place, SlotKey

# Tests make their certificates when they run, minutes after this line in a long suite: the entries come after that.
NOW_MS = int((datetime.now(UTC) + timedelta(hours=2)).timestamp() * 1000)


def der(path):
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


@dataclass
class Author:
    """A process with real keys."""

    role: str
    files: tuple
    seed: bytes
    starts: int = 1
    seq: int = 0
    node_key: Ed25519PrivateKey = field(init=False)

    def __post_init__(self):
        self.node_key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(self.seed).digest())

    @property
    def public(self):
        return self.node_key.public_key().public_bytes_raw()

    @property
    def uid(self):
        return uid_of(self.public)

    @property
    def incarnation(self):
        return self.starts.to_bytes(8, "big") + b"random.."

    @property
    def certificate_key(self):
        return load_pem_private_key(self.files[1].read_bytes(), password=None)

    def joined(self):
        return {
            "chain": [der(self.files[0])],
            "node_key": self.public,
            "role": self.role,
            "addresses": ["127.0.0.1:30303"],
            "incarnation": self.incarnation,
        }

    def sign(self, ledger, kind, body, **changes):
        self.seq += 1
        introduces = kind in ("NodeJoined", "Genesis")
        fields = {
            "network_id": ledger.network_id,
            "uid": self.uid,
            "incarnation": self.incarnation,
            "seq": self.seq,
            "kind": kind,
            "body": body,
            "certificate_key": self.certificate_key if introduces else None,
        }
        return sign_proposal(self.node_key, **{**fields, **changes})


class Network:
    """A ledger that its sentinel has just begun."""

    def __init__(self, ours, *others):
        self.ledger = Ledger()
        self.sentinel = Author("sn", (ours.cert("sn"), ours.key("sn")), b"sentinel")
        anchors = [der(each.ca_cert) for each in (ours, *others)]
        body = {"rules": 1, "anchors": anchors, "joined": self.sentinel.joined(), "created": NOW_MS}
        self.genesis = self.take(self.sentinel.sign(self.ledger, "Genesis", body))

    def take(self, proposal, time_ms=NOW_MS):
        ledger = self.ledger
        entry = make_entry(ledger.head_index + 1, 1, max(time_ms, ledger.time), ledger.head_hash, proposal)
        assert decode_entry(entry.raw) == entry
        return ledger.apply(entry.header, verify(entry, ledger)).outcome

    def join(self, author, time_ms=NOW_MS):
        return self.take(author.sign(self.ledger, "NodeJoined", author.joined()), time_ms)


@pytest.fixture
def ours(organisation):
    return organisation("a")


@pytest.fixture
def network(ours):
    return Network(ours)


@pytest.fixture
def learner(ours):
    return Author("sl", (ours.cert("sl"), ours.key("sl")), b"learner")


# ---- joining


def test_the_sentinels_genesis_begins_the_network_and_names_it(network):
    assert network.genesis.accepted, network.genesis.reason
    assert network.ledger.network_id == network.ledger.head_hash
    assert network.ledger.nodes[network.sentinel.uid].identity.role == "sn"


@pytest.mark.parametrize("key_type", ["ed25519", "p256", "rsa"])
def test_every_key_type_signs_a_joining(organisation, key_type):
    theirs = organisation("b", key_type=key_type)
    network = Network(theirs)
    outcome = network.join(Author("sl", (theirs.cert("sl"), theirs.key("sl")), b"x"))
    assert outcome.accepted, outcome.reason


def test_an_unknown_anchor_is_told_the_command_and_may_join_after_it(organisation, ours, network):
    theirs = organisation("b")
    stranger = Author("sl", (theirs.cert("sl"), theirs.key("sl")), b"stranger")
    raw = stranger.sign(network.ledger, "NodeJoined", stranger.joined())
    outcome = network.take(raw)
    assert (outcome.accepted, outcome.code) == (False, 3)
    assert "belongs to no organisation that this network has admitted" in outcome.reason
    assert outcome.hint.endswith("swarm org admit CA.pem")
    person = Author("swci", (ours.cert("swci"), ours.key("swci")), b"person")
    assert network.join(person).accepted
    admit = person.sign(network.ledger, "OrganisationAdmitted", {"ca": der(theirs.ca_cert)})
    assert network.take(admit).result == {"organisation": "b", "known": False}
    outcome = network.take(raw)
    assert outcome.accepted, outcome.reason


def test_validity_is_judged_by_the_entrys_time(ours, network, learner):
    year_ms = 366 * 86_400_000
    outcome = network.join(learner, NOW_MS + year_ms)
    assert "expired on" in outcome.reason
    assert learner.uid not in network.ledger.nodes


def test_a_joining_needs_both_signatures(network, learner, ours):
    thief = Author("sl", (ours.cert("sl"), ours.key("swop")), b"thief")
    assert "is not signed with the key of the certificate CN=SL-1" in network.join(thief).reason
    raw = learner.sign(network.ledger, "NodeJoined", learner.joined())
    header, payload, _, by_certificate = msgpack.unpackb(raw)
    forged = msgpack.packb([header, payload, bytes(64), by_certificate])
    assert "is not signed with the node key of" in network.take(forged).reason


def test_the_uid_is_that_of_the_node_key(network, learner):
    raw = learner.sign(network.ledger, "NodeJoined", learner.joined(), uid=network.sentinel.uid)
    assert "lacks the certificate or the node key of" in network.take(raw).reason


def test_a_role_that_the_certificate_does_not_give_is_refused(network, learner):
    body = {**learner.joined(), "role": "sn"}
    assert "its certificate says sl" in network.take(learner.sign(network.ledger, "NodeJoined", body)).reason


def test_a_node_key_joins_under_one_identity_only(ours, network, learner):
    assert network.join(learner).accepted
    other = Author("swop", (ours.cert("swop"), ours.key("swop")), b"learner", starts=2)
    outcome = network.join(other)
    assert (outcome.code, outcome.accepted) == (3, False)
    assert "is known as that of swarm://a/sl/" in outcome.reason


def test_a_renewed_certificate_of_the_same_name_joins_again(ours, network, learner):
    assert network.join(learner).accepted
    name = network.ledger.nodes[learner.uid].identity.name
    learner.files = ours.leaf("sl", name, days=1)
    assert network.join(learner).accepted


def test_who_joins_a_slot_holds_the_key_that_it_names(network, learner):
    network.ledger.rules.begin(3)
    network.ledger.nodes[network.sentinel.uid].rules = 3
    joined = {**learner.joined(), "rules": 3}
    assert network.take(learner.sign(network.ledger, "NodeJoined", joined)).accepted
    key = SlotKey.of(b"a secret of this host", network.ledger.network_id, "digits")
    place = Place(network.ledger.network_id, "digits", "trainer", learner.uid, learner.incarnation)
    body = {"task": "digits", "role": "trainer", "key": key.public, "proof": key.prove(place)}
    good = network.take(learner.sign(network.ledger, "SlotJoined", body))
    assert good.reason.startswith("there is no task digits"), "it is the ledger that refuses it"
    seen = {**body, "role": "coach"}
    outcome = network.take(learner.sign(network.ledger, "SlotJoined", seen))
    assert (outcome.code, outcome.accepted) == (3, False)
    assert "names a key that its author" in outcome.reason


# ---- signatures


def test_a_known_nodes_proposals_are_signed_by_its_node_key(network, learner):
    network.join(learner)
    good = learner.sign(network.ledger, "NodeLeft", {})
    claim = verify_proposal(good, network.ledger, NOW_MS)
    assert isinstance(claim, Verified)
    assert (claim.uid, claim.kind, claim.seq, claim.body) == (learner.uid, "NodeLeft", 2, {})
    other = Author("sl", learner.files, b"other")
    forged = other.sign(network.ledger, "NodeLeft", {}, uid=learner.uid)
    claim = verify_proposal(forged, network.ledger, NOW_MS)
    assert isinstance(claim, Unverified)
    assert claim.reason == f"this NodeLeft is not signed with the node key of {learner.uid}, which it names"


def test_every_bit_of_header_and_payload_is_signed(network, learner):
    network.join(learner)
    raw = learner.sign(network.ledger, "Leave", {"contract": "digits", "reason": "done"})
    parts = msgpack.unpackb(raw)
    for part in range(2):
        for position in range(len(parts[part])):
            changed = bytearray(parts[part])
            changed[position] ^= 1
            mutated = msgpack.packb([*parts[:part], bytes(changed), *parts[part + 1 :]])
            assert isinstance(verify_proposal(mutated, network.ledger, NOW_MS), Unverified)


def test_a_body_is_not_decoded_before_its_signature_is_good(network, learner, monkeypatch):
    network.join(learner)
    decoded = []
    monkeypatch.setattr(signed, "_body", lambda envelope: decoded.append(envelope) or {})
    forged = Author("sl", learner.files, b"other").sign(network.ledger, "NodeLeft", {}, uid=learner.uid)
    verify_proposal(forged, network.ledger, NOW_MS)
    thief = Author("sl", (learner.files[0], network.sentinel.files[1]), b"thief")
    verify_proposal(thief.sign(network.ledger, "NodeJoined", thief.joined()), network.ledger, NOW_MS)
    assert decoded == []
    verify_proposal(learner.sign(network.ledger, "NodeLeft", {}), network.ledger, NOW_MS)
    assert len(decoded) == 1


def test_a_body_that_nests_too_deep_is_nobodys(network, learner, monkeypatch):
    network.join(learner)
    monkeypatch.setattr(signed, "check_body", lambda kind, body: None)
    nested = []
    for _ in range(900):
        nested = [nested]
    for body in ({"contract": nested}, {"contract": "digits", "options": {"mergeMethod": nested}}):
        outcome = network.take(learner.sign(network.ledger, "Enrolled", body))
        assert "the body of a Enrolled that cannot be read" in outcome.reason


def test_another_spelling_of_the_signatures_is_the_same_proposal(network, learner):
    network.join(learner)
    raw = learner.sign(network.ledger, "NodeLeft", {})
    header, payload, node_signature, nothing = msgpack.unpackb(raw)
    wide = b"\xdd\0\0\0\4" + b"".join(map(msgpack.packb, (header, payload, node_signature, nothing)))
    assert wide != raw
    first = network.take(raw)
    assert network.take(wide) == first


def test_a_proposal_of_nobody_is_not_recorded(network, learner):
    outcome = network.take(learner.sign(network.ledger, "NodeLeft", {}))
    assert "has not joined this network" in outcome.reason
    assert learner.uid not in network.ledger.nodes


def test_r044_a_learning_nodes_reset_of_a_contract_is_refused_with_its_signature_good(network, learner):
    network.join(learner)
    outcome = network.take(learner.sign(network.ledger, "ContractReset", {"contract": "digits"}))
    assert (outcome.accepted, outcome.code) == (False, 5)
    assert "may not propose ContractReset: only the role swci may" in outcome.reason


# ---- bytes


def test_proposals_survive_the_wire(network, learner):
    raw = learner.sign(network.ledger, "NodeJoined", learner.joined())
    proposal = decode_proposal(raw)
    assert proposal.body == learner.joined()
    assert (proposal.uid, proposal.incarnation, proposal.seq) == (learner.uid, learner.incarnation, 1)
    genesis = {"rules": 1, "anchors": [b"x"], "joined": learner.joined(), "created": 1}
    assert decode_proposal(learner.sign(network.ledger, "Genesis", genesis)).body == genesis


def test_a_body_that_does_not_fit_is_not_signed(network, learner):
    with pytest.raises(BadInput, match="the field 'reason' is missing"):
        learner.sign(network.ledger, "Leave", {"contract": "digits"})


def test_a_proposal_over_the_cap_is_neither_made_nor_read(network, learner):
    many = [[f"layer-{number}/kernel", "float32", [1000, 1000]] for number in range(10_000)]
    body = {
        "contract": "digits", "schema": many, "hash": "blake3", "initial_base": "blake3:" + "0" * 64, "options": {},
        "weight": 1, "syncFrequency": 1, "data_address": "127.0.0.1:1",
    }  # fmt: skip
    with pytest.raises(BadInput, match="at most 262144"):
        learner.sign(network.ledger, "Enrolled", body)
    claim = verify_proposal(b"x" * (signed.PROPOSAL_MAX + 1), network.ledger, NOW_MS)
    assert isinstance(claim, Unverified)
    assert "at most 262144" in claim.reason


def test_entries_have_one_spelling_and_carry_their_hash():
    entry = make_entry(3, 2, NOW_MS, b"h" * 32, b"proposal")
    assert decode_entry(entry.raw) == entry
    assert entry.header.hash == entry.hash
    wide = b"\xdc\0\6" + entry.raw[1:]
    with pytest.raises(BadInput, match="canonical"):
        decode_entry(wide)
    for damaged in (b"", entry.raw[:-1], entry.raw + b"x", msgpack.packb([1, 2, 3])):
        with pytest.raises(BadInput, match="cannot be read"):
            decode_entry(damaged)
    with pytest.raises(BadInput, match="version 2"):
        decode_entry(msgpack.packb([2, 1, 1, 1, NO_HASH, b""]))


@pytest.mark.parametrize(
    "fields",
    [[1, 0, 1, 1, NO_HASH, b""], [1, 1, -1, 1, NO_HASH, b""], [1, 1, 1, 10**15, NO_HASH, b""], [1, 1, 1, 1, b"", b""]],
)
def test_entries_out_of_range_are_refused(fields):
    with pytest.raises(BadInput, match="an entry with"):
        decode_entry(msgpack.packb(fields))


def test_an_entry_without_a_proposal_is_blank():
    assert verify(make_entry(1, 1, NOW_MS, NO_HASH, b""), Ledger()) == Blank()


@given(st.binary(max_size=300))
def test_random_bytes_are_nobodys_and_never_a_crash(raw):
    assert isinstance(verify_proposal(raw, Ledger(), NOW_MS), Blank if not raw else Unverified)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(PLAIN, min_size=3, max_size=5), PLAIN)
def test_well_formed_nonsense_is_nobodys_and_never_a_crash(envelope, header):
    for parts in (envelope, [msgpack.packb(header), b"", b"", b""], [msgpack.packb(envelope), b"x", b"", b""]):
        assert isinstance(verify_proposal(msgpack.packb(parts), Ledger(), NOW_MS), Unverified)
