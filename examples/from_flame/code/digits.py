"""What both roles share: a small network for handwritten digits (8 x 8 pixels, 10 classes), in numpy."""

from itertools import pairwise

import numpy as np

SIZES = (64, 32, 10)


def initial():
    """Weights to begin with, the same for everybody."""
    chance = np.random.default_rng(0)
    return {
        f"{name}{layer}": value.astype(np.float32)
        for layer, (inner, outer) in enumerate(pairwise(SIZES))
        for name, value in (("w", chance.normal(0, inner**-0.5, (inner, outer))), ("b", np.zeros(outer)))
    }


def outputs(weights, x):
    """The hidden layer's values, and the probabilities of the classes; x: float32 (examples, 64)."""
    hidden = np.maximum(x @ weights["w0"] + weights["b0"], 0)
    logits = hidden @ weights["w1"] + weights["b1"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return hidden, powers / powers.sum(axis=1, keepdims=True)


def trained(weights, x, y, rate):
    """One step of gradient descent on the cross entropy of a batch."""
    hidden, found = outputs(weights, x)
    error = (found - np.eye(SIZES[-1], dtype=np.float32)[y]) / len(x)
    back = (error @ weights["w1"].T) * (hidden > 0)
    slopes = {"w0": x.T @ back, "b0": back.sum(axis=0), "w1": hidden.T @ error, "b1": error.sum(axis=0)}
    return {name: value - np.float32(rate) * slopes[name] for name, value in weights.items()}


def accuracy(weights, x, y):
    return float((outputs(weights, x)[1].argmax(axis=1) == y).mean())
