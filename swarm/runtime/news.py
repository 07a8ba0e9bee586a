"""Messages to other network nodes on their way out: the mere news of a commit waits a moment, if entries may follow.

Used by the driver. Entries carry the same news, so where one proposal comes after the other a message, and a wake-up of
every follower, is saved for each. Guarantees: everything else leaves at once, in order; news waits ``HOLD_S`` at most,
and not at all unless entries followed the news before as soon as that. Consensus does not notice: it bears that
messages are late or lost, and later ones of a leader say all that earlier ones said of its commits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import trio

from swarm.core.orderer import Orderer
from swarm.core.ordering import Entries, Message, Send, epoch_of
from swarm.runtime.statedir import StateDirectory
from swarm.wire.heads import sign_head
from swarm.wire.order import write_message

HOLD_S = 0.002


class News:
    def __init__(self, send: Callable[[str, Message], None]) -> None:
        self._send = send
        self._held: dict[str, Entries] = {}
        self._told_s = float("-inf")  # when news left without entries, the last time
        self._pays = False
        self._until = trio.CancelScope()  # its deadline is when what is held leaves

    def send(self, effect: Send) -> None:
        message = effect.message
        if isinstance(message, Entries):
            if not message.entries and not message.stamp:
                self._tell(effect.to, message)
                return
            held = self._held.pop(effect.to, None)  # the deadline stays: the next news moves it on before it comes
            if message.entries:
                self._pays = held is not None or trio.current_time() - self._told_s < HOLD_S
        self._send(effect.to, message)

    def _tell(self, to: str, news: Entries) -> None:
        now_s = trio.current_time()
        if self._pays:
            if not self._held:
                self._until.deadline = now_s + HOLD_S
            self._held[to] = news
        else:
            self._told_s = now_s
            self._send(to, news)

    async def run(self) -> None:
        """Let go of what has waited long enough, for ever; not woken while entries keep coming."""
        while True:
            with self._until:
                await trio.sleep(math.inf)
            self._until = trio.CancelScope()
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, {}
        if held:
            self._pays = False
        for to, news in held.items():
            self._send(to, news)


def written(message: Message, state: StateDirectory, network_id: bytes, orderer: Orderer) -> dict[str, Any]:
    """As it leaves. What an only voter sends is stored here, and it signs that: whoever has the entries has its word
    for them, so that it cannot go on without them, from an old copy of its directory, and call that its ledger."""
    wire = write_message(message, network_id)
    if isinstance(message, Entries) and message.entries and orderer.consensus.voters == (state.uid,):
        last = message.entries[-1]
        if last.index <= orderer.consensus.stored:
            epoch, index, hash_ = epoch_of(last.term), last.index, last.hash
            wire["head"] = sign_head(state.node_key, network_id=network_id, epoch=epoch, index=index, hash=hash_)
    return wire
