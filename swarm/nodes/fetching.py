"""A committed model's bytes: from an earlier process of this node, or from the first holder that has them whole.

Used by ``nodes/learning`` in a thread. Guarantee: what is returned has the digest that was asked for.
"""

from __future__ import annotations

from swarm.core.contract import Contract
from swarm.core.member_steps import Fetch
from swarm.errors import Refused, SwarmError
from swarm.nodes.models import ModelFile, Models
from swarm.nodes.stepping import digest as digest_of
from swarm.runtime.data import DataClient, Want


def fetched(contract: Contract, models: Models, client: DataClient, effect: Fetch) -> ModelFile:
    """Raises Refused with what each holder said."""
    own = verified(contract, models, effect.digest)
    if own is not None:
        return own
    reasons = []
    for uid in effect.holders:
        file = models.incoming()
        want = Want(contract.name, 0, "model", 0, effect.digest, 0, file.whole.nbytes)
        try:
            client.fetch(contract.members[uid].data_address, uid, want, file.whole)
            found = digest_of(contract, file)
            if found == effect.digest:
                return file
            reasons.append(f"{contract.members[uid]} sent {found}")
        except SwarmError as error:
            reasons.append(error.message)
        models.drop(file)
    raise Refused("; ".join(reasons) or "no other member is known to hold it")


def verified(contract: Contract, models: Models, digest: str) -> ModelFile | None:
    """What an earlier process of this node left under this digest, if its bytes still are what they were."""
    file = models.stored(digest)
    if file is None or digest_of(contract, file) == digest:
        return file
    models.drop(file)
    return None
