"""A committed model's bytes: from an earlier process of this node, or from the first holder that has them whole.

Used by ``nodes/learning``. Guarantees: what is fetched has the digest that was asked for; one model is on its way at
a time, so that a holder that has fallen silent costs a thread and a file, however many rounds are committed meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from swarm.core.contract import Contract
from swarm.core.member_steps import Fetch, Fetched, FetchFailed
from swarm.errors import Refused, SwarmError
from swarm.nodes.models import ModelFile, Models
from swarm.nodes.stepping import digest as digest_of
from swarm.runtime.data import DataClient, FetchStopped, Stop, Want

log = logging.getLogger("swarm.SL")


class Fetching:
    """``happened`` is told what came of it, unless another fetch has taken its place."""

    def __init__(
        self, contract: Contract, models: Models, client: DataClient, happened: Callable[[Fetched | FetchFailed], None]
    ) -> None:
        self._contract = contract
        self._models = models
        self._client = client
        self._happened = happened
        self._stop = Stop()
        self._asked = ""
        """The holder whose bytes are waited for."""
        self._slow: list[str] = []
        """Those whose bytes were given up, the last of them last. They are asked after all others: one that sends a
        byte now and then could keep this node behind for good."""

    def anew(self) -> Stop:
        """Ends the fetch that is under way; for the next one, to be taken at once, since tasks begin in any order."""
        self._stop.set()
        self._stop = Stop()
        if self._asked:
            self._slow = [*(uid for uid in self._slow if uid != self._asked), self._asked]
        return self._stop

    async def fetch(self, effect: Fetch, stop: Stop) -> None:
        if self._models.get(effect.digest) is None:
            of = (self._contract, self._models, self._client, self._sorted(effect), stop, self._asks)
            try:
                file = await trio.to_thread.run_sync(fetched, *of, abandon_on_cancel=True)  # type: ignore[call-arg] # the stubs are older
            except FetchStopped:
                return
            except SwarmError as error:
                self._happened(FetchFailed(effect.digest, error.message))
                return
            finally:
                stop.set()  # who was cancelled has left the thread to itself
                if stop is self._stop:
                    self._asked = ""
            self._models.hold(file, effect.digest)
        self._happened(Fetched(effect.digest))

    def _sorted(self, effect: Fetch) -> Fetch:
        after = {uid: place for place, uid in enumerate(self._slow, 1)}
        return Fetch(effect.digest, tuple(sorted(effect.holders, key=lambda uid: after.get(uid, 0))))

    def _asks(self, uid: str) -> None:
        self._asked = uid


def fetched(
    contract: Contract,
    models: Models,
    client: DataClient,
    effect: Fetch,
    stop: Stop,
    asks: Callable[[str], None] = lambda uid: None,
) -> ModelFile:
    """In a thread; ``asks`` hears whom. Raises Refused with what each holder said, and FetchStopped after ``stop``."""
    own = verified(contract, models, effect.digest)
    if own is not None:
        return own
    reasons = []
    for uid in effect.holders:
        file = models.incoming()
        want = Want(contract.name, 0, "model", 0, effect.digest, 0, file.whole.nbytes)
        asks(uid)
        try:
            client.fetch(contract.members[uid].data_address, uid, want, file.whole, stop=stop)
            found = digest_of(contract, file)
            if found == effect.digest:
                stop.check()  # nobody may be there any more to whom it can be given
                return file
            log.warning(
                "%s sent %s in place of the model %s: others are asked", contract.members[uid], found, effect.digest
            )
            reasons.append(f"{contract.members[uid]} sent {found}")
        except SwarmError as error:
            reasons.append(error.message)
        except FetchStopped:
            models.drop(file)
            raise
        models.drop(file)
    raise Refused("; ".join(reasons) or "no other member is known to hold it")


def verified(contract: Contract, models: Models, digest: str) -> ModelFile | None:
    """What an earlier process of this node left under this digest, if its bytes still are what they were."""
    file = models.stored(digest)
    if file is None or (found := digest_of(contract, file)) == digest:
        return file
    log.warning("the model %s is damaged on disk, its bytes are %s: it counts as missing", digest, found)
    models.drop(file)
    return None
