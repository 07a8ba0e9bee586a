"""The ledger: exactly once, incarnations, rights, and a state that follows from the entries alone."""

import copy
import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from swarm.core import node
from swarm.core.claims import Blank, EntryHeader, Unverified
from swarm.core.events import NodeGone, NodeKnown, OrganisationKnown
from swarm.core.kinds import FIELDS, check_body
from swarm.core.ledger import Ledger
from swarm.core.node import FORGETTING, WINDOW
from swarm.core.policy import RULES
from swarm.errors import BadInput, Refused
from tests.core.scene import CONTRACT, Actor, Scene, anchored, digest, restored


def rest(ledger):
    """The state without head and recorded outcomes: what an invalid entry may not touch."""
    state = copy.deepcopy(ledger.snapshot())
    state["head"] = state["nodes"] = []
    return state, [
        (uid, str(node.identity), node.state, node.incarnation) for uid, node in sorted(ledger.nodes.items())
    ]


# ---- exactly once


def test_the_same_bytes_again_give_the_recorded_outcome_and_no_effect():
    scene = Scene()
    actor, _ = scene.learners(2)
    claim = scene.claim(actor, "Offer", scene.offer_body(actor))
    first = scene.take(claim)
    again = scene.take(claim)
    assert first.outcome == again.outcome
    assert first.events
    assert again.events == ()
    assert scene.ledger.outcome_of(actor.uid, actor.incarnation, actor.seq) == first.outcome


def test_what_never_came_is_told_from_what_is_recorded_no_longer():
    scene = Scene()
    actor, _ = scene.learners(2)
    scene.offer(actor)
    where = actor.uid, actor.incarnation
    assert [scene.ledger.lacks(*where, seq) for seq in (1, actor.seq, actor.seq + 1)] == [False, False, True]
    assert not scene.ledger.lacks(actor.uid, b"another", actor.seq + 1), "of which this ledger cannot tell"
    assert scene.ledger.lacks("a stranger", actor.incarnation, 1)


def test_a_refusal_is_recorded_too():
    scene = Scene()
    actor, _ = scene.learners(2)
    outcome = scene.offer(actor, round=7)
    assert not outcome.accepted
    assert scene.ledger.outcome_of(actor.uid, actor.incarnation, actor.seq) == outcome
    error = outcome.error()
    assert isinstance(error, Refused)
    assert error.message == outcome.reason


def test_other_bytes_with_the_same_seq_are_refused_and_the_record_stays():
    scene = Scene()
    actor, _ = scene.learners(2)
    scene.offer(actor)
    record = scene.ledger.outcome_of(actor.uid, actor.incarnation, actor.seq)
    actor.seq -= 1
    outcome = scene.say(actor, "Leave", {"contract": CONTRACT, "reason": ""})
    assert not outcome.accepted
    assert "for another proposal already" in outcome.reason
    assert scene.ledger.outcome_of(actor.uid, actor.incarnation, actor.seq) == record


def test_seqs_may_come_out_of_order_within_the_window_and_not_below_it():
    scene = Scene()
    (actor,) = scene.learners(1, minPeers=1)
    early = scene.claim(actor, "Leave", {"contract": CONTRACT, "reason": "early"})
    actor.seq += WINDOW - 1
    late = scene.claim(actor, "Missing", {"contract": CONTRACT, "digest": digest("x")})
    scene.take(late)
    outcome = scene.take(early).outcome
    assert f"older than its last {WINDOW}" in outcome.reason
    within = replace(late, seq=late.seq - WINDOW + 1, kind="Leave", body=early.body, digest=b"within")
    assert scene.take(within).outcome.accepted


