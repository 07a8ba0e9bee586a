"""`SwarmCallback` for Hugging Face's Trainer: makes ``trainer.train()`` a part of a swarm. With HPE's arguments.

    from swarm.transformers import SwarmCallback
    swarm = SwarmCallback(16, 2, "demo", model=model, hfMode="peft")
    Trainer(model=model, args=args, train_dataset=data, callbacks=[swarm]).train()

A batch is a step of the optimizer, however many micro-batches it accumulates. ``hfMode="full"`` exchanges the whole
``state_dict``; ``"peft"`` the adapter that is active (and heads that its configuration trains), nothing of the model
below it. Guarantee: after a merge the model holds the swarm's model bit for bit, or an error names the tensor that
differs; so no merge is without effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import TrainerCallback, default_data_collator

from swarm.callbacks import arguments
from swarm.callbacks.ending import tell_errors_as_sentences
from swarm.callbacks.torch_evaluation import Evaluation, Sums
from swarm.callbacks.torch_model import Tensors, TorchModel, given_module
from swarm.callbacks.training import Framework, Training
from swarm.core.agreement import DEFAULT_CONTRACT
from swarm.errors import BadInput

_HUGGING_FACE = Framework(
    "Hugging Face",
    "HF_TRANSFORMER",
    frozenset({"model", "hfMode", "adsValBatchSize", "metricFunction", "metricFunctionArgs"}),
)
_EVALUATION_BATCH = 8


class SwarmCallback(TrainerCallback):
    """HPE's ``SwarmCallback(syncFrequency, minPeers, trainingContract, model=…, hfMode="full", **kwargs)``.

    Keywords: those of ``swarm.keras.SwarmCallback``. ``model`` is the model that the Trainer gets. With ``adsValData``,
    a Dataset or DataLoader whose examples have labels, every merged model is evaluated: the model's own loss, and
    ``metricFunction``, the name of a class in ``torchmetrics``, on its logits.
    """

    def __init__(
        self, syncFrequency: int, minPeers: int, trainingContract: str = DEFAULT_CONTRACT, **kwargs: Any
    ) -> None:
        tell_errors_as_sentences()
        module = given_module(kwargs, "Hugging Face")
        mode = arguments.word(kwargs.get("hfMode", "full"))
        if mode not in ("full", "peft"):
            raise BadInput(f"Invalid Hugging Face model type: {mode!r:.80}", hint='hfMode="full" or "peft"')
        kind = Adapter if mode == "peft" else TorchModel
        self._model = kind(module, None, _evaluation(kwargs))
        given = arguments.Given(syncFrequency, minPeers, trainingContract, kwargs)
        self._training = Training(_HUGGING_FACE, self._model, given)
        self.logger = self._training.logger
        if mode == "full" and hasattr(module, "peft_config"):
            self.logger.info('the whole model travels, not only its adapter: hfMode="peft" would send that alone')

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        optimizer = kwargs.get("optimizer")
        self._model.torch_optimizer = getattr(optimizer, "optimizer", optimizer)  # without accelerate's wrapper
        self._training.begin(_samples(kwargs.get("train_dataloader")))
        return self._stopped_when_over(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        last = state.log_history[-1] if state.log_history else {}
        self._training.batch(metrics=lambda: {"loss": last["loss"]} if "loss" in last else {})
        return self._stopped_when_over(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._training.epoch()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._training.end()

    def _stopped_when_over(self, control: Any) -> Any:
        if self._training.over and not control.should_training_stop:
            self.logger.info("Swarm training is over. Stopping local training")
            control.should_training_stop = True
        return control


class Adapter(TorchModel):
    """The active adapter of a PEFT model, by PEFT's own way in and out: its names are not those of the model."""

    def __init__(self, module: torch.nn.Module, optimizer: Any, evaluation: Evaluation | None) -> None:
        super().__init__(module, optimizer, evaluation)
        if not hasattr(self.module, "peft_config"):
            raise BadInput(
                f"hfMode=peft needs a model with an adapter, received {type(self.module).__name__}",
                hint="model = peft.get_peft_model(model, peft.LoraConfig(…))",
            )

    def tensors(self) -> Tensors:
        from peft import get_peft_model_state_dict

        # Whether embeddings were resized, which "auto" would ask the hub: adapters only travel.
        state: Tensors = get_peft_model_state_dict(
            self.module, adapter_name=self._active(), save_embedding_layers=False
        )
        return state

    def put(self, values: Tensors) -> None:
        from peft import set_peft_model_state_dict

        whole = {**self.tensors(), **values}  # it misses heads that stay here
        set_peft_model_state_dict(self.module, whole, adapter_name=self._active())

    def _active(self) -> str:
        known: Any = self.module.active_adapters  # a method where transformers itself has added the adapter
        active = list(known() if callable(known) else known)
        if len(active) != 1:
            raise BadInput(f"one adapter has to be active, {len(active)} are: {', '.join(active)}")
        return str(active[0])


def _evaluation(keywords: Mapping[str, Any]) -> Evaluation | None:
    data = keywords.get("adsValData")
    if data is None:
        return None
    if not isinstance(data, torch.utils.data.DataLoader):
        if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
            raise BadInput(f"adsValData has to be a Dataset or a DataLoader, received {type(data).__name__}")
        size = int(keywords.get("adsValBatchSize") or _EVALUATION_BATCH)
        data = torch.utils.data.DataLoader(data, batch_size=size, collate_fn=default_data_collator)
    return Evaluation(data, _labelled, keywords.get("metricFunction"), keywords.get("metricFunctionArgs"))


def _labelled(module: torch.nn.Module, batch: Any) -> Sums:
    if not isinstance(batch, Mapping) or "labels" not in batch:
        keys = f": {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else f", but a {type(batch).__name__}"
        raise BadInput(f"the examples of adsValData have no labels{keys}", hint="columns as the Trainer takes them")
    given, labels = module(**batch), batch["labels"]
    return given.loss * len(labels), len(labels), given.logits, labels


def _samples(loader: Any) -> int | None:
    """How many examples the Trainer's data set has; None for a stream."""
    try:
        return len(loader.dataset)
    except (AttributeError, TypeError):
        return None
