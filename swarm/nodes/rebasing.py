"""The bytes of a late contribution: the program's change since its model, put onto the one that the others have now.

Used by ``nodes/learning`` in a thread, while the program waits.
"""

from __future__ import annotations

from swarm.core.contract import Contract
from swarm.core.member_steps import Rebase
from swarm.core.rebase import rebase
from swarm.errors import ModelError
from swarm.nodes.fetching import verified
from swarm.nodes.models import ModelFile, Models
from swarm.runtime import hashing
from swarm.wire import tensorbytes


def rebased(contract: Contract, models: Models, own: memoryview, effect: Rebase) -> tuple[ModelFile, str]:
    """A file with the moved weights, and their digest; raises ModelError when they cannot be offered."""
    schema = contract.schema
    origin = models.get(effect.origin) or verified(contract, models, effect.origin)
    if origin is None:
        raise ModelError(f"the model {effect.origin}, from which the program trained, is not here any more")
    file = models.incoming()
    try:
        rebase(schema, own, origin.bytes, models.bytes_of(effect.base), file.bytes)
        if found := tensorbytes.first_flaw(schema, file.bytes, sent=True):
            raise ModelError(f'its tensor "{found[0]}" would hold {found[1]}')
    except BaseException:
        models.drop(file)
        raise
    return file, hashing.digest(schema, file.bytes, contract.hash)
