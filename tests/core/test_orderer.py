"""Three orderers in one hand: nothing acknowledged is lost, nothing takes effect twice, nobody waits for ever."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from swarm.core.asking import Answered, Blocked, Breathed, ClockJudged, Declined, NotLeading, Paused, Publish, ReadReady
from swarm.core.claims import EntryHeader
from swarm.core.orderer import Effect, Event
from swarm.core.ordering import Answer, Append, Entries, EpochProven, Received, Send, epoch_of, first_term
from swarm.core.snapshot import restored
from swarm.core.timekeeper import SILENCE_S
from tests.core.orderers import Hand, PlainCodec, Sn, propose
from tests.core.scene import Actor

DAY_MS = 24 * 3600 * 1000
FAIL_OVER_S = 6.0


@pytest.fixture
def three() -> Hand:
    hand = Hand(3)
    hand.begin()
    return hand


def headers(sn: Sn) -> list[EntryHeader]:
    return [publish.header for publish in sn.published]


def newcomer(hand: Hand, name: str = "sl-1") -> tuple[Actor, bytes]:
    actor = Actor("sl", name)
    return actor, hand.join(actor)


def recovery(hand: Hand, peer: Sn, person: Actor, epoch: int = 1, network_id: bytes = b"", **changed: Any) -> bytes:
    """By this person: the ledger goes on with this peer."""
    body = {"epoch": epoch, "uid": peer.uid, "reason": "fire", "lost_after": peer.orderer.last_index}
    body |= {"chain": [b"certificate"], "node_key": person.node_key, "incarnation": person.incarnation}
    return propose(person, "ForcedRecovery", {**body, **changed}, network_id or hand.network_id)


def cut_off_leader(hand: Hand) -> tuple[Sn, Sn]:
    """The old one, which leads on in vain for a moment, and its successor."""
    old = hand.leader
    hand.cut_off.add(old.uid)
    hand.run(FAIL_OVER_S, until=lambda: any(sn.orderer.role == "leader" for sn in hand.sns if sn is not old))
    return old, hand.leader


def applied(sn: Sn, raw: bytes) -> list[int]:
    """The entries in which this proposal took effect here."""
    return [p.header.index for p in sn.published if p.proposal == raw and p.applied.events]


def test_three_nodes_vote_and_one_that_dies_is_replaced(three: Hand) -> None:
    first = three.leader
    assert set(first.ledger.voters) == {sn.uid for sn in three.sns}
    _, raw = newcomer(three)
    assert three.told(first, raw).outcome.accepted
    three.crash(first)
    three.run(FAIL_OVER_S, until=lambda: any(sn.orderer.role == "leader" for sn in three.sns if sn.alive))
    second = three.leader
    assert second is not first
    assert three.told(second, raw).outcome.accepted
    assert applied(second, raw) == applied(first, raw) != []
    three.restart(first)
    three.run(3)
    assert first.orderer.role == "follower"
    assert three.level()


def test_an_outcome_that_the_old_leader_could_not_tell_is_told_by_the_new_one_once(three: Hand) -> None:
    """Committed by a majority, the leader dies before it knows: the same bytes have the same outcome."""
    _, raw = newcomer(three)
    old = three.leader
    three.frozen.add(old.uid)
    number = three.ask(old, raw)
    three.settle()
    assert number not in old.answers
    three.frozen.clear()
    while old.disk.waiting:  # the entry goes out, and no answer comes back
        write, stored = old.disk.waiting.popleft()
        write()
        old.handle(stored)
    answers = [m for m in three.messages if m[1] == old.uid]
    assert not answers
    while three.messages:
        sender, to, message = three.messages.popleft()
        if to != old.uid:
            three.of(to).handle(Received(sender, message))
    three.crash(old)
    three.run(FAIL_OVER_S, until=lambda: any(sn.orderer.role == "leader" for sn in three.sns if sn.alive))
    new = three.leader
    outcome = three.told(new, raw).outcome
    assert outcome.accepted
    three.run(1)
    assert all(len(applied(sn, raw)) == 1 for sn in three.sns if sn.alive)


def test_who_waits_at_a_leader_that_is_cut_off_is_told_to_ask_elsewhere_and_takes_effect_once(three: Hand) -> None:
    _, raw = newcomer(three)
    old = three.leader
    three.cut_off.add(old.uid)
    number = three.ask(old, raw)
    three.run(FAIL_OVER_S, until=lambda: number in old.answers)
    assert isinstance(old.answers[number], NotLeading)
    three.run(FAIL_OVER_S, until=lambda: any(sn.orderer.role == "leader" for sn in three.sns if sn is not old))
    new = three.leader
    assert three.told(new, raw).outcome.accepted
    three.cut_off.clear()
    three.run(3)
    assert three.level()
    assert [len(applied(sn, raw)) for sn in three.sns] == [1, 1, 1]
    asked = three.ask(old, raw)
    assert old.answers[asked] == Answered(asked, three.told(new, raw).outcome), "whoever has applied it can tell"


def test_what_only_the_cut_off_leader_had_vanishes(three: Hand) -> None:
    _, lost = newcomer(three, "sl-1")
    _, kept = newcomer(three, "sl-2")
    old = three.leader
    three.cut_off.add(old.uid)
    three.ask(old, lost)
    three.settle()
    assert old.disk.entries[-1].index > old.orderer.head
    three.run(FAIL_OVER_S, until=lambda: any(sn.orderer.role == "leader" for sn in three.sns if sn is not old))
    three.told(three.leader, kept)
    three.cut_off.clear()
    three.run(3)
    assert three.level()
    assert [applied(sn, lost) for sn in three.sns] == [[], [], []]


def test_a_term_begins_with_a_blank_entry_that_decides_what_came_before(three: Hand) -> None:
    _, new = cut_off_leader(three)
    three.settle()
    last = new.published[-1]
    assert (last.proposal, last.header.term) == (b"", new.orderer.consensus.term)
    assert new.orderer.head == new.orderer.last_index


def test_the_time_of_entries_never_goes_back_though_clocks_jump_by_days(three: Hand) -> None:
    for jump, name in [(DAY_MS, "sl-1"), (-2 * DAY_MS, "sl-2"), (DAY_MS, "sl-3")]:
        old = three.leader
        old.wall_ms += jump
        three.told(old, newcomer(three, name)[1])
        three.crash(old)
        three.run(FAIL_OVER_S, until=lambda: any(sn.orderer.role == "leader" for sn in three.sns if sn.alive))
        three.told(three.leader, newcomer(three, name + "x")[1])
        three.restart(old)
        three.run(2)
    for sn in three.sns:
        times = [header.time for header in headers(sn)]
        assert times == sorted(times)
        assert max(times) - min(times) >= DAY_MS - 60_000


def test_durations_are_not_shortened_by_a_clock_that_jumps(three: Hand) -> None:
    actor, raw = newcomer(three)
    three.told(three.leader, raw)
    for sn in three.sns:
        sn.wall_ms += DAY_MS
    three.run(5)
    assert three.leader.ledger.nodes[actor.uid].state == "live"
    three.run(8)
    assert three.leader.ledger.nodes[actor.uid].state == "lost", "after 9 s of silence, whatever the wall clock says"


def test_a_burst_is_applied_bit_by_bit() -> None:
    hand = Hand(1, breath=3)
    hand.begin()
    (sn,) = hand.sns
    numbers = [hand.ask(sn, newcomer(hand, f"sl-{place}")[1]) for place in range(20)]
    for write, _ in sn.disk.waiting:
        write()
    before, (_, stored) = sn.orderer.head, sn.disk.waiting[-1]
    sn.disk.waiting.clear()
    sn.handle(stored)
    assert (sn.orderer.head - before, sn.orderer.behind) == (3, True)
    sn.handle(Breathed())
    assert sn.orderer.head - before == 6
    hand.settle()
    assert all(isinstance(sn.answers[number], Answered) for number in numbers)


def test_nothing_is_applied_before_what_others_wait_for_has_left(three: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry's signature and its effects are work; the next entry must not wait for it on its way to the disk."""
    together: list[Event] = []

    def watch(handle: Callable[[Event], list[Effect]]) -> Callable[[Event], list[Effect]]:
        def watched(event: Event) -> list[Effect]:
            effects = handle(event)
            leaves = any(isinstance(effect, Append | Send) for effect in effects)
            if leaves and not isinstance(event, Breathed) and any(isinstance(effect, Publish) for effect in effects):
                together.append(event)
            return effects

        return watched

    before = three.leader.orderer.head
    for sn in three.sns:
        monkeypatch.setattr(sn.orderer, "handle", watch(sn.orderer.handle))
    for place in range(5):
        three.told(three.leader, newcomer(three, f"sl-{place}")[1])
    three.run(1)
    assert three.level()
    assert three.leader.orderer.head == before + 5
    assert not together


