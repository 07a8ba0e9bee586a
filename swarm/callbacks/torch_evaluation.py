"""Loss and metric of a `torch.nn.Module` on validation data: HPE's adsValData, lossFunction, metricFunction.

Used by ``callbacks/torch`` and ``callbacks/transformers``. Guarantees: the model is evaluated where it lives and is in
the same mode afterwards, module by module; training's random numbers go on as if nothing had been evaluated.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

import torch

from swarm.errors import BadInput

Sums = tuple[torch.Tensor, int, Any, Any]
"""Of one batch: the sum of its examples' losses, how many they are, what the model gave and what was right."""


class Evaluation:
    """``step`` runs one batch through the model; the loss is Σ of all examples' losses / their number."""

    def __init__(
        self,
        data: Iterable[Any],
        step: Callable[[torch.nn.Module, Any], Sums],
        metricFunction: str | None,
        metricFunctionArgs: Mapping[str, Any] | None,
    ) -> None:
        self._data = data
        self._step = step
        self._metric_name = metricFunction
        self._metric = metricFunction and instance("torchmetrics", metricFunction, metricFunctionArgs, "metricFunction")

    def __call__(self, module: torch.nn.Module) -> dict[str, float]:
        device = device_of(module)
        total, examples = 0.0, 0
        metric = self._metric.to(device) if self._metric else None
        with _undisturbed(module):
            for batch in self._data:
                loss, count, given, right = self._step(module, moved(batch, device))
                total, examples = total + float(loss), examples + count
                if metric is not None:
                    metric.update(given, right)
        results = {"loss": total / examples} if examples else {}
        if metric is not None and examples:
            results[str(self._metric_name)] = float(metric.compute().float().mean())
            metric.reset()
        return results


def supervised(lossFunction: str, lossFunctionArgs: Mapping[str, Any] | None) -> Callable[[torch.nn.Module, Any], Sums]:
    """For batches (input, …, target), and a loss by the name of its class in ``torch.nn``."""
    loss = instance("torch.nn", lossFunction, lossFunctionArgs, "lossFunction")

    def step(module: torch.nn.Module, batch: Any) -> Sums:
        if not isinstance(batch, list | tuple) or len(batch) < 2:
            raise BadInput(f"a batch of adsValData has to be (input, target), received {type(batch).__name__}")
        *inputs, target = batch
        given = module(*inputs)
        value, count = loss.to(target.device)(given, target), len(target)
        return value * count if getattr(loss, "reduction", "sum") == "mean" else value.sum(), count, given, target

    return step


def instance(package: str, name: str, keywords: Mapping[str, Any] | None, argument: str) -> Any:
    """An object of the class that a program names; raises BadInput with the nearest name."""
    try:
        module = import_module(package)
    except ImportError as error:
        raise BadInput(f"{argument}={name} needs {package}", hint=f"pip install {package}") from error
    found = getattr(module, name, None) if isinstance(name, str) else None
    if not isinstance(found, type):
        near = difflib.get_close_matches(str(name), dir(module), n=1)
        raise BadInput(
            f"{argument}={name!r:.80} is no class of {package}", hint=f"did you mean {near[0]}?" if near else ""
        )
    try:
        return found(**(keywords or {}))
    except (TypeError, ValueError) as error:
        raise BadInput(f"{argument}={name} cannot be made with {argument}Args={keywords}: {error}") from error


def device_of(module: torch.nn.Module) -> torch.device:
    for tensors in (module.parameters(), module.buffers()):
        for tensor in tensors:
            return tensor.device
    return torch.device("cpu")


def moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {name: moved(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [moved(value, device) for value in batch]
    return batch


@contextlib.contextmanager
def _undisturbed(module: torch.nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):  # a DataLoader draws from it, even in order
            yield
    finally:
        for part, training in modes:
            part.training = training
