"""The networks that the bench trains: one hidden layer, plain SGD, those of all peers and seeds at once.

Used by `training`. Models are rows of one float32 array, each of which is a model's canonical bytes (`core/tensors`),
so what is trained is merged without a copy. Guarantee: a row's bits do not depend on the rows beside it.
"""

from __future__ import annotations

import numpy as np

from swarm.core.merge.method import Array
from swarm.core.tensors import Schema, TensorSpec

HIDDEN = 32


class Network:
    """inputs - HIDDEN (ReLU) - classes (softmax, cross entropy)."""

    def __init__(self, inputs: int, classes: int) -> None:
        shapes = {"w1": (inputs, HIDDEN), "b1": (1, HIDDEN), "w2": (HIDDEN, classes), "b2": (1, classes)}
        self.schema = Schema(tuple(TensorSpec(name, "float32", shape) for name, shape in shapes.items()))

    def initial(self, seed: int) -> Array:
        """One model: He's normal initialisation, biases 0."""
        random = np.random.default_rng([seed, 2])
        model = np.zeros((1, self.schema.nbytes // 4), np.float32)
        for tensor in self.tensors(model):
            if tensor.shape[1] > 1:
                tensor[:] = random.standard_normal(tensor.shape) * np.sqrt(2 / tensor.shape[1])
        return np.asarray(model[0])

    def tensors(self, models: Array) -> list[Array]:
        """Views (model, rows, columns) of the tensors of these models."""
        offsets = [offset // 4 for offset in self.schema.offsets]
        return [
            models[:, start : start + spec.nbytes // 4].reshape(len(models), *spec.shape)
            for start, spec in zip(offsets, self.schema.tensors, strict=False)
        ]

    def step(self, models: Array, x: Array, y: Array, rate: float) -> None:
        """One step of SGD for each model: x (model, batch, inputs), y (model, batch)."""
        w1, b1, w2, b2 = self.tensors(models)
        hidden = np.maximum(x @ w1 + b1, 0)
        wrong = _softmax(hidden @ w2 + b2)
        np.put_along_axis(wrong, y[..., None], np.take_along_axis(wrong, y[..., None], -1) - 1, -1)
        wrong *= np.float32(rate / y.shape[1])
        back = wrong @ w2.transpose(0, 2, 1)
        back *= hidden > 0
        w2 -= hidden.transpose(0, 2, 1) @ wrong
        b2 -= wrong.sum(1, keepdims=True)
        w1 -= x.transpose(0, 2, 1) @ back
        b1 -= back.sum(1, keepdims=True)

    def accuracies(self, models: Array, x: Array, y: Array) -> Array:
        """What part of these examples each model names rightly: x (example, inputs), y (example)."""
        w1, b1, w2, b2 = self.tensors(models)
        said = (np.maximum(x @ w1 + b1, 0) @ w2 + b2).argmax(-1)
        return np.asarray((said == y).mean(-1))


def _softmax(logits: Array) -> Array:
    logits -= logits.max(-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(-1, keepdims=True)
    return logits