def test_a_read_is_answered_only_with_a_majority_and_shows_all_that_was_acknowledged(three: Hand) -> None:
    leader = three.leader
    number = three.read(leader)
    assert number not in leader.answers
    three.run(1, until=lambda: number in leader.answers)
    assert leader.answers[number] == ReadReady(number)
    follower = next(sn for sn in three.sns if sn is not leader)
    asked = three.read(follower)
    assert follower.answers[asked] == NotLeading(asked, leader.uid)
    three.cut_off.add(leader.uid)
    waiting = three.read(leader)
    three.run(FAIL_OVER_S, until=lambda: waiting in leader.answers)
    assert isinstance(leader.answers[waiting], NotLeading)


def test_a_full_disk_hands_the_lead_over_and_pauses_a_node_that_is_alone(three: Hand) -> None:
    old = three.leader
    old.handle(Blocked("disk full: /x", "make room"))
    three.run(FAIL_OVER_S, until=lambda: any(sn.orderer.role == "leader" for sn in three.sns if sn is not old))
    assert old.orderer.role != "leader"
    assert three.told(three.leader, newcomer(three)[1]).outcome.accepted
    alone = Hand(1)
    alone.begin()
    (sn,) = alone.sns
    sn.handle(Blocked("disk full: /x", "make room"))
    number = alone.ask(sn, newcomer(alone)[1])
    assert sn.answers[number] == Paused(number, "disk full: /x", "make room")
    sn.handle(Blocked())
    assert alone.told(sn, newcomer(alone, "sl-2")[1]).outcome.accepted


