"""One swarm's rounds: weights of all peers in, the next base out, by the product's own code.

Used by `training`. What a learning node does with bytes is done here by the classes that it uses: offers are put on
the wire's form (`wireform`, `exchange_form`), distances measured (`distances`), contributions merged and the result
rounded to the form (`exchange_merging`), the outer step taken (`outer`), the base named by its digest (`hashing`). Not
here: network, ledger, signatures, which change no bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swarm.core.merge import METHODS, Members, distances
from swarm.core.merge.method import Array, may_be_faulty
from swarm.core.outer import Nesterov, Step, momenta
from swarm.core.tensors import LEAF_BYTES, Schema
from swarm.core.wireform import Coding, WireForm
from swarm.runtime import hashing
from swarm.runtime.exchange_form import AsTheyAre, Coded, Form
from swarm.runtime.exchange_merging import Merging
from swarm.wire.tensorbytes import HASH_BYTES

HASH = "blake3"


@dataclass(frozen=True)
class Terms:
    """Options of the contract, by the product's names and with its defaults."""

    method: str = "mean"
    wire: str = "fp32"
    outer: Nesterov | None = None
    max_faulty: int = -1
    """-1: left out."""


class Rounds:
    """``base``: what all peers hold, at first their common initial weights, which a first round has merged."""

    def __init__(self, schema: Schema, terms: Terms, base: Array) -> None:
        self._schema = schema
        self._terms = terms
        self._momenta = momenta(schema) if terms.outer else None
        self._base = _buffer(schema.nbytes)
        self._base[:] = _bytes(base)
        self._momentum = _buffer(self._momenta.nbytes if self._momenta else 0)

    @property
    def base(self) -> Array:
        return np.frombuffer(self._base, np.float32)

    def bytes_sent(self, peers: int, rounds: int) -> int:
        """What a peer sends in its first round, of the initial weights as they are, and so many rounds more."""
        form = WireForm(self._schema, self._terms.wire).nbytes if self._terms.wire != "fp32" else self._schema.nbytes
        return round(2 * (peers - 1) / peers * (self._schema.nbytes + rounds * form))

    def digest(self) -> str:
        whole = memoryview(self._base.tobytes() + self._momentum.tobytes())
        return hashing.base_digest(self._schema, self._momenta, whole, HASH)

    def merge(self, offered: Sequence[Array]) -> None:
        """A round in which the peers offer these models, each float32 in canonical layout, each with weight 1."""
        merged = self._merged([_bytes(one) for one in offered])
        if self._terms.outer is None or self._momenta is None:
            self._base = merged
            return
        after, model = _buffer(self._momenta.nbytes), _buffer(self._schema.nbytes)
        step = Step(self._schema, self._momenta, self._terms.outer)
        beyond = step.take(0, self._schema.nbytes, merged, self._base, self._momentum, model, after)
        assert beyond is None, f"the outer step takes {beyond} beyond its range"
        self._base, self._momentum = model, after

    def _merged(self, offered: list[memoryview]) -> memoryview:
        result = _buffer(self._schema.nbytes)
        forms = [self._form(own, result) for own in offered]
        contents = [form.own(0, self._schema.nbytes) for form in forms]  # as everybody reads them
        method = METHODS[self._terms.method]
        between = self._between(contents) if method.distances else None
        merging = Merging(
            self._schema,
            method,
            lambda uid, start, stop: contents[int(uid)][start:stop],
            result,
            _buffer(self._schema.leaves * HASH_BYTES),
            HASH,
            forms[0].settle,
        )
        faulty = may_be_faulty(len(offered), self._terms.max_faulty)
        merging.prepare(Members((1,) * len(offered), faulty, between))
        parts = [(str(number), number) for number in range(len(offered))]
        for leaf in range(self._schema.leaves):
            merging.merge(*self._schema.span(leaf, leaf + 1), parts)
        return result

    def _form(self, own: memoryview, result: memoryview) -> Form:
        if self._terms.wire == "fp32":
            return AsTheyAre(own, result)
        base = self._base
        coding = Coding(WireForm(self._schema, self._terms.wire), lambda start, stop: base[start:stop])
        sent = _buffer(coding.form.nbytes)
        coding.write(0, self._schema.nbytes, own, sent)
        return Coded(coding, sent, result, settles=True)

    def _between(self, contents: list[memoryview]) -> Array:
        values = [np.frombuffer(content, np.uint8) for content in contents]
        starts = range(0, self._schema.nbytes, LEAF_BYTES)
        room = distances.Room(len(values))
        sums = [
            distances.of_leaf(self._schema, at, [one[at : at + LEAF_BYTES] for one in values], room) for at in starts
        ]
        whole = {(0, self._schema.leaves): distances.part(0, np.stack(sums))}
        return distances.together(self._schema.leaves, len(contents), whole)


def _bytes(model: Array) -> memoryview:
    return memoryview(np.ascontiguousarray(model).view(np.uint8).data)


def _buffer(nbytes: int) -> memoryview:
    return memoryview(bytearray(nbytes))
