"""The outer step on a learning node: a round's merge in, the next base in a file out, with its momentum behind it.

Used by ``nodes/learning`` in a thread, after the gather. Every member takes the step by itself: it costs a pass over
the model and no byte on the network, where owners would have to send their shards' momentum with every result, and one
that dies would take it along. Guarantee: the file and its digest are a function of the merge, the base and the options.
"""

from __future__ import annotations

from swarm.core.contract import Contract
from swarm.core.outer import Step
from swarm.core.tensors import Schema
from swarm.errors import ModelError
from swarm.nodes.models import ModelFile, Models
from swarm.runtime import hashing
from swarm.runtime.cores import by_pieces


def stepped(contract: Contract, models: Models, merged: memoryview, base: str) -> tuple[ModelFile, str]:
    """``merged`` is the whole merge of a round on ``base``. Raises ModelError when the step leaves the range."""
    assert contract.momenta is not None, "a contract whose outer step is plain"
    file = models.incoming()  # zeros, also where there is only padding
    try:
        if base == contract.initial_base:
            file.bytes[:] = merged
        else:
            _step(contract, contract.momenta, models.file_of(base), merged, file)
    except BaseException:
        models.drop(file)
        raise
    return file, digest(contract, file)


def digest(contract: Contract, file: ModelFile) -> str:
    """Of what a file holds: the model, and its momentum where the contract has one."""
    return hashing.base_digest(contract.schema, contract.momenta, file.whole, contract.hash)


def sizes_of(contract: Contract) -> tuple[int, int]:
    """Bytes of a base's model, and of its momentum."""
    return contract.schema.nbytes, contract.momenta.nbytes if contract.momenta else 0


def _step(contract: Contract, momenta: Schema, base: ModelFile, merged: memoryview, file: ModelFile) -> None:
    step = Step(contract.schema, momenta, contract.options.nesterov)

    def take(start: int, stop: int) -> str | None:
        return step.take(start, stop, merged, base.bytes, base.state, file.bytes, file.state)

    beyond = [tensor for tensor in by_pieces(contract.schema.nbytes, take) if tensor]
    if beyond:
        raise ModelError(
            f'the outer step takes the tensor "{beyond[0]}" beyond the range of its element type',
            hint="a smaller outerLearningRate or outerMomentum, for all members",
        )
