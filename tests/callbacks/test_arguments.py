"""The callbacks' arguments: HPE's checks with HPE's texts, our own options, and what comes later is refused."""

from __future__ import annotations

import logging

import pytest

from swarm.callbacks.arguments import KEYWORDS, Given, loopback, parse, warn_of_unknown
from swarm.callbacks.base import BatchCounter
from swarm.callbacks.weightage import weight_of
from swarm.core.agreement import DEFAULT_CONTRACT
from swarm.errors import BadInput, SwarmError


def checked(syncFrequency=128, minPeers=2, trainingContract=DEFAULT_CONTRACT, environment=None, **keywords):
    return parse(Given(syncFrequency, minPeers, trainingContract, keywords), environment or {}, evaluates=True)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"syncFrequency": 0}, "syncFrequency has to be a positive integer, received 0"),
        ({"syncFrequency": "often"}, "syncFrequency has to be a positive integer, received 'often'"),
        ({"syncFrequency": None}, "syncFrequency has to be a positive integer"),
        ({"syncFrequency": float("inf")}, "syncFrequency has to be a positive integer"),
        ({"minPeers": -1}, "minPeers have to be a positive integer"),
        ({"syncFrequency": "2.5"}, "syncFrequency has to be a positive integer, received '2.5'"),
        ({"minPeers": 2.5}, "minPeers have to be a positive integer, received 2.5"),
        ({"minPeers": [2]}, "minPeers have to be a positive integer"),
        ({"trainingContract": None}, "Invalid Training Contract"),
        ({"totalEpochs": -3}, "totalEpochs value is not a positive integer, received -3"),
        ({"totalEpochs": 0.5}, "totalEpochs value is not a positive integer, received 0.5"),
        (
            {"checkinModelOnTrainEnd": "latest"},
            "Invalid value checkinModelOnTrainEnd: latest. Allowed values: ['inactive', 'active', 'snapshot']",
        ),
        ({"nodeWeightage": 101}, "Node weightage should be a number between 1-100. Received: 101"),
        ({"nodeWeightage": 1.5}, "Node weightage should be a number between 1-100. Received: 1.5"),
        ({"nodeWeightage": "much"}, "Node weightage should be a number between 1-100. Received: much"),
        ({"nodeWeightage": 0}, "Node weightage should be a number between 1-100. Received: 0"),
        ({"samples": 0}, "samples has to be a whole number from 1 to 1000000, received 0"),
        ({"samples": 1.5}, "samples has to be a whole number from 1 to 1000000, received 1.5"),
        ({"samples": True}, "samples has to be a whole number from 1 to 1000000, received True"),
        (
            {"mergeMethod": "median"},
            "Invalid value mergeMethod: median. Allowed values: ['mean', 'coordmedian', 'geomedian', 'trimmedmean', ",
        ),
        ({"useAdaptiveSync": True}, "For adaptive sync, valid adsValData is mandatory"),
        ({"outer": "nesterov", "outerMomentum": 1.5}, "outerMomentum=1.5 is not possible: expected a number from 0 to"),
        ({"outer": "nesterov", "outerMomentum": 0.12345}, "outerMomentum=0.12345 is not possible"),
        ({"outer": "nesterov", "outerLearningRate": "much"}, "outerLearningRate='much' is not possible"),
        ({"outerLearningRate": 0.5}, "outerLearningRate=0.5 has no meaning with outer='plain'"),
        ({"maxDeltaNorm": -1}, "maxDeltaNorm=-1 is not possible: expected a number from 0 to 1e+09 with at most three"),
        ({"maxDeltaNorm": float("nan")}, "maxDeltaNorm=nan is not possible"),
        ({"maxDeltaNorm": 0.0001}, "maxDeltaNorm=0.0001 is not possible"),
        ({"wire": "int4"}, "wire='int4' is not possible: expected fp32 or bf16 or int8"),
        ({"maxFaulty": -2}, "maxFaulty=-2 is not possible: expected a whole number from -1 to 1000"),
        ({"maxPeersPerOrganisation": -1}, "maxPeersPerOrganisation=-1 is not possible"),
        ({"minPeers": 3, "pickPeers": 2}, "pickPeers=2 is not possible with minPeers=3: expected 3 or more"),
        ({"minPeers": 3, "asyncGoal": 2}, "asyncGoal=2 is not possible with minPeers=3: expected 3 or more"),
        (
            {"useAdaptiveSync": "often"},
            "Invalid value useAdaptiveSync: 'often'. Allowed values: True, False, 'fixed', ",
        ),
        ({"onTooFewPeers": "panic"}, "onTooFewPeers='panic' is not possible: expected wait or local or stop"),
        (
            {"environment": {"SWARM_TOO_FEW_PEERS_S": "soon"}},
            "SWARM_TOO_FEW_PEERS_S has to be a whole number of seconds",
        ),
    ],
)
def test_a_wrong_argument_is_refused_with_the_text_that_programs_know(given, text):
    with pytest.raises(SwarmError) as caught:
        checked(**given)
    assert caught.value.message.startswith(text)
    assert isinstance(caught.value, BadInput)