def test_records_of_the_incarnation_before_stay_and_new_proposals_of_it_are_refused():
    scene = Scene()
    actor, _ = scene.learners(2)
    done = scene.claim(actor, "Offer", scene.offer_body(actor))
    outcome = scene.take(done).outcome
    under_way = scene.claim(actor, "Leave", {"contract": CONTRACT, "reason": ""})
    before = actor.incarnation
    actor.restart()
    assert scene.join(actor).accepted
    assert scene.ledger.outcome_of(actor.uid, before, done.seq) == outcome
    assert scene.take(done).outcome == outcome
    assert "ended incarnation" in scene.take(under_way).outcome.reason
    assert scene.ledger.outcome_of(actor.uid, before, under_way.seq) is None
    actor.restart()
    scene.join(actor)
    assert scene.ledger.outcome_of(actor.uid, before, done.seq) is None
    assert "ended incarnation" in scene.take(done).outcome.reason


@pytest.mark.parametrize("version", [FORGETTING - 1, FORGETTING])
def test_outcomes_of_a_node_long_gone_are_forgotten_and_none_of_its_proposals_counts_twice(version, monkeypatch):
    monkeypatch.setattr(node, "KEPT", 10)
    scene = Scene(rules=version)
    gone, here = scene.learners(2)
    claim = scene.claim(gone, "Offer", scene.offer_body(gone))
    outcome = scene.take(claim).outcome
    scene.say(here, "Missing", {"contract": CONTRACT, "digest": digest("x")})
    assert scene.lose(gone).accepted
    for number in range(3, 12):
        kept = scene.ledger.head_index + 1 < outcome.index + 10 or version < FORGETTING
        assert scene.join(Actor("sl", f"sl-{number}")).accepted
        assert scene.ledger.outcome_of(gone.uid, gone.incarnation, claim.seq) == (outcome if kept else None)
        assert scene.ledger.outcome_of(here.uid, here.incarnation, here.seq) is not None
        state = scene.ledger.snapshot()
        assert Ledger.restore(state).snapshot() == state
    if version == FORGETTING:
        assert "before it was gone for 10 entries" in scene.take(claim).outcome.reason
    else:
        assert scene.take(claim).outcome == outcome
    assert scene.ledger.nodes[gone.uid].lost
    assert scene.join(gone).accepted
    assert scene.ledger.nodes[gone.uid].state == "live"


def test_a_proposal_for_another_network_is_refused():
    scene = Scene()
    actor, _ = scene.learners(2)
    claim = replace(scene.claim(actor, "Offer", scene.offer_body(actor)), network_id=b"x" * 32)
    assert scene.take(claim).outcome.reason == "this Offer is for another network"


def test_unverified_and_blank_entries_change_nothing_but_the_head():
    scene = Scene()
    scene.learners(2)
    before = rest(scene.ledger)
    outcome = scene.take(Unverified("nobody signed this", "sign it", 3)).outcome
    assert (outcome.accepted, outcome.code, outcome.reason, outcome.hint) == (False, 3, "nobody signed this", "sign it")
    assert scene.take(Blank()).outcome.accepted
    assert rest(scene.ledger) == before


# ---- nodes and organisations


def test_genesis_makes_the_network_once():
    scene = Scene()
    assert scene.ledger.network_id == scene.ledger.head_hash
    known = [event.label for event in scene.events if isinstance(event, OrganisationKnown)]
    assert sorted(known) == ["a", "b"]
    assert isinstance(scene.events[-1], NodeKnown)
    body = {"rules": 1, "anchors": [b"x"], "joined": scene.joined(scene.sn), "created": 0}
    assert "there is one Genesis" in scene.say(scene.sn, "Genesis", body).reason


def test_a_node_key_known_under_another_identity_is_refused():
    scene = Scene()
    actor, _ = scene.learners(2)
    thief = Actor("sl", "sl-7", "b")
    thief.node_key, thief.uid, thief.starts = actor.node_key, actor.uid, 2
    outcome = scene.join(thief)
    assert (outcome.accepted, outcome.code) == (False, 3)
    assert outcome.reason == "the node key of swarm://b/sl/sl-7 is known as that of swarm://b/sl/sl-1"
    assert scene.ledger.nodes[actor.uid].incarnation == actor.incarnation


