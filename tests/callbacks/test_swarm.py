"""`Swarm`: what comes out of a merge is the swarm's model in the program's own types, and the log tells the truth."""

from __future__ import annotations

import logging

import ml_dtypes
import numpy as np
import pytest

from swarm import Swarm, SwarmError
from swarm.errors import BadInput, ModelError, Unreachable

FINAL = "All peers and Swarm training rounds finished. Final Swarm model was loaded."


def swarm(**options) -> Swarm:
    return Swarm(minPeers=2, logger=logging.getLogger("test.swarm"), **options)


def plus_one(arrays):
    return {name: (array + 1).astype(array.dtype) for name, array in arrays.items()}


def same_bits(a, b) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_every_element_type_comes_back_bit_for_bit(node):
    given = {
        "f16": np.array([1.5, -0.0, 6e-8], np.float16),
        "bf16": np.array([[1.5], [3e38]], ml_dtypes.bfloat16),
        "f32": np.float32(3.25).reshape(()),
        "f64": np.array([np.pi, 5e-324]),
        "i8": np.array([-128, 127], np.int8),
        "i64": np.array(2**62 + 1),
        "u64": np.array([2**64 - 1], np.uint64),
        "flags": np.array([[True, False]]),
        "empty": np.zeros((0, 3), np.float32),
        "strided": np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    }
    with swarm() as peer:
        merged = peer.start(given)
        assert list(merged) == list(given)
        assert [name for name in given if not same_bits(merged[name], given[name])] == []


def test_big_endian_arrays_and_plain_numbers_are_taken_by_value(node):
    with swarm() as peer:
        merged = peer.start({"big": np.arange(3, dtype=">f4"), "number": 2.5})
    np.testing.assert_array_equal(merged["big"], [0, 1, 2])
    assert merged["number"] == 2.5


def test_results_are_new_arrays_that_no_later_round_changes_and_what_was_passed_stays(node):
    node.merge = plus_one
    given = {"w": np.zeros(4, np.float32)}
    with swarm() as peer:
        first = peer.start(given)
        second = peer.sync(first)
    assert (given["w"][0], first["w"][0], second["w"][0]) == (0, 1, 2)
    assert first["w"].flags.writeable


def test_out_takes_the_result_in_place(node):
    node.merge = plus_one
    weights = {"w": np.zeros(4, np.float32)}
    with swarm() as peer:
        result = peer.start(weights, out=weights)
        assert result["w"] is weights["w"]
        assert weights["w"][0] == 1
        with pytest.raises(ModelError, match=r'out does not fit the weights: tensor 1: .*"w" float32 .4,., .* float16'):
            peer.sync(weights, out={"w": np.zeros(4, np.float16)})


def test_a_round_that_was_given_up_leaves_ones_own_weights_and_says_so(node, log):
    node.answer = lambda number, request: {"how": "kept", "note": "round 2 was aborted: sl-2 is lost; own weights kept"}
    weights = {"w": np.ones(2, np.float32)}
    with swarm() as peer:
        assert peer.start(weights)["w"] is weights["w"]
    assert "round 2 was aborted: sl-2 is lost; own weights kept" in log.messages
    assert not [line for line in log.messages if line.startswith("Merge Done")]


