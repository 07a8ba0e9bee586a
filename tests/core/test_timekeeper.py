"""The leader's durations, with a clock that the test moves."""

import pytest

from swarm.core.exchanging_silence import PATIENCE, SILENT_S
from swarm.core.layout import BELIEVED_BYTES_PER_S, SLOWEST_BYTES_PER_S
from swarm.core.timekeeper import (
    AGAIN_S,
    DOUBT_S,
    LEASE_S,
    LONGER_TOGETHER,
    LONGEST,
    MANY,
    MARGIN_S,
    SILENCE_S,
    Propose,
    Tick,
    Timekeeper,
)
from tests.core.scene import BIG, CONTRACT, Scene
from tests.core.tasks import TaskScene


class Leader:
    """A scene whose SN has a timekeeper; what it proposes is collected, and applied when asked."""

    def __init__(self, count=0, scene=None, **options):
        self.scene = scene or Scene()
        self.actors = self.scene.learners(count, **options)
        self.keeper = Timekeeper(self.scene.ledger, self.scene.sn.uid, 0.0)
        self.now_s = 0.0
        self.told = len(self.scene.events)
        self.heard = list(self.actors)

    def tell(self):
        for event in self.scene.events[self.told :]:
            self.keeper.handle(event)
        self.told = len(self.scene.events)

    def pass_s(self, seconds, step_s=0.5):
        """Proposals made while the time passes, everybody in ``heard`` giving signs of life."""
        self.tell()
        proposals = []
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s = min(until_s, self.now_s + step_s)
            for actor in self.heard:
                self.keeper.alive(actor.uid, self.now_s)
            proposals += self.keeper.handle(Tick(self.now_s))
        return proposals

    def apply(self, proposals):
        for proposal in proposals:
            assert self.scene.say(self.scene.sn, proposal.kind, proposal.body).accepted
        self.tell()


def test_no_window_runs_below_min_peers_nor_once_all_have_offered():
    leader = Leader(2)
    leader.scene.offer(leader.actors[0])
    assert leader.pass_s(100) == []
    leader.scene.offer(leader.actors[1])
    assert all(proposal.kind == "DeadlinePassed" for proposal in leader.pass_s(100))


def test_the_first_window_closes_after_30_s_and_is_asked_for_again_until_it_is():
    leader = Leader(3)
    for actor in leader.actors[:2]:
        leader.scene.offer(actor)
    leader.pass_s(0.5)
    assert leader.pass_s(29.5) == []
    close = Propose("WindowClosed", {"contract": CONTRACT, "round": 0})
    assert leader.pass_s(0.5) == [close]
    assert leader.pass_s(AGAIN_S) == [close]
    leader.apply([close])
    assert leader.scene.contract.phase == "merging"


def test_a_window_that_is_closed_is_not_asked_for_again_while_nothing_that_was_offered_weighs_anything():
    leader = Leader(3)
    for actor in leader.actors[:2]:
        leader.scene.offer(actor, inactive=True)
    leader.apply(leader.pass_s(30.5))
    assert leader.scene.contract.phase == "collecting"
    assert leader.pass_s(5 * AGAIN_S) == []
    leader.scene.offer(leader.actors[2])
    assert leader.scene.contract.phase == "merging"


@pytest.mark.parametrize("limit_s", [40, 0])
def test_a_line_moves_up_when_those_at_its_head_hang_for_as_long_as_the_contract_bears(limit_s):
    leader = Leader(4, Scene(rules=3), pickPeers=2, tooFewPeersSeconds=limit_s)
    contract = leader.scene.contract
    first = contract.waiting_for()
    if not limit_s:
        assert leader.pass_s(100) == []
        return
    for now in (contract.waiting_for, lambda: [uid for uid in contract.live() if uid not in first]):
        assert sorted(contract.waiting_for()) == sorted(now())
        leader.pass_s(0.5)
        assert leader.pass_s(limit_s - 0.5) == []
        leader.apply(leader.pass_s(0.5))
    assert contract.waiting_for() == first


