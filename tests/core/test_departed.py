"""Rows of nodes that are long gone do not stay for ever, and nothing that such a node has signed counts again."""

import random

import pytest

from swarm.core import departed, node
from swarm.core.departed import SINCE
from swarm.core.ledger import Ledger
from swarm.core.roles import Role
from tests.core.rolescene import RoleScene
from tests.core.scene import CONTRACT, Actor, Scene, restored

MOST, KEPT = 6, 8


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(departed, "MOST", MOST)
    monkeypatch.setattr(departed, "KEPT", KEPT)
    monkeypatch.setattr(node, "KEPT", KEPT)


def come(scene, actor, after=0):
    """It joins, having read the ledger to its end, or so far."""
    read = {"after": after or scene.ledger.head_index} if scene.rules >= SINCE else {}
    claim = scene.claim(actor, "NodeJoined", {**scene.joined(actor), **read})
    return claim, scene.take(claim).outcome


def visit(scene, actor, kind="NodeLeft", body=None):
    """It joins, says that, and leaves; its two claims."""
    joined, outcome = come(scene, actor)
    assert outcome.accepted, outcome.reason
    said = scene.claim(actor, kind, body or {})
    assert scene.take(said).outcome.accepted
    if kind != "NodeLeft":
        assert scene.say(actor, "NodeLeft").accepted
    return joined, said


def visits(scene, count, first=100):
    for number in range(first, first + count):
        visit(scene, Actor("swci", f"swci-{number}"))


def test_the_rows_of_nodes_that_came_and_went_have_a_bound():
    scene = Scene(rules=SINCE)
    for number in range(200):
        visit(scene, Actor("sl" if number % 2 else "swci", f"any-{number}"))
        assert len(scene.ledger.nodes) <= MOST + KEPT + 3
    assert restored(scene.ledger).digest() == scene.ledger.digest()


def test_nothing_that_a_forgotten_node_has_signed_counts_a_second_time():
    scene = Scene(rules=SINCE)
    person = Actor("swci", "swci-1")
    joined, created = visit(scene, person, "ContractCreated", {"contract": "mine"})
    assert not scene.take(joined).events
    visits(scene, MOST + KEPT)
    assert person.uid not in scene.ledger.nodes
    again = scene.take(joined).outcome
    assert "joins having read the ledger up to entry" in again.reason
    assert "has not joined this network" in scene.take(created).outcome.reason
    assert person.uid not in scene.ledger.nodes
    person.restart()
    assert come(scene, person)[1].accepted
    assert "ended incarnation" in scene.take(created).outcome.reason


def test_who_goes_on_with_its_incarnation_may_use_none_of_its_numbers_again():
    scene = Scene(rules=SINCE)
    person = Actor("swci", "swci-1")
    _, created = visit(scene, person, "ContractCreated", {"contract": "mine"})
    visits(scene, MOST + KEPT)
    assert come(scene, person)[1].accepted
    assert "is from before it was gone" in scene.take(created).outcome.reason
    assert scene.say(person, "ContractCreated", {"contract": "other"}).accepted


@pytest.mark.parametrize("beyond", [False, True])
def test_what_a_new_node_has_read_has_to_be_new_and_there(beyond):
    scene = Scene(rules=SINCE)
    visits(scene, MOST + KEPT)
    after = scene.ledger.head_index + 9 if beyond else scene.ledger.departed.before - 1
    assert f"up to entry {after}: expected one from" in come(scene, Actor("sl", "sl-1"), after)[1].reason
    assert come(scene, Actor("sl", "sl-1"))[1].accepted
    sn = Actor("sn", "sn-2")
    assert scene.join(sn).accepted, "who has no ledger yet has nothing to show"


def test_members_creators_operators_and_network_nodes_stay():
    scene = Scene(rules=SINCE)
    stay = [Actor("sl", "sl-1"), Actor("swop", "swop-1"), Actor("sn", "sn-2"), Actor("swci", "swci-1")]
    for actor in stay:
        scene.join(actor)
    assert scene.enrol(stay[0]).accepted
    assert scene.say(stay[3], "TaskrunnerCreated", {"name": "runner"}).accepted
    scene.lose(stay[0])
    scene.lose(stay[1])
    scene.say(stay[3], "NodeLeft")
    visits(scene, 3 * (MOST + KEPT))
    assert scene.ledger.departed.before
    assert {actor.uid for actor in stay} <= set(scene.ledger.nodes)
    assert scene.enrol(stay[0]).accepted, "it is back"
    scene.ledger.contracts[CONTRACT].check()


def test_who_alone_has_the_model_is_back_with_it_however_long_it_was_lost():
    scene = Scene(rules=SINCE)
    first, second = scene.learners(2)
    committed = scene.commit(first, second)
    for actor in (first, second):
        scene.lose(actor)
    visits(scene, 3 * (MOST + KEPT))
    assert scene.ledger.departed.before
    newcomer = Actor("sl", "sl-3")
    assert come(scene, newcomer)[1].accepted
    assert scene.enrol(newcomer).accepted
    missing = {"contract": CONTRACT, "digest": committed.digest}
    assert scene.told(newcomer, "Missing", missing) == [], "who is lost may come back with it"
    assert scene.offer(first).accepted
    assert scene.contract.base == committed.digest


