"""Who decides: voters and epochs by entry, network nodes that stay however silent they are, and that end for good."""

import pytest

from swarm.core.events import NodeGone, NodeKnown, Recovered, VotersChanged
from swarm.core.voters import SKIPS
from tests.core.scene import CONTRACT, Actor, Scene, restored


class Network(Scene):
    """The sentinel sn-1 of organisation a, sn-2 of b, and as many more as asked; a SWCI of each organisation."""

    def __init__(self, sns: int, *, rules: int = 1) -> None:
        super().__init__(["a", "b", "c"], rules=rules)
        self.sns = [self.sn, *(Actor("sn", f"sn-{number}", "abc"[(number - 1) % 3]) for number in range(2, sns + 1))]
        self.swci = {organisation: Actor("swci", f"swci-{organisation}", organisation) for organisation in "abc"}
        for actor in [*self.sns[1:], *self.swci.values()]:
            assert self.join(actor).accepted

    def uids(self) -> list[str]:
        return [uid for uid, _ in self.ledger.sns()]

    def configure(self, *actors: Actor):
        return self.say(self.sn, "Configuration", {"voters": [actor.uid for actor in actors]})

    def recovery(self, author: Actor, promoted: Actor, **fields):
        body = {
            "chain": [b"certificate"],
            "node_key": author.node_key,
            "incarnation": author.incarnation,
            "epoch": self.ledger.epoch + 1,
            "uid": promoted.uid,
            "reason": "its disk is gone",
            "lost_after": self.ledger.head_index,
            **fields,
        }
        return self.claim(author, "ForcedRecovery", body)

    def recover(self, author: Actor, promoted: Actor, **fields):
        return self.take(self.recovery(author, promoted, **fields))


def test_genesis_makes_the_sentinel_the_only_voter_of_epoch_0():
    network = Network(2)
    assert network.ledger.voters == (network.sn.uid,)
    assert (network.ledger.epoch, network.ledger.sentinel) == (0, network.sn.uid)


def test_network_nodes_count_in_the_order_of_joining_with_their_organisations():
    network = Network(3)
    assert network.ledger.sns() == [(sn.uid, sn.identity.anchor) for sn in network.sns]
    network.sns[1].restart()
    network.join(network.sns[1])
    assert network.uids() == [sn.uid for sn in network.sns]


def test_a_silent_network_node_still_counts_and_one_that_left_does_not():
    network = Network(3)
    assert network.lose(network.sns[1]).accepted
    assert network.sns[1].uid in network.uids()
    network.told(network.sns[2], "NodeLeft")
    assert network.uids() == [network.sn.uid, network.sns[1].uid]
    network.join(network.sns[2])
    assert network.uids()[-1] == network.sns[2].uid


def test_one_that_comes_back_after_it_left_is_the_last_in_the_order():
    network = Network(3)
    network.told(network.sns[1], "NodeLeft")
    network.join(network.sns[1])
    assert network.uids() == [network.sn.uid, network.sns[2].uid, network.sns[1].uid]


def test_a_configuration_says_who_votes():
    network = Network(3)
    body = {"voters": [sn.uid for sn in network.sns]}
    assert network.told(network.sn, "Configuration", body) == [VotersChanged(tuple(body["voters"]))]
    assert network.ledger.voters == tuple(body["voters"])


def test_a_configuration_of_others_than_network_nodes_is_refused():
    network = Network(2)
    for voters in ([network.sn, network.swci["a"]], [network.sn, network.sn], [Actor("sn", "sn-9")]):
        assert "no network nodes, or twice the same" in network.configure(*voters).reason
    assert network.ledger.voters == (network.sn.uid,)
    person = network.say(network.swci["a"], "Configuration", {"voters": [network.sn.uid]})
    assert "only the role sn may" in person.reason


