"""`SwarmCallback` for PyTorch: hooks that a training loop calls, with HPE's arguments; and `wrap`, which calls them.

    from swarm.torch import SwarmCallback
    swarm = SwarmCallback(128, 2, "demo", model=model)
    swarm.on_train_begin()
    for epoch in range(epochs):
        for batch, (x, y) in enumerate(loader):
            …
            optimizer.step()
            swarm.on_batch_end(batch)
        swarm.on_epoch_end(epoch)
    swarm.on_train_end()

    with wrap(model, optimizer, syncFrequency=128, minPeers=2, trainingContract="demo"):
        …  # the same loop without a line of ours

Train begin starts from the swarm's model, every ``syncFrequency`` batches the weights are merged, and train end waits
for the others and loads the final model. Exchanged is the whole ``state_dict`` with its buffers (``torch_model``), each
tensor in its own element type; not exchanged: the optimizer's state. Guarantee: after a merge the model holds the
swarm's model bit for bit, or an error names the tensor that differs.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import torch

from swarm.callbacks.arguments import Given
from swarm.callbacks.ending import tell_errors_as_sentences
from swarm.callbacks.hooks import Hooks
from swarm.callbacks.torch_evaluation import Evaluation, supervised
from swarm.callbacks.torch_model import TorchModel, given_module
from swarm.callbacks.training import Framework
from swarm.core.agreement import DEFAULT_CONTRACT
from swarm.errors import BadInput

_PYTORCH = Framework(
    "PyTorch",
    "PYTORCH",
    frozenset({"model", "optimizer", "lossFunction", "lossFunctionArgs", "metricFunction", "metricFunctionArgs"}),
)


class SwarmCallback(Hooks):
    """HPE's ``SwarmCallback(syncFrequency, minPeers, trainingContract, model=…, **kwargs)``.

    Keywords: those of ``swarm.keras.SwarmCallback``, and: ``model``, a `torch.nn.Module`. With ``adsValData``, a
    `DataLoader` of (input, target), every merged model is evaluated: ``lossFunction`` is the name of a class in
    ``torch.nn``, ``metricFunction`` of one in ``torchmetrics``, ``…Args`` are their arguments. ``optimizer``: its state
    is kept in checkpoints beside the weights (``checkpoint_dir``).
    """

    def __init__(
        self, syncFrequency: int, minPeers: int, trainingContract: str = DEFAULT_CONTRACT, **kwargs: Any
    ) -> None:
        tell_errors_as_sentences()
        module = given_module(kwargs, "Pytorch")
        model = TorchModel(module, kwargs.get("optimizer"), _evaluation(kwargs))
        super().__init__(_PYTORCH, model, Given(syncFrequency, minPeers, trainingContract, kwargs))


class Wrapped(SwarmCallback):
    """A training whose batches are the steps of its optimizer. It has begun; `finish` ends it, as ``with`` does.

    A program that ends without either leaves the swarm without the final model, and says so: nothing waits at exit.
    """

    def __init__(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, trainingContract: str, **kwargs: Any
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise BadInput(f"optimizer has to be a torch.optim.Optimizer, received {type(optimizer).__name__}")
        super().__init__(
            kwargs.pop("syncFrequency"),
            kwargs.pop("minPeers"),
            trainingContract,
            model=model,
            optimizer=optimizer,
            **kwargs,
        )
        self.on_train_begin()
        self._hook: Any = optimizer.register_step_post_hook(lambda *_: self.on_batch_end())
        atexit.register(self._left)

    def finish(self) -> None:
        """Local training has ended: wait for the others, and end with the final model. Before it is saved, that is."""
        if self._unhook():
            self.on_train_end()

    def close(self) -> None:
        self._unhook()
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.close()

    def _unhook(self) -> bool:
        """False: that was done before."""
        atexit.unregister(self._left)
        hook, self._hook = self._hook, None
        if hook is not None:
            hook.remove()
        return hook is not None

    def _left(self) -> None:
        if getattr(sys, "last_value", None) is None:  # an error says enough
            self.logger.warning("the program ends without finish(): its model is not the swarm's final one")
        self.close()


def wrap(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    syncFrequency: int,
    minPeers: int,
    trainingContract: str = DEFAULT_CONTRACT,
    **kwargs: Any,
) -> Wrapped:
    """Make this training a part of a swarm: begins at once, and every ``optimizer.step()`` counts as a batch.

    The model is the swarm's from here on, so call it when the model is where it shall be trained and is loaded.
    Keywords: those of `SwarmCallback`.
    """
    return Wrapped(model, optimizer, trainingContract, syncFrequency=syncFrequency, minPeers=minPeers, **kwargs)


def _evaluation(keywords: Mapping[str, Any]) -> Evaluation | None:
    data = keywords.get("adsValData")
    if data is None:
        return None
    if not isinstance(data, torch.utils.data.DataLoader):
        raise BadInput(f"adsValData type passed is {type(data).__name__}, expected a torch.utils.data.DataLoader")
    if keywords.get("lossFunction") is None:
        raise BadInput("adsValData needs lossFunction", hint='the name of a class in torch.nn: "CrossEntropyLoss"')
    step = supervised(keywords["lossFunction"], keywords.get("lossFunctionArgs"))
    return Evaluation(data, step, keywords.get("metricFunction"), keywords.get("metricFunctionArgs"))