def test_who_was_excluded_stays_so_however_long_it_was_gone():
    scene = Scene(rules=SINCE)
    first, second, _ = scene.learners(3)
    assert scene.show(first, second, b"1" * 32, b"2" * 32).accepted
    scene.say(second, "NodeLeft")
    visits(scene, 3 * (MOST + KEPT))
    assert scene.ledger.departed.before
    second.restart()
    assert come(scene, second)[1].accepted
    assert "is excluded from contract digits" in scene.enrol(second).reason


def test_who_has_a_lease_stays_and_the_slot_is_its_own_when_it_is_back():
    scene = RoleScene(2)
    run = scene.play(Role("trainer", owner="participant", low=1, high=1, cpu=0, contract="digits"), name="digits")
    alice = Actor("sl", "alice")
    assert scene.join(alice).accepted
    asked = {"task": "digits", "role": "trainer", "key": b"k" * 32, "proof": bytes(64)}
    assert scene.say(alice, "SlotJoined", asked).accepted
    scene.lose(alice)
    (slot,) = run.slots.values()
    visits(scene, 3 * (MOST + KEPT))
    assert scene.ledger.departed.before
    assert (slot.leased, slot.state, slot.swop) == (True, "lost", alice.uid)
    told = {"slot": slot.id, "fence": slot.fence, "state": "running", "reason": ""}
    assert scene.say(alice, "SlotTold", told).accepted
    assert slot.state == "running"
    ended = {"slot": slot.id, "fence": slot.fence, "reason": "silent"}
    scene.lose(alice)
    assert scene.say(scene.sn, "LeaseEnded", ended).accepted
    visits(scene, 3 * (MOST + KEPT), first=500)
    assert alice.uid not in scene.ledger.nodes


def test_who_uses_its_numbers_out_of_order_is_kept_until_its_last_proposal_is_old(monkeypatch):
    monkeypatch.setattr(departed, "MOST", 0)
    scene = Scene(rules=SINCE)
    person = Actor("swci", "swci-1")
    assert come(scene, person)[1].accepted
    to_come = scene.ledger.head_index + 1 + 2 * KEPT
    late = scene.claim(person, "NodeJoined", {**scene.joined(person), "after": to_come})
    assert scene.say(person, "ContractCreated", {"contract": "mine"}).accepted
    visits(scene, KEPT)
    assert scene.ledger.head_index == to_come
    assert scene.take(late).outcome.accepted
    scene.lose(person)
    visits(scene, 1, first=200)
    assert scene.take(late).events == ()
    visits(scene, KEPT, first=300)
    assert person.uid not in scene.ledger.nodes
    assert "having read the ledger up to entry" in scene.take(late).outcome.reason


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_sent_again_takes_effect_once_and_a_copy_from_any_snapshot_agrees(seed, monkeypatch):
    monkeypatch.setattr(departed, "MOST", 1)
    chance, scene = random.Random(seed), Scene(rules=SINCE)
    people = [Actor(chance.choice(("sl", "swci")), f"any-{number}") for number in range(16)]
    copy, counted = restored(scene.ledger), set()
    for _ in range(300):
        person, before = chance.choice(people), scene.ledger.head_index
        match chance.choice("jjjllnceerszxx"):
            case "j":
                come(scene, person)
            case "l":
                scene.say(person, "NodeLeft")
            case "n":
                scene.lose(person)
            case "c":
                scene.say(person, "ContractCreated", {"contract": f"c-{chance.randrange(1000)}"})
            case "e":
                scene.enrol(person)
            case "z":
                scene.say(person, "ContractReset", {"contract": CONTRACT})
            case "r":
                person.restart()
            case "s":
                copy = restored(scene.ledger)
            case "x":
                scene.take(chance.choice(scene.log)[1])
        if scene.ledger.head_index > before:
            claim, events = scene.log[-1][1], copy.apply(*scene.log[-1]).events
            assert not events or claim.digest not in counted, f"seed {seed}: {claim.kind} took effect twice"
            counted.update((claim.digest,) if events else ())
            assert copy.digest() == scene.ledger.digest()
    assert scene.ledger.departed.before, "rows went"


def test_when_the_rules_change_the_rows_of_before_go_and_no_joining_of_before_counts_again():
    scene = Scene(rules=SINCE - 1)
    old = [visit(scene, Actor("swci", f"swci-{number}"))[0] for number in range(3 * (MOST + KEPT))]
    before = scene.ledger.digest()
    assert Ledger.restore(scene.ledger.snapshot()).digest() == before
    scene.rules = SINCE
    assert scene.join(scene.sn).accepted
    assert scene.say(scene.sn, "ProtocolActivated", {"rules": SINCE}).accepted
    assert len(scene.ledger.nodes) == 1 + 3 * (MOST + KEPT)
    visits(scene, 1, first=900)
    assert len(scene.ledger.nodes) <= MOST + KEPT + 3
    assert not any(scene.take(claim).outcome.accepted for claim in old if claim.uid not in scene.ledger.nodes)


def test_a_ledger_of_the_version_before_keeps_every_row_and_knows_no_such_field():
    scene = Scene(rules=SINCE - 1)
    visits(scene, 3 * (MOST + KEPT))
    assert len(scene.ledger.nodes) == 1 + 3 * (MOST + KEPT)
    assert "departed" not in scene.ledger.snapshot()
    actor = Actor("sl", "sl-1")
    assert "unknown field 'after'" in scene.say(actor, "NodeJoined", {**scene.joined(actor), "after": 1}).reason
