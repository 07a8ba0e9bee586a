"""`SwarmCallback` and `wrap` in training loops on PyTorch. Run by ``test_torch`` in a process of its own."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from swarm.callbacks.checkpoint import Checkpoints
from swarm.errors import BadInput, ModelError, SwarmError, Unreachable
from swarm.torch import SwarmCallback, wrap

FINAL = "All peers and Swarm training rounds finished. Final Swarm model was loaded."
X = torch.tensor(np.random.default_rng(0).normal(size=(40, 3)), dtype=torch.float32)
Y = X.sum(dim=1, keepdim=True)
LOGGER = {"logger": logging.getLogger("test.torch")}


def small() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))


def callback(model: torch.nn.Module, sync: Any = 4, peers: Any = 2, **keywords: Any) -> SwarmCallback:
    return SwarmCallback(sync, peers, model=model, **{**LOGGER, **keywords})


def sgd(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01)


def train(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, after=lambda batch: None, batches: int = 10
) -> None:
    for batch in range(batches):
        rows = slice(4 * batch % 40, 4 * batch % 40 + 4)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(X[rows]), Y[rows]).backward()
        optimizer.step()
        after(batch)


def fit(model: torch.nn.Module, swarm: SwarmCallback, epochs: int = 1) -> None:
    optimizer = sgd(model)
    swarm.on_train_begin()
    for epoch in range(epochs):
        train(model, optimizer, swarm.on_batch_end)
        swarm.on_epoch_end(epoch)
    swarm.on_train_end()


def fill(value: float):
    return lambda arrays: {name: np.full_like(array, value) for name, array in arrays.items()}


def holds(model: torch.nn.Module, value: float) -> bool:
    return all((tensor == value).all() for tensor in model.state_dict().values())


def asked(node):
    return [(request.kind, request.batches, request.epochs) for request in node.syncs]


def test_begin_every_n_batches_across_epochs_and_end(node, log):
    model = small()
    fit(model, callback(model), epochs=2)
    assert asked(node) == [
        ("begin", 0, 0), ("sync", 4, 0), ("sync", 8, 0), ("sync", 12, 1), ("sync", 16, 1), ("sync", 20, 1),
        ("end", 20, 2),
    ]  # fmt: skip
    assert log.messages[-1] == FINAL
    assert log.messages[13:15] == [
        "***** Is Swarm callback in loopback mode: False *****",
        "WARNING: valData is not available to compute Loss and metrics",
    ]


def test_training_goes_on_from_the_merged_weights_and_ends_with_the_final_ones(node):
    node.merge = fill(0.5)
    model = small()
    places = [parameter.data_ptr() for parameter in model.parameters()]
    fit(model, callback(model))
    begin, *later, end = node.received
    assert not np.allclose(begin["0.weight"], 0.5)
    for received in (*later, end):  # trained for some batches, from 0.5 each time
        assert 0 < np.abs(received["0.weight"] - 0.5).max() < 0.4
    assert holds(model, 0.5)
    assert [parameter.data_ptr() for parameter in model.parameters()] == places, "optimizers hold these very tensors"


def test_a_peer_weighs_as_many_as_it_says_it_has_examples(node):
    model = small()
    wrap(model, sgd(model), syncFrequency=4, minPeers=2, nodeWeightage="auto", samples=4000, **LOGGER).close()
    assert node.opens[0].weight == 4000


class Mixed(torch.nn.Module):
    """One tensor of each element type, parameters and buffers, some of them without extent or empty."""

    KINDS = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")

    def __init__(self) -> None:
        super().__init__()
        for kind in self.KINDS:
            self.register_buffer(f"wide_{kind}", torch.zeros(2, 3, dtype=getattr(torch, kind)))
            self.register_buffer(f"flat_{kind}", torch.zeros((), dtype=getattr(torch, kind)))
        self.across = torch.nn.Parameter(torch.zeros(3, 2, dtype=torch.bfloat16).T)  # does not lie as it is read
        self.register_buffer("empty", torch.zeros(0, 4))
        self.norm = torch.nn.BatchNorm1d(3)


def test_every_element_type_is_kept_bit_for_bit_and_statistics_are_exchanged(node):
    random = np.random.default_rng(1)

    def merge(arrays):
        bits = {name: random.integers(0, 2 if a.dtype == bool else 100, a.shape) for name, a in arrays.items()}
        return {name: np.asarray(bits[name]).astype(array.dtype) for name, array in arrays.items()}

    node.merge = merge
    model = Mixed()
    swarm = callback(model)
    swarm.on_train_begin()
    swarm.on_train_end()
    sent = [(name, dtype, tuple(shape)) for name, dtype, shape in node.opens[0].schema]
    assert sent == [
        (name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        for name, tensor in model.state_dict().items()
    ]
    assert ("norm.num_batches_tracked", "int64", ()) in sent
    assert model.wide_bfloat16.any()
    assert not model.across.is_contiguous()


def test_negative_zero_and_subnormal_numbers_survive(node):
    odd = np.array([-0.0, 1e-45, -1e-42], np.float32)
    node.merge = lambda arrays: {name: np.resize(odd, array.shape) for name, array in arrays.items()}
    model = small()
    fit(model, callback(model, sync=100))
    for tensor in model.parameters():
        assert tensor.detach().numpy().tobytes() == np.resize(odd, tuple(tensor.shape)).tobytes()


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside, self.out = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
        self.out.weight = self.inside.weight


def test_tied_weights_travel_once_and_stay_tied(node):
    node.merge = fill(0.25)
    model = Tied()
    swarm = callback(model)
    swarm.on_train_begin()
    swarm.on_train_end()
    assert list(node.received[0]) == ["inside.weight", "inside.bias", "out.bias"]
    assert model.out.weight is model.inside.weight
    assert holds(model, 0.25)


def test_tied_weights_stay_here_if_one_of_their_names_is_to(node):
    swarm = callback(Tied(), local_only=["out.*"])
    swarm.on_train_begin()
    assert list(node.received[0]) == ["inside.bias"]


def test_local_tensors_stay(node):
    node.merge = fill(0.5)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
    fit(model, callback(model, local_only="1.*"))
    assert [name for name, *_ in node.opens[0].schema] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert (model[0].weight == 0.5).all()
    assert model[1].num_batches_tracked == 10


def test_names_are_those_of_the_module_also_when_it_is_wrapped(node):
    for model in (torch.nn.DataParallel(small()), torch.compile(small(), backend="eager")):
        callback(model).on_train_begin()
        assert [name for name, *_ in node.opens[-1].schema] == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_weights_that_change_shape_in_mid_training_are_named(node):
    model = small()
    swarm = callback(model, sync=1)
    swarm.on_train_begin()
    swarm.on_batch_end()
    model[1] = torch.nn.Linear(2, 5)
    with pytest.raises(ModelError, match=r'tensor "1.weight": the contract has float32 \(1, 2\), this .* \(5, 2\)'):
        swarm.on_batch_end()
    assert node.gone_event.wait(5)
    assert node.gone_sessions[0].withdrew.code == 7


def test_weights_that_became_nan_end_the_training_and_the_swarm_is_told_why(node):
    model = small()
    swarm = callback(model, sync=1)
    swarm.on_train_begin()
    with torch.no_grad():
        model[0].bias[1] = float("nan")
    with pytest.raises(ModelError, match=r'the weights in tensor "0\.bias" are not finite'):
        swarm.on_batch_end()
    assert node.gone_event.wait(5)
    assert "are not finite" in node.gone_sessions[0].withdrew.reason


class ReadsBackOtherwise(torch.nn.Linear):
    def state_dict(self, *args, **kwargs):
        return {name: tensor.clone() for name, tensor in super().state_dict(*args, **kwargs).items()}


def test_weights_that_read_back_otherwise_are_an_error_that_names_the_tensor(node):
    node.merge = fill(0.5)
    with pytest.raises(SwarmError, match='tensor "weight" reads back other values'):
        callback(ReadsBackOtherwise(3, 1)).on_train_begin()


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (torch.nn.Flatten(), "the model has no parameters and no buffers"),
        (torch.nn.LazyLinear(2), 'tensor "weight" has no shape yet'),
        (torch.nn.Linear(2, 2, device="meta"), r'tensor "weight" is on no device \(meta\)'),
        (torch.nn.Linear(2, 2, dtype=torch.complex64), 'tensor "weight" is of element type complex64'),
    ],
)
def test_models_that_cannot_be_merged_are_refused_before_anything_is_opened(node, model, sentence):
    with pytest.raises(ModelError, match=sentence):
        callback(model).on_train_begin()
    assert node.opens == []


def test_when_the_swarm_is_over_merges_end_and_the_loop_may_stop(node, log):
    node.answer = lambda number, request: {"training_over": number >= 3}
    model = small()
    swarm = callback(model, sync=1)
    swarm.on_train_begin()
    while not swarm.training_over:
        swarm.on_batch_end()
    swarm.on_batch_end()  # HPE's programs go on: nothing is merged any more
    node.merge = fill(0.125)
    swarm.on_train_end()
    assert asked(node) == [("begin", 0, 0), ("sync", 1, 0), ("sync", 2, 0), ("end", 3, 0)]
    assert holds(model, 0.125)
    assert log.messages[-1] == FINAL


def loader(**keywords: Any) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(X, (Y > 0).long()[:, 0]), batch_size=16, **keywords
    )


def classifier() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2))


@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
def test_merged_models_are_evaluated_and_training_goes_on_as_without(node, log, reduction):
    metric = {"task": "multiclass", "num_classes": 2}
    model = classifier()
    model[2].eval()  # one part frozen by the program
    with torch.no_grad():
        exact = torch.nn.functional.cross_entropy(torch.nn.Sequential(model[0], model[2])(X), (Y > 0).long()[:, 0])
    swarm = callback(
        model, sync=1, adsValData=loader(shuffle=True), lossFunction="CrossEntropyLoss",
        lossFunctionArgs={"reduction": reduction}, metricFunction="Accuracy", metricFunctionArgs=metric,
    )  # fmt: skip
    swarm.on_train_begin()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    swarm.on_batch_end()
    assert torch.equal(torch.rand(2), expected)
    swarm.on_batch_end()
    assert node.syncs[-1].metrics["val_loss"] == pytest.approx(float(exact), rel=1e-6)
    assert 0 <= node.syncs[-1].metrics["val_Accuracy"] <= 1
    assert [part.training for part in model] == [True, True, False]
    assert any(line.startswith("merged model: loss ") and "Accuracy" in line for line in log.messages)


def test_adaptive_sync_tells_the_loss_from_the_first_sync_on(node):
    given = {"adsValData": loader(), "lossFunction": "CrossEntropyLoss", "useAdaptiveSync": True}
    swarm = callback(classifier(), sync=1, **given)
    swarm.on_train_begin()
    swarm.on_batch_end()
    assert node.syncs[1].metrics["val_loss"] > 0


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"model": None}, "Pytorch model is None"),
        ({"model": "resnet"}, "model has to be a torch.nn.Module, received str"),
        ({"adsValData": (X, Y)}, "adsValData type passed is tuple, expected a torch.utils.data.DataLoader"),
        ({"adsValData": loader()}, "adsValData needs lossFunction"),
        ({"adsValData": loader(), "lossFunction": "CrossEntropy"}, "'CrossEntropy' is no class of torch.nn"),
        (
            {"adsValData": loader(), "lossFunction": "MSELoss", "lossFunctionArgs": {"reduce_by": 1}},
            "lossFunction=MSELoss cannot be made with lossFunctionArgs=.*reduce_by",
        ),
        (
            {"adsValData": loader(), "lossFunction": "MSELoss", "metricFunction": "F2Score"},
            "metricFunction='F2Score' is no class of torchmetrics",
        ),
        ({"ml_platform": "KERAS"}, "Invalid ml platform type: KERAS"),
        ({"sync": 0}, "syncFrequency has to be a positive integer"),
    ],
)
def test_bad_arguments_get_one_sentence(node, keywords, sentence):
    given = {"model": small(), **keywords}
    with pytest.raises(BadInput, match=sentence):
        callback(**given)


def test_hpes_arguments_of_other_platforms_are_taken_and_unknown_ones_named(node, log):
    callback(small(), hfMode="full", mlPlatform="PYTORCH", syncFrequncy=3)
    assert "hfMode has no effect with PyTorch" in log.messages
    assert any("syncFrequncy" in line for line in log.messages)


def test_loopback_trains_alone(monkeypatch, log):
    monkeypatch.delenv("SWARM_CHANNEL", raising=False)
    with pytest.raises(Unreachable, match="no swarm learning node"):
        callback(small())
    monkeypatch.setenv("SWARM_LOOPBACK", "TRUE")
    model, same = small(), small()
    same.load_state_dict(model.state_dict())
    swarm = callback(model, adsValData=loader(), lossFunction="MSELoss")
    fit(model, swarm, epochs=2)
    train(same, sgd(same), batches=20)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    assert swarm.initial_epoch == 2
    assert FINAL not in log.messages


def test_with_overlap_training_goes_on_and_the_model_ends_as_the_final_one(node):
    node.merge = fill(0.5)
    model = small()
    fit(model, callback(model, overlap=True), epochs=2)
    *synced, end = node.received[1:]
    for later in synced:  # each time 0.5, and what was trained since the sync point before
        assert 0 < np.abs(later["0.weight"] - 0.5).max() < 0.4
    assert (end["0.weight"] == 0.5).all()
    assert holds(model, 0.5)


@pytest.mark.parametrize("kind", ["Adam", "SGD"])
def test_a_training_that_was_killed_goes_on_with_its_optimizer_and_counters(node, tmp_path, log, kind):
    def made(model):
        momentum = {"momentum": 0.9} if kind == "SGD" else {}
        return getattr(torch.optim, kind)(model.parameters(), lr=0.01, **momentum)

    model = small()
    optimizer = made(model)
    swarm = callback(model, sync=4, optimizer=optimizer, checkpoint_dir=tmp_path)
    swarm.on_train_begin()
    train(model, optimizer, swarm.on_batch_end, batches=8)
    kept = [value for entry in optimizer.state_dict()["state"].values() for value in entry.values()]
    swarm.close()
    checkpoint = Checkpoints(tmp_path, LOGGER["logger"]).newest()
    assert (checkpoint.batches, len(checkpoint.optimizer)) == (8, len(kept))
    model = small()
    optimizer = made(model)
    resumed = callback(model, sync=4, optimizer=optimizer, checkpoint_dir=tmp_path)
    resumed.on_train_begin()
    again = [value for entry in optimizer.state_dict()["state"].values() for value in entry.values()]
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(kept, again, strict=True))
    train(model, optimizer, resumed.on_batch_end, batches=4)
    assert asked(node)[-1] == ("sync", 12, 0)
    resumed.close()
    other = torch.optim.RMSprop(model.parameters())
    callback(model, sync=4, optimizer=other, checkpoint_dir=tmp_path).on_train_begin()
    assert any(
        f"a new optimizer state (that of the checkpoint does not fit: it is of {kind}" in m for m in log.messages
    )


def test_wrap_counts_steps_of_the_optimizer_and_ends_with_the_block(node, log):
    node.merge = fill(0.5)
    model = small()
    optimizer = sgd(model)
    with wrap(model, optimizer, syncFrequency=4, minPeers=2, trainingContract="demo", **LOGGER) as swarm:
        assert holds(model, 0.5), "it has begun"
        train(model, optimizer)
        assert not swarm.training_over
    assert asked(node) == [("begin", 0, 0), ("sync", 4, 0), ("sync", 8, 0), ("end", 10, 0)]
    assert node.opens[0].contract == "demo"
    assert holds(model, 0.5)
    assert log.messages[-1] == FINAL
    train(model, optimizer, batches=8)  # a program may train on alone afterwards
    swarm.finish()
    assert len(node.syncs) == 4


def test_wrap_that_ends_in_an_error_leaves_without_waiting(node):
    model = small()
    with (
        pytest.raises(RuntimeError, match="own mistake"),
        wrap(model, sgd(model), syncFrequency=4, minPeers=2, **LOGGER),
    ):
        raise RuntimeError("the script's own mistake")
    assert node.gone_event.wait(5)
    assert [request.kind for request in node.syncs] == ["begin"]


def test_a_program_that_forgets_to_finish_is_told_and_does_not_wait(node, log):
    model = small()
    swarm = wrap(model, sgd(model), syncFrequency=4, minPeers=2, **LOGGER)
    swarm._left()
    assert log.messages[-1] == "the program ends without finish(): its model is not the swarm's final one"
    assert node.gone_event.wait(5)


def test_wrap_wants_an_optimizer(node):
    with pytest.raises(BadInput, match=r"optimizer has to be a torch.optim.Optimizer, received float"):
        wrap(small(), 0.1, syncFrequency=4, minPeers=2)