def test_defaults_are_hpes():
    arguments = checked()
    assert (arguments.syncFrequency, arguments.trainingContract) == (128, "defaultbb.cqdb.sml.hpe")
    assert (arguments.checkinModelOnTrainEnd, arguments.nodeWeightage, arguments.totalEpochs) == ("snapshot", 1, 0)
    assert arguments.options.to_wire() == {
        "minPeers": 2, "mergeMethod": "mean", "onTooFewPeers": "wait", "tooFewPeersSeconds": 600,
        "initialModel": "mean", "topology": "auto", "commitments": "result", "organisations": [],
    }  # fmt: skip


def test_fractions_are_thousandths_in_the_contract():
    options = checked(outer="nesterov", outerLearningRate=1, outerMomentum=0.29).options
    assert (options.outerLearningRate, options.outerMomentum) == (1000, 290)
    assert (options.nesterov.rate, options.nesterov.momentum) == (1.0, 0.29)
    assert checked(outer="nesterov").options.to_wire()["outer"] == "nesterov"
    assert checked(maxDeltaNorm=1_234_567.891).options.maxDeltaNorm == 1_234_567_891


def test_numbers_may_be_written_as_text_and_the_merge_method_in_any_case():
    arguments = checked("64", "3", mergeMethod="MEAN", nodeWeightage="10", totalEpochs="5")
    assert (arguments.syncFrequency, arguments.options.minPeers) == (64, 3)
    assert (arguments.options.mergeMethod, arguments.nodeWeightage, arguments.totalEpochs) == ("mean", 10, 5)
    assert checked(128 / 2, 2.0).syncFrequency == 64, "a quotient that is whole"
    assert checked(mergeMethod="GeoMedian").options.mergeMethod == "geomedian"
    assert checked(mergeMethod="SLMergeMethod.coordmedian", maxFaulty=2).options.mergeMethod == "coordmedian"


def test_contract_options_are_keywords_and_go_before_what_the_environment_says():
    said = {"SWARM_TOO_FEW_PEERS_S": "20"}
    arguments = checked(
        onTooFewPeers="local", tooFewPeersSeconds=30, initialModel="first", topology="sharded", organisations="a",
        environment=said,
    )  # fmt: skip
    options = arguments.options
    assert (options.onTooFewPeers, options.tooFewPeersSeconds) == ("local", 30)
    assert checked(environment=said).options.tooFewPeersSeconds == 20
    assert (options.initialModel, options.topology, options.organisations) == ("first", "sharded", ("a",))


def test_an_unknown_keyword_is_warned_of_with_the_nearest_name(caplog):
    logger = logging.getLogger("test.arguments")
    warn_of_unknown("SwarmCallback", {"nodeWeigthage": 3, "logDir": "x", "totalEpochs": 1}, KEYWORDS, logger)
    assert caplog.messages == [
        "SwarmCallback does not know the argument logDir: it has no effect",
        "SwarmCallback does not know the argument nodeWeigthage: it has no effect; did you mean nodeWeightage?",
    ]


@pytest.mark.parametrize(
    ("text", "alone"), [("true", True), ("TRUE", True), (" True ", True), ("false", False), ("", False)]
)
def test_loopback_is_true_in_any_case(text, alone):
    assert loopback({"SWARM_LOOPBACK": text}) is alone
    assert not loopback({})


