"""Merge methods that users write: what makes one of a few lines, and how a contract names it.

Used by the file of such a method (`examples/add-a-merge-method`), by callbacks and by learning nodes. Guarantee: a name
says which code it is, to the byte, so members that agree on a contract merge with the same.

    name@<SHA-256 of the file>     in the contract; every learning node has the file (`swarm/nodes/mergemethods`)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from swarm.core.merge import affine, mean
from swarm.core.merge.mean import BLOCK
from swarm.core.merge.method import Array, Kernel, Members, Method
from swarm.core.tensors import FLOATS

Rule = Callable[[list[Array], tuple[int, ...]], Array]
"""(the members' values in float64, a block of a tensor each; their weights): the merged values."""

by_distances = affine.method
"""A method of z = Σ λᵢ·xᵢ, from a function of `Members` that finds the λ from weights and `Members.between`."""

_NAME = re.compile(r"[a-z0-9_.+-]{1,64}@[0-9a-f]{64}")


def by_element(rule: Rule) -> Method:
    """A method that goes element by element.

    The same bits everywhere is up to the rule: element-wise numpy in fixed order, no np.sum, np.mean or matrix product.
    Integers are rounded to the nearest (exact up to 2^53), booleans are true from a half on.
    """

    def kernel(members: Members) -> Kernel:
        def merged(dtype: str, parts: Sequence[Array], out: Array) -> None:
            for start in range(0, len(out), BLOCK):
                block = slice(start, start + BLOCK)
                values = [_as_float64(dtype, part[block]) for part in parts]
                _store(dtype, np.asarray(rule(values, members.weights), np.float64), out[block])

        return merged

    return Method(kernel)


def _as_float64(dtype: str, stored: Array) -> Array:
    return mean.as_float64(dtype, stored) if dtype in FLOATS else stored.astype(np.float64)


def _store(dtype: str, values: Array, out: Array) -> None:
    if dtype in FLOATS:
        mean.rounded(dtype, values, out)
    else:
        out[:] = values >= 0.5 if dtype == "bool" else np.rint(values).astype(out.dtype)


def name_of(stem: str, source: bytes) -> str:
    """What a contract calls the method in a file of this name (without its ending) and content."""
    return f"{stem.lower()}@{hashlib.sha256(source).hexdigest()}"


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None
