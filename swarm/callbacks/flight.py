"""A program's rounds on its channel: weights handed over, the swarm's answer, and what the program has afterwards.

Kept by ``callbacks/base`` while a session is open. Guarantees: weights that are not finite, or cannot be merged
otherwise, never leave this process; what was handed over stays as it was until it is answered, whatever the program
trains meanwhile; the model that the swarm has agreed on is changed by nothing but what the program has trained since.
"""

from __future__ import annotations

from swarm.callbacks.checkpoint import Arrays
from swarm.core.rebase import rebase
from swarm.core.tensors import Schema
from swarm.errors import ModelError
from swarm.runtime.channel import Channel
from swarm.wire import tensorbytes
from swarm.wire.messages import Merged, Sync

LOADED = ("merged", "adopted")
"""Answers that bring a model."""


class Flight:
    """Of one open session. One round at a time: each that is begun is answered before the next one."""

    def __init__(self, channel: Channel, schema: Schema) -> None:
        self.under_way = False
        self._channel = channel
        self._schema = schema
        self._answer: Merged | None = None
        self._room = memoryview(b"")

    def pack(self, weights: Arrays, *, whatever: bool = False) -> None:
        """Freeze the weights; raises ModelError for those that no merge can take, unless ``whatever`` is fine."""
        assert not self.under_way, "weights are frozen until they are answered"
        tensorbytes.pack(self._schema, weights, self._channel.out)
        found = None if whatever else tensorbytes.first_flaw(self._schema, self._channel.out, sent=True)
        if found is not None:
            tensor, flaw = found
            what = "are not finite (NaN or infinity)" if flaw == tensorbytes.NOT_FINITE else f"hold {flaw}"
            raise ModelError(f'the weights in tensor "{tensor}" {what}, so they cannot be merged', hint=_hint(flaw))

    def begin(self, request: Sync) -> None:
        """Hand over what was packed."""
        self._channel.begin(request)
        self.under_way = True

    def landed(self) -> bool:
        """Whether the round under way has its answer. Never waits."""
        if self.under_way and self._answer is None:
            self._answer = self._channel.decided_yet()
        return self._answer is not None

    def answer(self) -> Merged:
        """Of the round under way, which ends with it; waits for it."""
        answer, self._answer = self._answer or self._channel.decided(), None
        self.under_way = False
        return answer

    def held(self, answer: Merged) -> Arrays:
        """What a program has that stood still: views of memory that the next round overwrites."""
        return tensorbytes.views(self._schema, self._channel.incoming if answer.how in LOADED else self._channel.out)

    def moved(self, weights: Arrays) -> Arrays:
        """The model that came, with the change on it that these weights are from what was handed over. Views, too."""
        if not self._room:
            self._room = memoryview(bytearray(self._schema.nbytes))
        tensorbytes.pack(self._schema, weights, self._room)
        rebase(self._schema, self._room, self._channel.out, self._channel.incoming, self._room)
        return tensorbytes.views(self._schema, self._room)


def _hint(flaw: str) -> str:
    if flaw == tensorbytes.NOT_FINITE:
        return "the training diverged: a lower learning rate or gradient clipping may help; look at the data too"
    return "does the tensor hold what was trained, in the element type that it says? Other numbers may be scaled down"