@pytest.mark.parametrize(
    ("given", "rule"),
    [({}, "fixed"), ({"useAdaptiveSync": False}, "fixed"), ({"useAdaptiveSync": "drift"}, "drift")]
    + [({"useAdaptiveSync": value, "adsValData": ([1], [1])}, "hpe") for value in (True, "hpe")],
)
def test_adaptive_sync_is_true_or_a_rule_of_the_contract(given, rule):
    assert checked(**given).options.useAdaptiveSync == rule


def test_a_program_that_evaluates_its_models_itself_needs_no_data_for_adaptive_sync():
    given = {"useAdaptiveSync": True}
    assert parse(Given(1, 2, "c", given), {}, evaluates=False).options.useAdaptiveSync == "hpe"


def test_an_interval_that_changes_counts_from_the_sync_point_it_was_told_for():
    counter = BatchCounter(4)
    points = []
    for n in range(1, 30):
        if counter.add(1):
            points.append(n)
            counter.retime({4: 6, 10: 6, 16: 3}.get(n, counter.every), n)
    assert points == [4, 10, 16, 19, 22, 25, 28]


def test_sync_points_are_the_multiples_of_n_whatever_a_step_holds():
    one_by_one, by_three = BatchCounter(4), BatchCounter(4)
    assert [n for n in range(1, 13) if one_by_one.add(1)] == [4, 8, 12]
    assert [3 * n for n in range(1, 9) if by_three.add(3)] == [6, 9, 12, 18, 21, 24]


def test_a_peer_weighs_as_many_as_it_has_examples_where_all_do():
    auto = checked(nodeWeightage="auto", samples=3500)
    assert (auto.options.weightage, weight_of(auto.nodeWeightage, auto.samples)) == ("samples", 3500)
    assert auto.options.difference(checked().options) == ("weightage: the contract has samples, this node has given")
    assert "weightage" not in checked(nodeWeightage=7, samples=3500).options.to_wire()
    assert weight_of(7, 3500) == 7
    with pytest.raises(BadInput, match="nobody says how many it trains on") as caught:
        weight_of("auto", None)
    assert "samples=len(x_train)" in caught.value.hint


def test_what_an_operator_says_of_a_channel_are_arguments_that_a_program_need_not_give():
    said = {"SWARM_UPPER": "all", "SWARM_UPPER_EVERY": "5", "SWARM_UPPER_PEERS": "2", "SWARM_LEADS": "true"}
    given = parse(Given(1, 2, "eu", {}), said, evaluates=False)
    assert (given.options.upper, given.options.upperEvery, given.options.upperPeers, given.leads) == ("all", 5, 2, True)
    own = parse(Given(1, 2, "eu", {"upperEvery": 3, "leads": False}), said, evaluates=False)
    assert (own.options.upper, own.options.upperEvery, own.leads) == ("all", 3, False)
    picked = parse(Given(1, 2, "eu", {}), {"SWARM_PICK_PEERS": "2"}, evaluates=False).options
    other = parse(Given(1, 2, "eu", {"asyncGoal": 3}), {"SWARM_PICK_PEERS": "2"}, evaluates=False).options
    assert (other.pickPeers, other.asyncGoal) == (0, 3), "an argument of the program goes before, whichever it is"
    assert (picked.pickPeers, picked.asyncGoal) == (2, 0)
    assert parse(Given(1, 2, "eu", {}), {"SWARM_ASYNC_GOAL": "3"}, evaluates=False).options.asyncGoal == 3
    with pytest.raises(BadInput, match="upperEvery='often' is not possible: expected a whole number from 1 to 1000000"):
        parse(Given(1, 2, "eu", {}), {**said, "SWARM_UPPER_EVERY": "often"}, evaluates=False)


def test_more_peers_than_swarm_run_has_started_are_not_waited_for():
    with pytest.raises(BadInput, match="minPeers is 3, and swarm run has started 2 copies: expected 2 at most"):
        checked(minPeers=3, environment={"SWARM_PEERS": "2"})
    assert checked(minPeers=2, environment={"SWARM_PEERS": "2"}).options.minPeers == 2
    assert checked(minPeers=3, environment={"SWARM_PEERS": "2", "SWARM_LOOPBACK": "true"}).options.minPeers == 3