def test_the_log_of_a_whole_training_reads_as_hpes(node, log):
    node.answer = lambda number, request: {"digest": f"blake3:{number:02}"}
    with swarm(trainingContract="demo", syncFrequency=4, totalEpochs=2, nodeWeightage=3) as peer:
        weights = peer.sync(peer.start({"w": np.zeros(1)}), batches=4, epochs=1)
        peer.finish(weights)
    assert log.messages == [
        "***Swarm Callback Params: Inside SwarmCallbackBase at user side***",
        "syncFrequency: 4",
        "minPeers: 2",
        "trainingContract: demo",
        "valBatchSize: None",
        "useAdaptiveSync: False",
        "checkinModelOnTrainEnd: CheckinModel.snapshot",
        "nodeWeightage: 3",
        "mergeMethod: SLMergeMethod.mean",
        "***** Is Swarm callback in loopback mode: False *****",
        "Starting Swarm merging round ...",
        "Merge Done: RVInt [cur: 4 Nxt: 4]",
        "round 1 merged by 2 members after 0 batches, 0 of 2 epochs: blake3:01",
        "Starting Swarm merging round ...",
        "Merge Done: RVInt [cur: 4 Nxt: 4]",
        "round 2 merged by 2 members after 4 batches, 1 of 2 epochs: blake3:02",
        "Finished local training !!!",
        "Swarm training may continue till trainings in min peers are done!",
        "Final merging starts at training end. Waiting for other peers to complete ...",
        "Starting Swarm merging round ...",
        "Merge Done: RVInt [cur: 4 Nxt: 4]",
        "round 3 merged by 2 members after 4 batches, 1 of 2 epochs: blake3:03",
        FINAL,
    ]
    assert node.opens[0].weight == 3
    assert node.opens[0].contract == "demo"


@pytest.mark.parametrize("answer", [{"how": "kept"}, {"training_over": False}, {"how": "alone"}])
def test_the_final_line_is_never_printed_when_it_is_not_true(node, log, answer):
    node.answer = lambda number, request: answer if request.kind == "end" else {}
    with swarm() as peer:
        peer.finish(peer.start({"w": np.zeros(1)}))
    assert FINAL not in log.messages
    assert "No user merge done during swarm training. syncFrequency=1 may be high." in log.messages


def test_when_the_swarm_is_over_sync_merges_no_more_and_finish_gets_the_final_model(node, log):
    node.answer = lambda number, request: {"training_over": number >= 2, "how": "adopted", "members": 0}
    with swarm() as peer:
        weights = peer.sync(peer.start({"w": np.zeros(1)}))
        assert peer.training_over
        assert peer.sync(weights)["w"] is weights["w"]
        node.merge = lambda arrays: {"w": np.array([42.0])}
        final = peer.finish({"w": np.array([np.nan])})  # one's own weights count no more
    assert final["w"][0] == 42
    assert [request.kind for request in node.syncs] == ["begin", "sync", "end"]
    assert log.messages[-1] == FINAL
    assert "Swarm training is over before local training. Exit gracefully." in log.messages


def test_r056_weights_of_another_shape_are_named_and_the_peer_withdraws(node):
    with swarm() as peer:
        peer.start({"w": np.zeros(2)})
        with pytest.raises(
            ModelError, match=r'tensor "w": the contract has float64 \(2,\), this model has float64 \(3,\)'
        ):
            peer.sync({"w": np.zeros(3)})
    assert node.gone_event.wait(5)
    assert node.gone_sessions[0].withdrew.code == 7


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ({"w": np.zeros(2), "added": np.zeros(3)}, 'this model has tensor 2, "added" float64 (3,), the contract ends'),
        ({}, "the model has 0 bytes of weights"),
        ({"v": np.zeros(2)}, 'the contract has "w" float64 (2,), this model has "v" float64 (2,)'),
        ({"w": np.zeros(2, np.float32)}, "the contract has float64 (2,), this model has float32 (2,)"),
    ],
)
def test_r070_a_model_that_changes_between_two_rounds_is_refused_before_anything_is_sent(node, later, said):
    with swarm() as peer:
        peer.start({"w": np.zeros(2)})
        with pytest.raises(ModelError) as refused:
            peer.sync(later)
    assert said in refused.value.message
    assert [request.kind for request in node.syncs] == ["begin"]
    assert node.gone_event.wait(5)
    assert node.gone_sessions[0].withdrew.code == 7


def test_weights_that_nothing_can_merge_are_refused_before_anything_is_opened(node):
    with swarm() as peer, pytest.raises(ModelError, match=r'tensor "name" has element type .*, which cannot be merged'):
        peer.start({"name": np.array(["text"])})
    assert node.opens == []