def test_an_incarnation_of_a_copied_or_restored_directory_is_refused():
    scene = Scene()
    actor, _ = scene.learners(2)
    actor.restart()
    scene.join(actor)
    actor.starts, actor.seq = 1, 50
    assert "joins with start number 1 of its state directory, the network knows 2" in scene.join(actor).reason
    actor.starts = 2
    copied = scene.claim(
        actor, "NodeJoined", {**scene.joined(actor), "incarnation": actor.incarnation[:8] + b"otherrnd"}
    )
    copied = replace(copied, incarnation=copied.body["incarnation"])
    assert "the directory was copied or restored" in scene.take(copied).outcome.reason


def test_joining_again_renews_the_addresses_and_brings_a_lost_node_back():
    scene = Scene()
    actor, _ = scene.learners(2)
    scene.lose(actor)
    assert scene.ledger.nodes[actor.uid].lost
    (event,) = scene.told(actor, "NodeJoined", {**scene.joined(actor), "addresses": ["10.0.0.1:30305"]})
    assert event == NodeKnown(actor.uid, "back")
    assert scene.ledger.nodes[actor.uid].addresses == ("10.0.0.1:30305",)
    assert scene.contract.members[actor.uid].state == "dropped"


def test_node_lost_means_one_incarnation_and_a_live_node():
    scene = Scene()
    actor, _ = scene.learners(2)
    old = {"uid": actor.uid, "incarnation": actor.incarnation, "reason": "silent"}
    actor.restart()
    scene.join(actor)
    assert "it is not live in that incarnation" in scene.say(scene.sn, "NodeLost", old).reason
    assert scene.lose(actor).accepted
    assert not scene.lose(actor).accepted


def test_a_node_that_left_says_nothing_until_it_joins_again():
    scene = Scene()
    actor, _ = scene.learners(2)
    events = scene.told(actor, "NodeLeft")
    assert isinstance(events[0], NodeGone)
    assert "and has left this network" in scene.offer(actor).reason
    assert scene.join(actor).accepted
    assert scene.enrol(actor).accepted


def test_an_organisation_is_admitted_by_a_swci_of_the_sentinels_only():
    scene = Scene()
    ours, theirs = Actor("swci", "swci-1", "a"), Actor("swci", "swci-1", "b")
    scene.join(ours)
    scene.join(theirs)
    body = {"ca": anchored("c").certificate}
    refused = scene.say(theirs, "OrganisationAdmitted", body)
    assert refused.reason.endswith("only a swci of the sentinel's organisation a may")
    assert scene.say(ours, "OrganisationAdmitted", body).result == {"organisation": "c", "known": False}
    assert scene.say(ours, "OrganisationAdmitted", body).result == {"organisation": "c", "known": True}


def test_two_organisations_of_one_name_get_labels_with_their_keys():
    scene = Scene(["a"])
    person = Actor("swci", "swci-1")
    scene.join(person)
    claim = scene.claim(person, "OrganisationAdmitted", {"ca": b"CA of a2"})
    twin = replace(anchored("a2"), name="a")
    label = scene.take(replace(claim, anchors=(twin,))).outcome.result["organisation"]
    assert label == f"a#{twin.spki_sha256.hex()[:8]}"
    actor = Actor("sl", "sl-1")
    scene.join(actor)
    outcome = scene.enrol(actor, organisations=["a"])
    assert outcome.reason == "two organisations are named a"
    assert twin.spki_sha256.hex() in outcome.hint


# ---- rights


BODIES = {
    "OrganisationAdmitted": {"ca": b"CA of c"},
    "NodeLost": {"uid": "00000000-0000-0000-0000-000000000000", "incarnation": b"x" * 16, "reason": ""},
    "WindowClosed": {"contract": CONTRACT, "round": 0},
    "DeadlinePassed": {"contract": CONTRACT, "round": 0, "attempt": 0},
    "ContractReset": {"contract": CONTRACT},
    "ContractRebased": {"contract": CONTRACT, "digest": digest("x")},
}