def test_a_node_whose_clock_is_off_hands_the_lead_over(three: Hand) -> None:
    old = three.leader
    old.handle(ClockJudged(False))
    three.run(FAIL_OVER_S, until=lambda: any(sn.orderer.role == "leader" for sn in three.sns if sn is not old))
    assert three.leader is not old
    three.crash(three.leader)
    old.handle(ClockJudged(True))
    three.run(FAIL_OVER_S, until=lambda: any(sn.orderer.role == "leader" for sn in three.sns if sn.alive))
    assert three.leader.alive


@pytest.mark.parametrize("kind", ["Configuration", "Genesis", "ForcedRecovery"])
def test_nobody_can_have_the_voters_changed_by_a_proposal(three: Hand, kind: str) -> None:
    rogue, leader = three.sns[2], three.leader
    bodies: dict[str, dict[str, Any]] = {
        "Configuration": {"voters": [rogue.uid]},
        "Genesis": {"rules": 1, "anchors": [], "joined": {}, "created": 0},
        "ForcedRecovery": {"uid": rogue.uid, "epoch": 1, "reason": "", "lost_after": 1},
    }
    before = leader.orderer.last_index
    number = three.ask(leader, propose(rogue.actor, kind, bodies[kind], three.network_id))
    assert isinstance(leader.answers[number], Declined)
    assert leader.orderer.last_index == before
    assert len(leader.orderer.consensus.voters) == 3


def test_a_node_that_was_away_too_long_gets_a_snapshot() -> None:
    hand = Hand(3, snapshot_every=10)
    hand.begin()
    away = next(sn for sn in hand.sns if sn is not hand.leader)
    hand.crash(away)
    for place in range(30):
        hand.told(hand.leader, newcomer(hand, f"sl-{place}")[1])
    assert hand.leader.disk.first_index > away.disk.last_index + 1
    hand.restart(away)
    hand.run(10, until=hand.level)
    assert hand.level()
    assert away.ledger.digest() == hand.leader.ledger.digest()
    assert away.orderer.consensus.voters == hand.leader.orderer.consensus.voters
    hand.crash(hand.leader)
    hand.run(FAIL_OVER_S, until=lambda: any(sn.orderer.role == "leader" for sn in hand.sns if sn.alive))
    assert hand.told(hand.leader, newcomer(hand, "sl-last")[1]).outcome.accepted


