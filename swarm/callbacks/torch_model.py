"""A `torch.nn.Module` as named arrays: its whole ``state_dict``, parameters and buffers, in and out.

Used by ``callbacks/torch`` and ``callbacks/transformers``. Guarantees: every element type that ``core/tensors`` knows
keeps its bits both ways, also without extent (0-d); tensors stay the objects they are, on the device where they live; a
tensor under two names (tied weights) travels once, under the first. Names are those of the module itself, also when it
is compiled or stands in a DataParallel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from swarm.callbacks.checkpoint import Arrays
from swarm.callbacks.local import Names, parted
from swarm.callbacks.torch_evaluation import Evaluation
from swarm.core.tensors import STORAGE
from swarm.errors import BadInput, ModelError

Tensors = dict[str, torch.Tensor]


class TorchModel:
    """All of its tensors; a subclass that selects others gives its own `tensors` and `put`."""

    def __init__(
        self, module: torch.nn.Module, optimizer: torch.optim.Optimizer | None, evaluation: Evaluation | None
    ) -> None:
        self.module = _unwrapped(module)
        self.torch_optimizer = optimizer
        self._evaluation = evaluation

    # ---- weights

    def tensors(self) -> Tensors:
        """What travels, by name; the tensors themselves, not copies."""
        entries = self.module.state_dict().items()
        return {name: value for name, value in entries if isinstance(value, torch.Tensor)}

    def put(self, values: Tensors) -> None:
        """Write these values into the tensors of these names."""
        own = self.tensors()
        for name, value in values.items():
            own[name].copy_(value)

    def read(self, staying: Names) -> tuple[Arrays, Arrays]:
        """A tensor of two names stays here if one of them is to."""
        tensors, ties = self.tensors(), self._ties()
        if not tensors:
            raise ModelError("the model has no parameters and no buffers, so there is nothing to merge")
        arrays = {name: _array(name, tensor) for name, tensor in tensors.items() if name not in ties}
        return parted(arrays, {ties.get(name, name) for name in staying([*arrays, *ties])})

    def _ties(self) -> Mapping[str, str]:
        """Second names of tensors that travel under the first: second name → first."""
        first: dict[Any, str] = {}
        second: dict[str, str] = {}
        for name, tensor in self.tensors().items():
            if is_lazy(tensor) or tensor.layout != torch.strided or not tensor.numel() or tensor.is_meta:
                continue
            place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
            if first.setdefault(place, name) != name:
                second[name] = first[place]
        return second

    def load(self, part: Arrays) -> None:
        own = self.tensors()
        with torch.no_grad():
            self.put({name: _tensor(array, own[name].dtype) for name, array in part.items()})

    # ---- what a checkpoint keeps of the optimizer

    def optimizer(self) -> Arrays:
        """Its state's tensors; nothing of an optimizer whose state is more than tensors."""
        return {name: _array(name, value) for name, value in self._state()} if self._keeps_tensors_only() else {}

    def load_optimizer(self, kept: Arrays) -> None:
        optimizer = self.torch_optimizer
        if optimizer is None or not kept:
            return
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, array in kept.items():
            kind, number, key = name.split("/", 2)
            place = int(number)
            if kind != type(optimizer).__name__ or place >= len(parameters):
                raise ModelError(f"that of the checkpoint does not fit: it is of {kind}, for tensor {number}")
            if array.ndim and array.shape != tuple(parameters[place].shape):
                raise ModelError(f"that of the checkpoint does not fit: {name} has the shape {array.shape}")
            state.setdefault(place, {})[key] = _tensor(array, _type(array))
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})

    def _state(self) -> Iterator[tuple[str, Any]]:
        if self.torch_optimizer is None:
            return
        kind = type(self.torch_optimizer).__name__
        for place, entry in self.torch_optimizer.state_dict()["state"].items():
            for key, value in entry.items():
                if value is not None:
                    yield f"{kind}/{place}/{key}", value

    def _keeps_tensors_only(self) -> bool:
        return all(isinstance(value, torch.Tensor) for _, value in self._state())

    def evaluate(self) -> Mapping[str, float]:
        return self._evaluation(self.module) if self._evaluation is not None else {}


def given_module(keywords: Mapping[str, Any], platform: str) -> torch.nn.Module:
    """``model`` of a callback's arguments; raises BadInput, in HPE's words where there is none."""
    module = keywords.get("model")
    if module is None:
        raise BadInput(f"{platform} model is None", hint="SwarmCallback(…, model=model)")
    if not isinstance(module, torch.nn.Module):
        raise BadInput(f"model has to be a torch.nn.Module, received {type(module).__name__}")
    return module


def _unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """Without ``torch.compile`` and parallel wrappers, which put a word before every name."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if isinstance(module, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, torch.nn.Module):
            return module
        module = inner


def _array(name: str, tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """The tensor's bits in main memory; on the CPU without a copy."""
    if is_lazy(tensor):
        raise ModelError(
            f'tensor "{name}" has no shape yet', hint="send one batch through the model before the training begins"
        )
    kind = str(tensor.dtype).removeprefix("torch.")
    spread = type(tensor).__module__.startswith("torch.distributed")
    what = "spread over several processes" if spread else "on no device (meta)" if tensor.is_meta else ""
    if tensor.layout != torch.strided:
        what = f"sparse ({tensor.layout})"
    if kind not in STORAGE:
        what = f"of element type {kind}"
    if what:
        raise ModelError(f'tensor "{name}" is {what}, which cannot be merged', hint=f"one of {', '.join(STORAGE)}")
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    bits: np.ndarray[Any, Any] = flat.view(torch.uint8).numpy()
    return bits.view(_numpy_type(name, kind)).reshape(tuple(tensor.shape))


def _numpy_type(name: str, kind: str) -> np.dtype[Any]:
    if kind == "bfloat16":
        try:
            import ml_dtypes  # noqa: F401  # numpy knows bfloat16 from then on
        except ImportError:
            raise ModelError(
                f'tensor "{name}" is bfloat16, which needs ml_dtypes', hint="pip install ml_dtypes"
            ) from None
    return np.dtype(kind)


def _tensor(array: np.ndarray[Any, Any], kind: torch.dtype) -> torch.Tensor:
    """The array's bits in memory of their own, whatever numpy calls their type."""
    flat = np.array(array, order="C").reshape(-1).view(np.uint8)
    return torch.from_numpy(flat).view(kind).reshape(array.shape)


def _type(array: np.ndarray[Any, Any]) -> torch.dtype:
    kind: torch.dtype = getattr(torch, array.dtype.name)
    return kind