@pytest.mark.parametrize("kind", sorted(BODIES))
def test_r044_a_learning_node_may_not_author_kinds_of_others(kind):
    scene = Scene()
    actor, _ = scene.learners(2)
    before = rest(scene.ledger)
    outcome = scene.say(actor, kind, BODIES[kind])
    assert (outcome.accepted, outcome.code) == (False, 5)
    assert outcome.reason.startswith(f"swarm://b/sl/sl-1 may not propose {kind}: only the role ")
    assert rest(scene.ledger) == before


def test_only_learning_nodes_take_part_in_rounds():
    scene = Scene()
    actor, _ = scene.learners(2)
    bodies = {
        "Offer": scene.offer_body(actor),
        "Ready": scene.where(digest=digest("x")),
        "Suspect": scene.where(uid=actor.uid, reason=""),
    }
    for kind, body in bodies.items():
        assert "only the role sl may" in scene.say(scene.sn, kind, body).reason


def test_every_kind_has_its_fields_and_its_right():
    assert set(FIELDS) <= set(RULES)
    for kind, fields in FIELDS.items():
        if any(field.required for field in fields.values()):
            with pytest.raises(BadInput, match="is missing"):
                check_body(kind, {})


def test_unknown_kinds_are_refused_and_recorded():
    scene = Scene()
    actor, _ = scene.learners(2)
    for kind in ("DatasetNamed", "status"):
        outcome = scene.say(actor, kind, {})
        assert f"kind '{kind}', which rules version 1 of the ledger does not have" in outcome.reason
        assert scene.ledger.outcome_of(actor.uid, actor.incarnation, actor.seq) == outcome


@pytest.mark.parametrize("value", [None, True, -1, 2**60, 1.5, "1", [1], {}, b"1"])
def test_a_field_of_another_type_is_refused_never_a_crash(value):
    scene = Scene()
    actor, _ = scene.learners(2)
    for kind, fields in FIELDS.items():
        if kind not in ("NodeJoined", "Genesis") and fields:
            assert not scene.say(actor, kind, dict.fromkeys(fields, value)).accepted


# ---- the state follows from the entries


def replayed(scene):
    ledger = Ledger()
    for header, claim in scene.log:
        ledger.apply(header, claim)
    return ledger


