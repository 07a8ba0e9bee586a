"""Validity: whether the certificates by which others were let in still hold, as time goes on and CAs revoke.

Run by ``runtime/control`` beside its links; the data plane's both ends ask for an ``objection`` at every request.
Guarantees: a revocation list that is put into capath counts a few seconds later, for new connections (the lists are the
credentials' own) and for those that are there; a link whose certificate expires or is revoked ends, and both sides are
told why in one sentence; who was let in is not cut off because this host's clock was set back. A list that cannot be
read changes nothing and is told of: those that were read before go on counting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

import trio

from swarm.errors import IdentityError, SwarmError
from swarm.runtime.credentials import Credentials
from swarm.runtime.tls import Peer

CHECK_S = 5.0

log = logging.getLogger("swarm")


class Linked(Protocol):
    peer: Peer

    async def close(self, error: SwarmError | None = None) -> None: ...


async def watch(credentials: Credentials, links: Callable[[], Iterable[Linked]]) -> None:
    """Until cancelled."""
    told = ""
    while True:
        await trio.sleep(CHECK_S)
        try:
            await trio.to_thread.run_sync(credentials.read_revocations)
        except SwarmError as error:
            if error.message != told:
                log.warning("%s (the lists that were read before go on counting)", error.message)
            told = error.message
        for link in list(links()):
            why = objection(credentials, link.peer)
            if why is not None:
                log.warning("%s is cut off: %s", link.peer, why.message)
                await link.close(why)


def objection(credentials: Credentials, peer: Peer) -> IdentityError | None:
    """What stands by now against the certificate that let this process in."""
    try:
        credentials.judge(peer.chain)
    except IdentityError as error:
        return error
    return None