def test_errors_are_logged_as_hpe_does_with_their_hint(node, log):
    with pytest.raises(SwarmError, match="minPeers have to be a positive integer"):
        Swarm(minPeers=0, logger=logging.getLogger("test.swarm"))
    node.fail_open = BadInput("syncFrequency differs", hint="use 4")
    with swarm() as peer, pytest.raises(BadInput):
        peer.start({"w": np.zeros(2)})
    errors = [record.message for record in log.records if record.levelname == "ERROR"]
    assert errors == ["minPeers have to be a positive integer, received 0", "syncFrequency differs (use 4)"]


def test_sync_before_start_and_after_finish_says_what_is_missing(node):
    with swarm() as peer:
        with pytest.raises(BadInput, match="there is no open session"):
            peer.sync({"w": np.zeros(2)})
        peer.finish(peer.start({"w": np.zeros(2)}))
    with pytest.raises(BadInput, match="there is no open session"):
        peer.finish({"w": np.zeros(2)})


def test_a_second_training_with_the_same_object_opens_a_session_of_its_own(node):
    with swarm() as peer:
        peer.finish(peer.start({"w": np.zeros(2)}))
        node.opened = {"finished": True}
        peer.finish(peer.start({"v": np.zeros(3)}))
    assert [len(request.schema) for request in node.opens] == [1, 1]
    assert [request.schema[0][0] for request in node.opens] == ["w", "v"]


def test_loopback_needs_no_node_and_gives_back_what_it_got(monkeypatch, log):
    monkeypatch.setenv("SWARM_LOOPBACK", "True")
    weights = {"w": np.zeros(2)}
    with swarm() as peer:
        assert peer.finish(peer.sync(peer.start(weights)))["w"] is weights["w"]
        assert not peer.training_over
    assert log.messages[-1] == "***** Is Swarm callback in loopback mode: True *****"
    with pytest.raises(BadInput):
        Swarm(minPeers=0)  # arguments are checked all the same


def test_without_a_node_the_constructor_says_how_to_start(monkeypatch):
    monkeypatch.delenv("SWARM_CHANNEL", raising=False)
    with pytest.raises(Unreachable, match="no swarm learning node: start with"):
        Swarm(minPeers=2)


def test_an_own_logger_is_made_once_and_writes_to_stdout(node, capsys):
    logging.getLogger("Swarm").handlers.clear()
    for _ in range(2):
        Swarm(minPeers=2).close()
    lines = capsys.readouterr().out.splitlines()
    logging.getLogger("Swarm").handlers.clear()
    assert len([line for line in lines if line.endswith(" : Swarm : INFO : minPeers: 2")]) == 2


def test_the_interval_follows_what_the_swarm_says_and_is_logged_as_hpes(node, log):
    node.answer = lambda number, request: {"interval": {1: 1000, 2: 1250, 3: 833}.get(number, 833)}
    with swarm(syncFrequency=4, useAdaptiveSync=True) as peer:
        weights, points = peer.start({"w": np.zeros(1)}), []
        for batch in range(1, 20):
            if peer.due():
                weights = peer.sync(weights, metrics={"val_loss": 0.5})
                points.append(batch)
    assert points == [4, 9, 12, 15, 18]
    assert [line for line in log.messages if line.startswith("Merge Done")][:4] == [
        "Merge Done: RVInt [cur: 4 Nxt: 4]",
        "Merge Done: RVInt [cur: 4 Nxt: 5]",
        "Merge Done: RVInt [cur: 5 Nxt: 3]",
        "Merge Done: RVInt [cur: 3 Nxt: 3]",
    ]
    assert node.opens[0].options["useAdaptiveSync"] == "hpe"
    assert node.syncs[1].metrics == {"val_loss": 0.5}


def test_a_program_that_gives_no_loss_is_told_once_that_its_interval_goes_by_it(node, log):
    with swarm(useAdaptiveSync=True) as peer:
        weights = peer.start({"w": np.zeros(1)})
        for _ in range(3):
            weights = peer.sync(weights)
    assert len([line for line in log.messages if "useAdaptiveSync goes by the loss" in line]) == 1
