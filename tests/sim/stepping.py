"""The outer step of a contract with momentum: the product's `outer.Step` on the few numbers of a simulated model.

It stands in for ``nodes/stepping``. A base is the model and, behind it, the momentum: its digest covers both.
"""

from __future__ import annotations

import struct

from swarm.core import outer
from swarm.core.agreement import Options
from swarm.core.tensors import Schema
from tests.sim.history import Values
from tests.sim.program import packed


def stepped(small: Schema, options: Options, merged: Values, base: Values | None) -> Values:
    """``base``: what the round was on; None: there was no model before."""
    count = len(merged)
    if base is None:
        return (*merged, *(0.0 for _ in merged))
    momenta = outer.momenta(small)
    assert momenta is not None, "numbers are floats"
    model, after = bytearray(small.nbytes), bytearray(momenta.nbytes)
    of = (packed(merged, small.nbytes), packed(base[:count], small.nbytes), packed(base[count:], momenta.nbytes))
    step = outer.Step(small, momenta, options.nesterov)
    beyond = step.take(0, small.nbytes, *of, memoryview(model), memoryview(after))
    assert beyond is None, "the numbers of a world are far from the end of their range"
    return tuple(value for part in (model, after) for value in struct.unpack_from(f"{count}f", part))