@pytest.mark.parametrize("organisation", ["a", "b"])
def test_a_forced_recovery_makes_one_node_decide_alone_and_ends_the_voters_before_it(organisation):
    network = Network(2)
    author, peer = network.swci[organisation], network.sns[1]
    lost_after = network.ledger.head_index
    applied = network.recover(author, peer)
    assert applied.outcome.accepted, applied.outcome.reason
    recovered, gone, changed = applied.events
    assert recovered == Recovered(1, peer.uid, lost_after, (network.sn.uid,), "its disk is gone")
    assert gone == NodeGone(network.sn.uid, f"forced recovery of the ledger by {author.identity}: its disk is gone")
    assert changed == VotersChanged((peer.uid,))
    ledger = network.ledger
    assert (ledger.epoch, ledger.voters, ledger.sentinel) == (1, (peer.uid,), peer.uid)
    assert network.uids() == [peer.uid]


def test_a_forced_recovery_needs_nobody_who_has_joined():
    """While the ledger pauses nobody can join: the author brings its certificate."""
    network = Network(2)
    assert network.recover(Actor("swci", "swci-9", "b"), network.sns[1]).outcome.accepted


def test_a_forced_recovery_by_a_known_person_started_anew_is_taken():
    network = Network(2)
    network.swci["b"].restart()
    assert network.recover(network.swci["b"], network.sns[1]).outcome.accepted


def test_a_forced_recovery_is_a_right_of_the_two_organisations():
    network = Network(2)
    outcome = network.recover(network.swci["c"], network.sns[1]).outcome
    assert (outcome.accepted, outcome.code) == (False, 5)
    assert outcome.reason.endswith("only a swci of b or of the sentinel's organisation a may")
    assert "only the role swci may" in network.recover(network.sns[1], network.sns[1]).outcome.reason
    assert network.ledger.epoch == 0


@pytest.mark.parametrize("rules", [4, 5])
def test_a_forced_recovery_may_skip_epochs_from_rules_5_on(rules):
    """A node may have heard of an epoch that nobody is left to prove; ledgers of before mean what they meant."""
    network = Network(2, rules=rules)
    outcome = network.recover(network.swci["a"], network.sns[1], epoch=7).outcome
    assert (outcome.accepted, network.ledger.epoch) == ((True, 7) if rules == 5 else (False, 0))
    assert outcome.accepted or "into epoch 7: the ledger is in epoch 0" in outcome.reason
    for epoch in (0, 6, 7) if rules == 5 else ():
        again = network.recover(network.swci["b"], network.sns[1], epoch=epoch or 1).outcome
        assert "the ledger is in epoch 7" in again.reason


def test_a_forced_recovery_goes_one_epoch_on_and_to_an_admitted_network_node():
    network = Network(2)
    for epoch in (2, 7):
        refused = network.recover(network.swci["a"], network.sns[1], epoch=epoch).outcome
        assert f"into epoch {epoch}: the ledger is in epoch 0" in refused.reason
    assert network.recover(network.swci["a"], network.sns[1]).outcome.accepted
    late = network.recover(network.swci["b"], network.sns[1], epoch=1).outcome
    assert "the ledger is in epoch 1" in late.reason
    assert "is no network node" in network.recover(network.swci["b"], network.sn).outcome.reason
    assert "is no network node" in network.recover(network.swci["b"], network.swci["b"]).outcome.reason


@pytest.mark.parametrize("knows", [False, True])
def test_that_it_was_removed_a_node_believes_most_of_the_others_and_one_where_it_knows_and_nobody_if_it_decides(knows):
    network = Network(4)
    one, two, target, three = (sn.uid for sn in network.sns)
    if knows:
        network.told(network.swci["c"], "SnRemoved", {"uid": target})
    voting, voters = network.ledger.voting, (one, two, target)
    stranger = Actor("sn", "sn-9").uid
    assert not voting.believes(target, {target, stranger}, voters)
    assert voting.believes(target, {one}, voters) == knows
    assert voting.believes(target, {one, three}, voters)
    assert not voting.believes(target, {one, two, three}, (target,))