def test_a_forced_recovery_lets_the_other_node_decide_and_ends_the_sentinel() -> None:
    hand = Hand(2)
    hand.begin()
    sentinel, peer = hand.sns
    swci = Actor("swci", "swci-1")
    hand.told(sentinel, hand.join(swci))
    hand.run(1)
    hand.cut_off.add(sentinel.uid)
    hand.run(2)
    alone = newcomer(hand)[1]
    assert hand.told(sentinel, alone).outcome.accepted
    wrong = hand.recover(peer, recovery(hand, peer, swci, lost_after=1))
    assert isinstance(peer.answers[wrong], Declined)
    number = hand.recover(peer, recovery(hand, peer, swci))
    hand.run(3, until=lambda: number in peer.answers)
    answer = peer.answers[number]
    assert isinstance(answer, Answered)
    assert answer.outcome.accepted, answer.outcome.reason
    assert (peer.ledger.epoch, peer.ledger.voters) == (1, (peer.uid,))
    assert hand.told(peer, newcomer(hand, "sl-2")[1]).outcome.accepted
    hand.cut_off.clear()
    hand.run(3)
    assert sentinel.orderer.role == "leader", "nobody has shown it the signature"
    sentinel.handle(EpochProven(1))
    hand.run(3)
    assert sentinel.orderer.role != "leader", "it has heard of a later epoch, in which it does not vote"
    asked = hand.ask(sentinel, newcomer(hand, "sl-3")[1])
    hand.run(3)
    assert not isinstance(sentinel.answers.get(asked), Answered), "it acknowledges nothing any longer"


def test_who_does_not_vote_begins_no_epoch_for_those_who_do() -> None:
    hand = Hand(4)
    hand.begin()
    leader = hand.leader
    liar = next(sn for sn in hand.sns if sn.uid not in leader.orderer.consensus.voters)
    hand.crash(liar)
    leader.handle(Received(liar.uid, Answer(first_term(7), 1, False, 0, 0, 0)))
    hand.run(5)
    assert hand.leader is leader
    assert {sn.orderer.consensus.term for sn in hand.sns if sn.alive} == {leader.orderer.consensus.term}


def test_a_flipped_bit_in_one_voters_term_leads_nobody_into_another_epoch() -> None:
    hand = Hand(3)
    hand.begin()
    victim = next(sn for sn in hand.sns if sn is not hand.leader)
    hand.crash(victim)
    victim.disk.term, victim.disk.vote = victim.disk.term | 1 << 33, ""
    hand.restart(victim)
    hand.run(40)
    well = [sn for sn in hand.sns if sn is not victim]
    assert {sn.orderer.role for sn in well} == {"leader", "follower"}
    assert hand.told(hand.leader, newcomer(hand)[1]).outcome.accepted


@pytest.mark.parametrize("rules", [4, 5])
def test_who_has_heard_of_an_epoch_that_nobody_is_left_to_lead_can_be_promoted_into_the_next(rules: int) -> None:
    hand = Hand(2, rules=rules)
    hand.begin()
    sentinel, peer = hand.sns
    hand.crash(sentinel)
    peer.handle(EpochProven(1))
    peer.handle(Received(sentinel.uid, Entries(first_term(1), 1, 99, bytes(32), (), 99, 99, True)))
    hand.settle()
    assert (epoch_of(peer.orderer.consensus.term), peer.ledger.epoch) == (1, 0)
    answers = []
    for epoch in (1, 2):
        number = hand.recover(peer, recovery(hand, peer, Actor("swci", f"swci-{epoch}"), epoch))
        hand.run(3)
        answers.append(peer.answers[number])
    first, second = answers
    assert isinstance(first, Declined)
    assert first.reason == "this ForcedRecovery begins epoch 1, and this node is in epoch 1 already"
    if rules == 4:
        assert isinstance(second, Declined)
        assert "into epoch 2: the ledger is in epoch 0" in second.reason
    else:
        assert isinstance(second, Answered)
        assert second.outcome.accepted, second.outcome.reason
        assert (peer.ledger.epoch, peer.orderer.role) == (2, "leader")


def test_consensus_follows_no_forced_recovery_that_the_ledger_would_refuse() -> None:
    hand = Hand(2)
    hand.begin()
    sentinel, peer = hand.sns
    hand.cut_off.add(sentinel.uid)
    hand.run(2)
    for author, network_id in (
        (Actor("sl", "sl-1"), hand.network_id),
        (Actor("sn", "sn-9"), hand.network_id),
        (Actor("swci", "swci-1", "b"), hand.network_id),
        (Actor("swci", "swci-1"), bytes(32)),
    ):
        number = hand.recover(peer, recovery(hand, peer, author, network_id=network_id))
        assert isinstance(peer.answers[number], Declined)
    assert peer.orderer.consensus.voters == (sentinel.uid,)