@pytest.mark.parametrize("limit_s", [40, 0])
def test_who_is_left_out_is_next_when_the_others_hang_also_where_they_are_waited_for_without_an_end(limit_s):
    leader = Leader(3, Scene(rules=5), tooFewPeersSeconds=limit_s)
    scene, (liar, *honest) = leader.scene, leader.actors
    for actor in leader.actors:
        scene.offer(actor)
    scene.ready(liar, "false")
    for actor in honest:
        scene.ready(actor)
    assert scene.contract.left_out() == [liar.uid]
    assert leader.pass_s(3 * DOUBT_S) == [], "the others train, for however long"
    scene.offer(honest[0])
    assert leader.pass_s(0.5) == []
    assert leader.pass_s((limit_s or DOUBT_S) - 0.5) == []
    leader.apply(leader.pass_s(0.5))
    assert liar.uid in scene.contract.waiting_for()


def test_the_window_follows_the_lateness_that_was_seen_between_2_and_30_s():
    leader = Leader(3)
    for _ in range(12):
        for actor in leader.actors[:2]:
            leader.scene.offer(actor)
        leader.pass_s(0.5)
        leader.scene.offer(leader.actors[2])
        leader.tell()
        for actor in leader.actors:
            leader.scene.ready(actor)
        leader.tell()
    for actor in leader.actors[:2]:
        leader.scene.offer(actor)
    assert leader.pass_s(2.0) == []
    assert [proposal.kind for proposal in leader.pass_s(1.0)] == ["WindowClosed"]


def test_deadlines_grow_by_half_with_every_attempt_and_name_it():
    leader = Leader(3)
    for actor in leader.actors:
        leader.scene.offer(actor)
    leader.pass_s(0.5)
    for attempt in range(4):
        proposals = leader.pass_s(MARGIN_S * 1.5**attempt - 1.0)
        assert proposals == [], attempt
        proposals = leader.pass_s(2.0)
        body = {"contract": CONTRACT, "round": 0, "attempt": attempt, "fewest": True}
        assert proposals == [Propose("DeadlinePassed", body)]
        leader.apply(proposals)
    assert leader.scene.contract.round == 1


def deadline_s(leader, **offered):
    """How long all members of a round have, who offer so."""
    for actor in leader.actors:
        assert leader.scene.offer(actor, **offered).accepted
    leader.tell()
    began_s = leader.now_s
    while not leader.pass_s(0.5):
        assert leader.now_s < began_s + 3600
    return leader.now_s - began_s


def test_a_member_that_only_gives_signs_of_life_is_suspected_before_the_deadline():
    assert MARGIN_S >= PATIENCE * SILENT_S + AGAIN_S


def test_a_deadline_follows_from_the_bytes_to_move_and_the_slowest_link():
    leader = Leader(4, schema=BIG)
    nbytes = 1.5 * BIG.nbytes  # what each of four moves each way
    assert deadline_s(leader) == pytest.approx(MARGIN_S + 3 * nbytes / BELIEVED_BYTES_PER_S, abs=0.5)
    for rates, slowest in [({"up": 10**8, "down": 5 * 10**5}, 5 * 10**5), ({"up": 10**8, "down": 10**9}, 10**8)]:
        leader = Leader(4, schema=BIG)
        assert deadline_s(leader, rates=rates) == pytest.approx(MARGIN_S + 3 * nbytes / slowest, abs=0.5)


def test_a_deadline_is_not_shorter_than_what_attempts_took_until_now():
    leader = Leader(3, schema=BIG)
    for actor in leader.actors:
        leader.scene.offer(actor, rates={"up": 10**9, "down": 10**9})
    leader.pass_s(0.5)
    assert leader.pass_s(MARGIN_S - 2.0) == []
    for actor in leader.actors:
        leader.scene.ready(actor)
    leader.tell()
    assert deadline_s(leader, rates={"up": 10**9, "down": 10**9}) == pytest.approx(MARGIN_S + 3 * (MARGIN_S - 2), abs=2)


def test_nobody_is_waited_for_as_long_as_it_claims_to_need():
    leader = Leader(3, schema=BIG)
    assert deadline_s(leader, rates={"up": 1, "down": 1}) < MARGIN_S + 3 * 2 * BIG.nbytes / SLOWEST_BYTES_PER_S


def test_a_silent_node_is_lost_after_10_s_and_the_others_are_not():
    leader = Leader(3)
    leader.pass_s(1.0)
    silent = leader.heard.pop()
    assert leader.pass_s(SILENCE_S - 0.5) == []
    (proposal,) = leader.pass_s(1.0)
    assert proposal.kind == "NodeLost"
    assert proposal.body["uid"] == silent.uid
    leader.apply([proposal])
    assert leader.pass_s(60.0) == []


