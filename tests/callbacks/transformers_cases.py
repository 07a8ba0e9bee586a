"""`SwarmCallback` in real Trainers, full and with adapters. Run by ``test_transformers`` in a process of its own."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from swarm.callbacks.checkpoint import Checkpoints
from swarm.errors import BadInput, SwarmError
from swarm.transformers import SwarmCallback

FINAL = "All peers and Swarm training rounds finished. Final Swarm model was loaded."
LOGGER = {"logger": logging.getLogger("test.transformers")}
WORDS = np.random.default_rng(0).integers(1, 30, (32, 6))
DATA = [{"input_ids": words, "attention_mask": np.ones(6, int), "labels": int(words[0] > 15)} for words in WORDS]


def bert() -> torch.nn.Module:
    """A tiny one, made from its configuration: nothing is downloaded."""
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
            max_position_embeddings=8, num_labels=2,
        )
    )  # fmt: skip


def with_adapter() -> torch.nn.Module:
    lora = LoraConfig(task_type=TaskType.SEQ_CLS, r=2, lora_alpha=4, target_modules=["query", "value"])
    return get_peft_model(bert(), lora)


def callback(model: Any, sync: Any = 2, peers: Any = 2, **keywords: Any) -> SwarmCallback:
    return SwarmCallback(sync, peers, model=model, **{**LOGGER, **keywords})


def train(model: torch.nn.Module, *callbacks: SwarmCallback, **settings: Any) -> Any:
    where = {"output_dir": "/nowhere", "save_strategy": "no", "report_to": [], "disable_tqdm": True, "use_cpu": True}
    args = {"num_train_epochs": 1, "per_device_train_batch_size": 4, "logging_steps": 1, **settings}
    trainer = Trainer(
        model=model, args=TrainingArguments(**where, **args), train_dataset=DATA, callbacks=list(callbacks)
    )
    return trainer.train()


def fill(value: float):
    return lambda arrays: {name: np.full_like(array, value) for name, array in arrays.items()}


def asked(node):
    return [(request.kind, request.batches, request.epochs) for request in node.syncs]


def test_steps_of_the_optimizer_count_not_micro_batches(node, log):
    model = bert()
    swarm = callback(model, nodeWeightage="auto")
    train(model, swarm, gradient_accumulation_steps=2, num_train_epochs=2)  # 4 steps an epoch
    assert node.opens[0].weight == len(DATA)
    assert asked(node) == [
        ("begin", 0, 0), ("sync", 2, 0), ("sync", 4, 0), ("sync", 6, 1), ("sync", 8, 1), ("end", 8, 2),
    ]  # fmt: skip
    assert node.syncs[-2].metrics["loss"] > 0
    assert log.messages[-1] == FINAL


def test_the_whole_model_travels_in_its_own_type_and_training_goes_on_from_the_merge(node):
    node.merge = lambda arrays: {name: array + np.asarray(0.25).astype(array.dtype) for name, array in arrays.items()}
    model = bert().to(torch.bfloat16)
    train(model, callback(model))
    assert {dtype for _, dtype, _ in node.opens[0].schema} == {"bfloat16"}
    assert [name for name, *_ in node.opens[0].schema] == list(model.state_dict())
    last = node.merge(node.received[-1])
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.bfloat16
        assert tensor.view(torch.int16).numpy().tobytes() == last[name].tobytes()


def test_a_merge_changes_the_adapter_and_nothing_else_travels_or_changes(node):
    node.merge = fill(0.5)
    model = with_adapter()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(model, callback(model, hfMode="peft"))
    sent = [name for name, *_ in node.opens[0].schema]
    assert len(sent) == 6
    assert all("lora_" in name or "classifier" in name for name in sent)
    assert not any(".default" in name for name in sent), "PEFT's names, without that of the adapter"
    for later in node.received[1:-1]:
        assert any((array != 0.5).any() for array in later.values()), "trained on from the merge"
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if "lora_" in name or "modules_to_save" in name}
    assert len(changed) == 6
    assert all((model.state_dict()[name] == 0.5).all() for name in changed)


def test_an_adapter_that_transformers_itself_has_added_travels_as_well(node):
    node.merge = fill(0.5)
    model = bert()
    model.add_adapter(LoraConfig(r=2, target_modules=["query"]), adapter_name="mine")
    swarm = callback(model, hfMode="peft")
    train(model, swarm)
    assert len(node.opens[0].schema) == 2
    changed = {name for name, tensor in model.state_dict().items() if (tensor == 0.5).all()}
    assert changed == {name for name in model.state_dict() if "lora_" in name}
    model.add_adapter(LoraConfig(r=2, target_modules=["value"]), adapter_name="other")
    model.set_adapter(["mine", "other"])
    with pytest.raises(BadInput, match="one adapter has to be active, 2 are: mine, other"):
        train(model, callback(model, hfMode="peft"))


def test_adapters_of_ones_own_stay(node):
    node.merge = fill(0.5)
    model = with_adapter()
    train(model, callback(model, hfMode="peft", local_only=["*classifier*"]))
    assert all("lora_" in name for name, *_ in node.opens[0].schema)
    assert not any((tensor == 0.5).all() for name, tensor in model.state_dict().items() if "modules_to_save" in name)


def test_a_merge_without_effect_is_an_error_that_names_the_tensor(node, monkeypatch):
    node.merge = fill(0.5)
    monkeypatch.setattr("peft.set_peft_model_state_dict", lambda *args, **kwargs: None)
    model = with_adapter()
    with pytest.raises(SwarmError, match=r'tensor ".*lora_A.weight" reads back other values'):
        train(model, callback(model, hfMode="peft"))


def test_when_the_swarm_is_over_the_trainer_stops(node, log):
    node.answer = lambda number, request: {"training_over": number >= 2}
    model = bert()
    done = train(model, callback(model), num_train_epochs=50)
    assert done.global_step == 2
    assert [request.kind for request in node.syncs] == ["begin", "sync", "end"]
    assert log.messages.count("Swarm training is over. Stopping local training") == 1
    assert log.messages[-1] == FINAL


@pytest.mark.parametrize("loader", [False, True])
def test_merged_models_are_evaluated(node, log, loader):
    data: Any = DATA
    if loader:
        whole = {"input_ids": torch.tensor(WORDS), "labels": torch.tensor([one["labels"] for one in DATA])}
        data = torch.utils.data.DataLoader(range(32), 5, collate_fn=lambda rows: {k: v[rows] for k, v in whole.items()})
    metric = {"metricFunction": "Accuracy", "metricFunctionArgs": {"task": "multiclass", "num_classes": 2}}
    model = bert()
    with torch.no_grad():
        exact = model.eval()(torch.tensor(WORDS), labels=torch.tensor([one["labels"] for one in DATA])).loss
    swarm = callback(model, adsValData=data, useAdaptiveSync=True, **metric)
    train(model, swarm, learning_rate=0.0, max_steps=2)
    assert node.syncs[1].metrics["val_loss"] == pytest.approx(float(exact), rel=1e-5)
    assert 0 <= node.syncs[1].metrics["val_Accuracy"] <= 1
    assert model.training
    assert any(line.startswith("merged model: loss ") for line in log.messages)


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"model": None}, "Hugging Face model is None"),
        ({"model": "bert-base-cased"}, "model has to be a torch.nn.Module, received str"),
        ({"hfMode": "lora"}, "Invalid Hugging Face model type: 'lora'"),
        ({"hfMode": "peft"}, "hfMode=peft needs a model with an adapter, received BertForSequenceClassification"),
        ({"adsValData": 3}, "adsValData has to be a Dataset or a DataLoader, received int"),
        ({"ml_platform": "PYTORCH"}, "Invalid ml platform type: PYTORCH"),
    ],
)
def test_bad_arguments_get_one_sentence(node, keywords, sentence):
    given = {"model": bert(), **keywords}
    with pytest.raises(BadInput, match=sentence):
        callback(**given)
    assert node.opens == []


def test_examples_without_labels_are_named(node):
    model = bert()
    data = [{"input_ids": words} for words in WORDS]
    with pytest.raises(BadInput, match="the examples of adsValData have no labels: input_ids"):
        train(model, callback(model, adsValData=data))


def test_a_whole_model_with_an_adapter_is_told_what_would_do(node, log):
    callback(with_adapter())
    assert any('hfMode="peft" would send that alone' in line for line in log.messages)


def test_checkpoints_keep_the_trainers_optimizer(node, tmp_path):
    model = bert()
    train(model, callback(model, checkpoint_dir=tmp_path), max_steps=3)
    checkpoint = Checkpoints(tmp_path, LOGGER["logger"]).newest()
    assert any(name.startswith("AdamW/0/exp_avg") for name in checkpoint.optimizer)


class Looks(TrainerCallback):
    """How many steps the optimizer has behind it before the first one of this run; ends the run at a step."""

    def __init__(self, end_at: int = 0) -> None:
        self.steps: set[float] | None = None
        self._end_at = end_at

    def on_step_begin(self, args, state, control, optimizer=None, **_):
        if self.steps is None:
            kept = getattr(optimizer, "optimizer", optimizer).state_dict()["state"].values()
            self.steps = {float(each["step"]) for each in kept}

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self._end_at:
            raise KeyboardInterrupt


def test_a_training_that_was_killed_goes_on_with_its_optimizer_and_counters(node, tmp_path, log):
    kept, model = {"sync": 4, "checkpoint_dir": tmp_path}, bert()
    swarm, first = callback(model, **kept), Looks(end_at=6)
    with pytest.raises(KeyboardInterrupt):
        train(model, swarm, first)
    swarm._training.close()
    assert first.steps == set()
    assert asked(node)[-1] == ("sync", 4, 0)
    model, again = bert(), Looks()
    train(model, callback(model, **kept), again)
    assert any("after 4 batches and 0 epochs" in line and "and its optimizer state" in line for line in log.messages)
    assert again.steps == {4.0}, "the steps behind the checkpoint are lost, those before it are not"
    assert asked(node)[-3:] == [("sync", 8, 0), ("sync", 12, 0), ("end", 12, 1)]