def test_a_timekeeper_begins_anew_with_each_leader(three: Hand) -> None:
    """A node that fell silent before the change is given the whole time again: nobody heard it for the new one."""
    actor, raw = newcomer(three)
    three.told(three.leader, raw)
    three.run(6)
    three.crash(three.leader)
    three.run(FAIL_OVER_S, until=lambda: any(sn.orderer.role == "leader" for sn in three.sns if sn.alive))
    three.run(7)
    assert three.leader.ledger.nodes[actor.uid].state == "live"
    three.run(4)
    assert three.leader.ledger.nodes[actor.uid].state == "lost"


def test_what_rests_on_an_entry_under_way_waits_for_it(three: Hand) -> None:
    leader = three.leader
    actor, raw = newcomer(three)
    first = three.ask(leader, raw)
    second = three.ask(leader, propose(actor, "NodeLeft", {}, three.network_id))
    assert not leader.answers.keys() & {first, second}
    three.run(1)
    answers = [leader.answers[number] for number in (first, second)]
    assert all(isinstance(answer, Answered) and answer.outcome.accepted for answer in answers), answers
    stranger = three.ask(leader, propose(Actor("sl", "nobody"), "NodeLeft", {}, three.network_id))
    assert isinstance(leader.answers[stranger], Declined)


def test_entries_are_chained_across_leaders(three: Hand) -> None:
    for name in ("sl-1", "sl-2"):
        three.told(three.leader, newcomer(three, name)[1])
        three.crash(three.leader)
        three.run(FAIL_OVER_S, until=lambda: any(sn.orderer.role == "leader" for sn in three.sns if sn.alive))
        for sn in three.sns:
            if not sn.alive:
                three.restart(sn)
        three.run(3)
    codec = PlainCodec()
    for sn in three.sns:
        entries = sn.disk.entries
        for before, entry in itertools.pairwise(entries):
            assert codec.read(entry)[0].prev_hash == before.hash


# ---- who is removed while another is dead


def removal(hand: Hand, target: Sn) -> bytes:
    person = Actor("swci", f"swci-{target.actor.identity.name}")
    assert hand.told(hand.leader, hand.join(person)).outcome.accepted
    return propose(person, "SnRemoved", {"uid": target.uid}, hand.network_id)


@pytest.mark.parametrize("which", ["another voter", "the leader"])
def test_a_voter_that_the_others_need_is_not_removed_before_they_can_do_without(three: Hand, which: str) -> None:
    leader = three.leader
    other, dead = (sn for sn in three.sns if sn is not leader)
    target = leader if which == "the leader" else other
    three.crash(dead)
    three.run(3)
    raw = removal(three, target)
    refused = leader.answers[three.ask(leader, raw)]
    assert isinstance(refused, Declined)
    others = f"start {dead.actor.identity}, or remove it first"
    assert refused.reason == f"too few of the others would be left to decide: {others}"
    three.restart(dead)
    three.run(3)
    assert three.told(leader, raw).outcome.accepted, "the same bytes, now"
    three.run(20, until=lambda: all(target.uid not in sn.ledger.voters for sn in three.sns))
    three.crash(target)
    three.run(FAIL_OVER_S)
    assert three.told(three.leader, newcomer(three)[1]).outcome.accepted


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_once_the_leader_is_removed_the_ledger_has_the_voters_that_consensus_has(count: int) -> None:
    hand = Hand(count, snapshot_every=20)
    hand.begin()
    former = hand.leader
    assert hand.told(former, removal(hand, former)).outcome.accepted
    hand.run(20, until=lambda: all(former.uid not in sn.ledger.voters for sn in hand.sns))
    hand.crash(former)
    hand.run(FAIL_OVER_S)
    lost = Actor("sl", "sl-lost")
    assert hand.told(hand.leader, hand.join(lost)).outcome.accepted
    hand.run(SILENCE_S + 5, until=lambda: hand.leader.ledger.nodes[lost.uid].state == "lost")
    assert hand.leader.ledger.nodes[lost.uid].state == "lost", "who leads times it, as a voter"
    for number in range(30):
        assert hand.told(hand.leader, newcomer(hand, f"sl-{number}")[1]).outcome.accepted
    again = hand.sns[-1]
    assert again.disk.snapshot is not None
    assert restored(again.disk.snapshot).voters == again.disk.snapshot.voters


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_one_that_is_removed_and_does_not_lead_learns_it_from_its_own_ledger(count: int) -> None:
    """Nobody else tells it: it would run for ever, and whoever follows the ledger through it would stop with it."""
    for place in range(count):
        hand = Hand(count)
        hand.begin()
        one = hand.sns[place]
        if one is hand.leader:
            continue
        assert hand.told(hand.leader, removal(hand, one)).outcome.accepted
        hand.run(20, until=lambda one=one: one.ledger.voting.is_over(one.uid, one.orderer.consensus.voters))
        assert one.ledger.voting.is_over(one.uid, one.orderer.consensus.voters)
        hand.run(3)
        assert hand.leader.orderer.consensus.leaving == ()