def test_who_says_that_it_stops_is_lost_at_once_and_its_attempt_ends():
    leader = Leader(3, minPeers=2)
    for actor in leader.actors:
        leader.scene.offer(actor)
    leader.pass_s(0.5)
    going = leader.actors[0]
    incarnation = leader.scene.ledger.nodes[going.uid].incarnation
    assert leader.keeper.going(going.uid, bytes(16)) == [], "that was an earlier process"
    assert leader.keeper.going("nobody", incarnation) == []
    (proposal,) = leader.keeper.going(going.uid, incarnation)
    body = {"uid": going.uid, "incarnation": incarnation, "reason": "it was stopped"}
    assert proposal == Propose("NodeLost", body)
    assert leader.keeper.going(going.uid, incarnation) == [], "it is asked for already"
    leader.apply([proposal])
    assert leader.scene.contract.snap.attempt == 1
    assert leader.scene.contract.members[going.uid].state == "lost", "it is welcome again, and still counts as a holder"
    assert leader.keeper.going(going.uid, incarnation) == []


def test_where_most_are_silent_at_once_the_machine_may_be_slow_and_each_is_given_longer():
    leader = Leader(MANY + 1)
    leader.pass_s(1.0)
    silent = [leader.heard.pop() for _ in range(MANY)]
    assert leader.pass_s(SILENCE_S * LONGER_TOGETHER - 0.5) == []
    leader.heard.append(silent.pop())
    assert {proposal.body["uid"] for proposal in leader.pass_s(0.5)} == {actor.uid for actor in silent}


def test_when_most_are_heard_again_the_others_have_the_usual_time():
    leader = Leader(MANY)
    leader.pass_s(1.0)
    silent, leader.heard = leader.heard, []
    assert leader.pass_s(SILENCE_S + 0.5) == []
    leader.heard = silent[1:]
    assert [proposal.body["uid"] for proposal in leader.pass_s(0.5)] == [silent[0].uid]


def test_each_ready_gives_the_others_as_long_again():
    leader = Leader(5)
    for actor in leader.actors:
        leader.scene.offer(actor)
    leader.pass_s(MARGIN_S - 1.0)
    leader.scene.ready(leader.actors[0])
    assert leader.pass_s(MARGIN_S - 3.0) == []
    assert [proposal.kind for proposal in leader.pass_s(3.0)] == ["DeadlinePassed"]


def test_members_that_are_ready_one_after_the_other_do_not_put_a_deadline_off_without_an_end():
    leader = Leader(20)
    for actor in leader.actors:
        leader.scene.offer(actor)
    leader.pass_s(0.5)
    hostile = iter(leader.actors[:9])  # fewer than half of them: what they say commits nothing
    while not leader.pass_s(0.5):
        doing = next(timer for key, timer in leader.keeper._timers.items() if key[0] == "DeadlinePassed")
        if doing.due_s - leader.now_s <= 1.0 and (actor := next(hostile, None)):
            leader.scene.ready(actor)
            leader.tell()
        assert leader.now_s <= 0.5 + LONGEST * MARGIN_S + 0.5


def test_attempts_that_hostile_members_draw_out_do_not_make_the_next_ones_ever_longer():
    leader = Leader(3)
    for _ in range(8):
        for actor in leader.actors:
            leader.scene.offer(actor)
        leader.pass_s(0.5)
        began_s = leader.now_s
        while not leader.pass_s(0.5):
            pass
        assert leader.now_s - began_s <= LONGEST * (MARGIN_S + 1.0)
        for actor in leader.actors:  # they are in before the deadline is
            leader.scene.ready(actor)
        leader.tell()


def test_a_node_that_came_back_has_its_time_again():
    leader = Leader(2)
    silent = leader.heard.pop()
    leader.apply(leader.pass_s(SILENCE_S + 0.5))
    assert leader.scene.ledger.nodes[silent.uid].lost
    leader.pass_s(60.0)
    leader.scene.join(silent)
    assert leader.pass_s(SILENCE_S - 0.5) == []
    assert [proposal.kind for proposal in leader.pass_s(1.0)] == ["NodeLost"]