def test_a_removed_network_node_is_never_taken_back_under_its_uid():
    network = Network(3)
    target = network.sns[2]
    (gone,) = network.told(network.swci["c"], "SnRemoved", {"uid": target.uid})
    assert gone == NodeGone(target.uid, f"removed by {network.swci['c'].identity}")
    assert target.uid not in network.uids()
    assert "was removed from this network" in network.join(target).reason
    assert "was removed from this network" in network.say(target, "NodeLeft").reason
    target.restart()
    assert "was removed from this network" in network.join(target).reason
    anew = Actor("sn", "sn-3-anew", "c")
    assert network.join(anew).accepted
    assert isinstance(network.events[-1], NodeKnown)


def test_removing_is_a_right_of_the_two_organisations_and_means_a_network_node():
    network = Network(2)
    refused = network.say(network.swci["c"], "SnRemoved", {"uid": network.sns[1].uid})
    assert refused.reason.endswith("only a swci of b or of the sentinel's organisation a may")
    assert "is no network node" in network.say(network.swci["a"], "SnRemoved", {"uid": network.swci["b"].uid}).reason
    assert network.say(network.swci["a"], "SnRemoved", {"uid": network.sns[1].uid}).accepted
    last = network.say(network.swci["a"], "SnRemoved", {"uid": network.sn.uid})
    assert "it is the only network node" in last.reason


def test_the_sentinels_place_goes_to_the_one_that_joined_first():
    network = Network(3)
    network.told(network.swci["a"], "SnRemoved", {"uid": network.sn.uid})
    assert network.ledger.sentinel == network.sns[1].uid
    network.told(network.sns[1], "NodeLeft")
    assert network.ledger.sentinel == network.sns[2].uid


def test_a_restored_ledger_has_the_same_voters_epoch_and_order():
    network = Network(3)
    network.configure(*network.sns)
    network.recover(network.swci["b"], network.sns[1])
    again = restored(network.ledger)
    assert (again.voters, again.epoch, again.sentinel, again.sns(), again.voting.lost_after) == (
        network.ledger.voters, 1, network.sns[1].uid, network.ledger.sns(), network.ledger.voting.lost_after,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["NodeLost", "WindowClosed", "DeadlinePassed", "LeaseEnded"])
def test_only_a_node_that_votes_says_that_a_time_is_over(kind):
    network = Network(4)
    network.configure(*network.sns[:3])
    sl, other = network.learners(2, minPeers=1)
    network.offer(sl)
    node = {"uid": other.uid, "incarnation": other.incarnation, "reason": ""}
    bodies = {
        "NodeLost": node,
        "WindowClosed": {"contract": CONTRACT, "round": 0},
        "DeadlinePassed": {"contract": CONTRACT, "round": 0, "attempt": 0},
        "LeaseEnded": {"slot": "t/user/1", "fence": 1, "reason": ""},
    }
    before = network.contract.to_state()
    for author, why in [
        (network.sns[3], "swarm://a/sn/sn-4 may not propose {}: only a network node that votes on the order may"),
        (sl, "swarm://b/sl/sl-1 may not propose {}: only the role sn may"),
        (network.swci["a"], "swarm://a/swci/swci-a may not propose {}: only the role sn may"),
    ]:
        outcome = network.say(author, kind, bodies[kind])
        assert (outcome.accepted, outcome.code, outcome.reason) == (False, 5, why.format(kind))
    assert network.contract.to_state() == before
    if kind in ("NodeLost", "WindowClosed"):
        assert network.say(network.sns[2], kind, bodies[kind]).accepted


def test_no_forced_recovery_takes_so_many_epochs_that_none_is_left_for_the_next():
    network = Network(2, rules=5)
    assert not network.recover(network.swci["a"], network.sns[1], epoch=SKIPS + 2).outcome.accepted
    assert network.recover(network.swci["a"], network.sns[1], epoch=SKIPS + 1).outcome.accepted