def test_one_that_decides_alone_and_starts_again_after_it_was_removed_hands_over() -> None:
    hand = Hand(2)
    hand.begin()
    former, other = hand.sns
    assert hand.told(former, removal(hand, former)).outcome.accepted
    assert former.orderer.consensus.voters == (former.uid,), "nothing has changed yet"
    hand.restart(former)
    hand.run(20, until=lambda: other.ledger.voters == (other.uid,))
    hand.crash(former)
    hand.run(FAIL_OVER_S)
    assert hand.told(other, newcomer(hand)[1]).outcome.accepted


def test_the_dead_one_is_removed_first_and_then_the_other(three: Hand) -> None:
    leader = three.leader
    other, dead = (sn for sn in three.sns if sn is not leader)
    three.crash(dead)
    three.run(3)
    for target in (dead, other):
        assert three.told(three.leader, removal(three, target)).outcome.accepted
        three.run(20, until=lambda: len(three.leader.ledger.voters) == 1)
    three.run(20, until=lambda: leader.orderer.consensus.voters == (leader.uid,))
    three.crash(other)
    three.run(5)
    assert three.told(leader, newcomer(three)[1]).outcome.accepted
    assert leader.orderer.consensus.one_copy, "and every status says so"


def test_a_node_that_has_stored_its_joining_and_does_not_know_it_to_be_decided_can_be_promoted() -> None:
    """As after a cut of the power: what was known to be committed is noted in passing. A recovery decides the rest."""
    hand = Hand(2)
    hand.begin()
    sentinel, peer = hand.sns
    for sn in hand.sns:
        hand.crash(sn)
    peer.disk.commit = 1
    hand.restart(peer)
    hand.run(3)
    assert peer.uid not in peer.ledger.nodes
    assert peer.orderer.last_index > peer.orderer.head
    number = hand.recover(peer, recovery(hand, peer, Actor("swci", "swci-1")))
    hand.run(3)
    answer = peer.answers[number]
    assert isinstance(answer, Answered), answer
    assert answer.outcome.accepted, answer.outcome.reason
    assert (peer.ledger.epoch, peer.orderer.role) == (1, "leader")
    assert sentinel.uid not in dict(peer.ledger.sns())


def test_a_recovery_that_what_is_stored_forbids_is_declined_before_anybody_follows_it() -> None:
    """Consensus does not ask the ledger: what only the entries behind its head speak against counts, too."""
    hand = Hand(2)
    hand.begin()
    sentinel, peer = hand.sns
    swci = Actor("swci", "swci-1")
    assert hand.told(sentinel, hand.join(swci)).outcome.accepted
    assert hand.told(sentinel, propose(swci, "SnRemoved", {"uid": peer.uid}, hand.network_id, 2)).outcome.accepted
    stored = peer.disk.last_index
    for sn in hand.sns:
        hand.crash(sn)
    removal = sentinel.disk.last_index
    for index in range(stored + 1, removal + 1):
        peer.disk.entries.append(sentinel.disk.entry(index))
    peer.disk.commit = removal - 1
    hand.restart(peer)
    hand.run(3)
    assert peer.uid in dict(peer.ledger.sns()), "it does not know that yet"
    number = hand.recover(peer, recovery(hand, peer, Actor("swci", "swci-2")))
    hand.run(3)
    answer = peer.answers[number]
    assert isinstance(answer, Declined), answer
    assert "is no network node of this ledger" in answer.reason
    assert peer.orderer.role != "leader"