def test_a_new_leader_gives_everybody_the_whole_time():
    leader = Leader(2)
    leader.keeper = Timekeeper(leader.scene.ledger, leader.scene.sn.uid, 1000.0)
    leader.now_s, leader.heard = 1000.0, []
    assert leader.pass_s(SILENCE_S) == []
    assert len(leader.pass_s(1.0)) == 2


def test_a_sign_of_life_that_a_short_pause_kept_waiting_is_as_young_as_the_tick_behind_it():
    leader = Leader(1)
    leader.pass_s(1.0)
    (actor,), leader.heard = leader.heard, []
    leader.keeper.alive(actor.uid, leader.now_s)  # on the clock of the tick before the pause
    leader.pass_s(1.9, step_s=1.9)
    assert leader.pass_s(8.5) == []
    assert [proposal.kind for proposal in leader.pass_s(1.0)] == ["NodeLost"]


def test_a_leader_that_stood_still_counts_its_own_pause_against_nobody():
    leader = Leader(3)
    for actor in leader.actors[:2]:
        leader.scene.offer(actor)
    leader.pass_s(1.0)
    leader.heard = []
    assert leader.pass_s(120.0, step_s=120.0) == []
    assert leader.pass_s(5.0) == []


def test_network_nodes_are_never_declared_lost_by_the_clock():
    leader = Leader(1)
    leader.heard = []
    assert {proposal.body["uid"] for proposal in leader.pass_s(60.0)} == {leader.actors[0].uid}


# ---- leases


def leases(operators=2):
    """A leader of operators that run one slot each."""
    scene = TaskScene(operators)
    scene.final()
    scene.assign(operators)
    leader = Leader(scene=scene)
    leader.heard = [scene.swci, scene.other_swci, *scene.operators]
    return leader


def test_the_leases_of_an_operator_end_after_30_s_without_a_sign_of_life():
    leader = leases()
    silent = leader.heard.pop()
    (slot,) = leader.scene.slots(silent)
    leader.apply(leader.pass_s(SILENCE_S + 0.5))
    assert (slot.state, slot.leased) == ("lost", True)
    assert leader.pass_s(LEASE_S - SILENCE_S - 1.0) == []
    (proposal,) = leader.pass_s(1.0)
    reason = "swop-2 (b): no sign of life for 30 s, the lease has ended"
    assert proposal == Propose("LeaseEnded", {"slot": slot.id, "fence": slot.fence, "reason": reason})
    leader.apply([proposal])
    assert (slot.state, slot.leased) == ("lost", False)
    assert leader.pass_s(60.0) == []


def test_the_end_of_a_lease_is_proposed_again_until_it_is_in_the_ledger():
    leader = leases()
    leader.heard.pop()
    leader.apply(leader.pass_s(SILENCE_S + 0.5))
    assert leader.pass_s(LEASE_S - SILENCE_S - 1.0) == []
    kinds = [proposal.kind for proposal in leader.pass_s(2 * AGAIN_S + 1.0)]
    assert kinds == ["LeaseEnded"] * 3


def test_an_operator_that_is_back_has_its_leases_renewed():
    leader = leases()
    swop = leader.heard.pop()
    leader.apply(leader.pass_s(SILENCE_S + 0.5))
    leader.pass_s(LEASE_S - SILENCE_S - 5.0)
    leader.scene.join(swop)
    assert leader.pass_s(SILENCE_S - 0.5) == []
    leader.apply(leader.pass_s(1.0))
    assert leader.pass_s(LEASE_S - SILENCE_S - 1.0) == []
    assert [proposal.kind for proposal in leader.pass_s(1.5)] == ["LeaseEnded"]


def test_signs_of_life_keep_leases_however_long_a_worker_runs():
    assert leases().pass_s(600.0) == []


def test_a_new_leader_lets_every_lease_begin_anew():
    leader = leases(1)
    leader.heard.pop()
    leader.apply(leader.pass_s(SILENCE_S + 0.5))
    leader.pass_s(LEASE_S - SILENCE_S - 1.0)
    leader.keeper = Timekeeper(leader.scene.ledger, leader.scene.sn.uid, leader.now_s)
    assert leader.pass_s(LEASE_S - 0.5) == []
    assert [proposal.kind for proposal in leader.pass_s(1.0)] == ["LeaseEnded"]