class Interleavings(RuleBasedStateMachine):
    """Anybody says anything at any moment; `Scene` checks the invariants after every entry."""

    @initialize(
        count=st.integers(1, 5),
        peers=st.integers(1, 3),
        topology=st.sampled_from(["auto", "sharded"]),
        commitments=st.sampled_from(["result", "result", "full"]),
    )
    def begin(self, count, peers, topology, commitments):
        self.scene = Scene()
        self.options = {"minPeers": peers, "topology": topology, "commitments": commitments}
        self.actors = self.scene.learners(count, **self.options)
        self.person = Actor("swci", "swci-1")
        self.scene.join(self.person)

    def anybody(self, number):
        return self.actors[number % len(self.actors)]

    @rule(
        number=st.integers(0, 4),
        stop=st.sampled_from([False] * 7 + [True]),
        inactive=st.booleans(),
        more=st.sampled_from(
            [
                {},
                {"root": b"r" * 32},
                {"root": b"s" * 32, "rates": {"up": 1, "down": 9}},
                {"rates": {"up": 5, "down": 5}},
            ]
        ),
    )
    def offer(self, number, stop, inactive, more):
        self.scene.offer(self.anybody(number), stop=stop, inactive=inactive, **more)

    @rule()
    def everybody_offers(self):
        for actor in self.actors:
            self.scene.enrol(actor, **self.options)
            self.scene.offer(actor, root=b"r" * 32)

    @rule()
    def everybody_is_ready(self):
        for actor in self.actors:
            self.scene.ready(actor)

    @rule(number=st.integers(0, 4), result=st.sampled_from(["merged"] * 9 + ["other"]))
    def ready(self, number, result):
        shards = [result[:1].encode() * 32] * len(self.scene.contract.snap.shards) if self.scene.contract.snap else []
        self.scene.ready(self.anybody(number), result, shards=shards)

    @rule(
        number=st.integers(0, 4), owner=st.integers(0, 4), digests=st.lists(st.sampled_from([b"m", b"o"]), min_size=1)
    )
    def show(self, number, owner, digests):
        dispute = self.scene.contract.dispute
        place = {"round": dispute.round, "attempt": dispute.attempt, "snap": dispute.snap} if dispute else {}
        shown = [digest * 32 for digest in digests]
        self.scene.show(self.anybody(number), self.anybody(owner), *shown, **place)

    @rule()
    def rebase(self):
        self.scene.say(self.person, "ContractRebased", {"contract": CONTRACT, "digest": self.scene.contract.base})

    @rule(number=st.integers(0, 4), accused=st.integers(0, 4))
    def suspect(self, number, accused):
        self.scene.suspect(self.anybody(number), self.anybody(accused))

    @rule(number=st.integers(0, 4))
    def lose(self, number):
        self.scene.lose(self.anybody(number))

    @rule(number=st.integers(0, 4))
    def leave(self, number):
        self.scene.say(self.anybody(number), "Leave", {"contract": CONTRACT, "reason": ""})

    @rule(number=st.integers(0, 4), enrol=st.booleans())
    def restart(self, number, enrol):
        actor = self.anybody(number)
        actor.restart()
        self.scene.join(actor)
        if enrol:
            self.scene.enrol(actor, **self.options)

    @rule(number=st.integers(0, 4))
    def enrol(self, number):
        self.scene.enrol(self.anybody(number), **self.options)

    @rule()
    def close_window(self):
        self.scene.close_window()

    @rule(fewest=st.booleans())
    def pass_deadline(self, fewest):
        self.scene.pass_deadline(fewest=fewest)

    @rule(number=st.integers(0, 4), newest=st.booleans())
    def missing(self, number, newest):
        kept = list(self.scene.contract.kept)
        what = kept[-1 if newest else 0].digest if kept else digest("x")
        self.scene.say(self.anybody(number), "Missing", {"contract": CONTRACT, "digest": what})

    @rule(back=st.integers(0, 40))
    def retry(self, back):
        """The same bytes once more, with whatever has happened since."""
        _, claim = self.scene.log[max(1, len(self.scene.log) - 1 - back)]
        recorded = self.scene.ledger.outcome_of_same(claim)
        before = rest(self.scene.ledger)
        applied = self.scene.take(claim)
        assert applied.events == ()
        assert rest(self.scene.ledger) == before
        assert recorded is None or applied.outcome == recorded

    @rule()
    def restore(self):
        """A node that starts from a snapshot goes on as the same state."""
        self.scene.ledger = restored(self.scene.ledger)

    def teardown(self):
        if hasattr(self, "scene"):
            assert replayed(self.scene).digest() == self.scene.ledger.digest()


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_refused_entries_change_only_outcomes():
    seed = 7
    print(f"seed {seed}")
    chance = random.Random(seed)
    scene = Scene()
    actors = scene.learners(3)
    for _ in range(300):
        actor, other = chance.choice(actors), chance.choice(actors)
        acts = [
            lambda a=actor: scene.offer(a, stop=chance.random() < 0.05),
            lambda a=actor: scene.ready(a),
            lambda a=actor, b=other: scene.suspect(a, b),
            lambda a=actor: scene.enrol(a, minPeers=3),
            lambda a=actor: scene.offer(a, round=chance.randrange(3)),
            lambda a=actor: scene.say(a, "WindowClosed", BODIES["WindowClosed"]),
            scene.close_window,
            scene.pass_deadline,
        ]
        before, events = rest(scene.ledger), len(scene.events)
        outcome = chance.choice(acts)()
        if not outcome.accepted:
            assert rest(scene.ledger) == before, outcome.reason
            assert len(scene.events) == events


def test_a_leader_that_sets_the_time_back_ends_nobody():
    scene = Scene()
    scene.join(Actor("sl", "sl-1"))
    ledger, before_ms = scene.ledger, scene.ledger.time
    header = EntryHeader(ledger.head_index + 1, 1, before_ms - 1, ledger.head_hash, bytes(32))
    assert ledger.apply(header, Blank()).outcome.accepted
    assert ledger.time == before_ms
