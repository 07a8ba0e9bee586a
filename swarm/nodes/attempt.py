"""The attempt of a round that a learning node takes part in: what it serves of it, and what it can show of it.

Kept by ``nodes/learning`` from the snap on, until the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from swarm.core.events import SnapMade
from swarm.core.exchanging_pace import even_s
from swarm.nodes import mergemethods
from swarm.nodes.contribution import Contribution
from swarm.nodes.models import ModelFile
from swarm.runtime.data import Region, Want
from swarm.runtime.exchange import Exchange


@dataclass
class Attempt:
    """``result``: the file of the merge. ``handed``: the exchange puts it where the program will read it, too.

    ``method``: the name of the merge method.
    """

    snap: SnapMade
    own: Contribution
    result: ModelFile
    handed: bool
    exchange: Exchange
    method: str

    def is_of(self, round_: int, attempt: int) -> bool:
        return (self.snap.round, self.snap.attempt) == (round_, attempt)

    @property
    def rates(self) -> dict[str, int]:
        """What its members have told of their links, by uid; 0: nothing yet."""
        return {member.uid: member.rate for member in self.snap.members}

    def region(self, want: Want) -> Region:
        """Raises Refused for what is not here."""
        merged = want.what in ("shard", "distances")
        region = self.exchange.region(want) if merged else self.own.region(want)
        region.even_s = self._even_s if want.what in ("shard", "offer") else 0.0
        return region

    @cached_property
    def _even_s(self) -> float:
        return even_s(self.snap, len(self.own.content), judges=mergemethods.find(self.method).distances)

    def evidence(self, shards: Iterable[int]) -> Iterator[dict[str, Any]]:
        """What the owners of these shards, by number in the snap, signed for the bytes that they sent here."""
        snap = self.snap
        where = {"contract": snap.contract, "round": snap.round, "attempt": snap.attempt, "snap": snap.entry}
        for index in shards:
            proof = self.exchange.proof(index)
            if proof is not None:
                yield {**where, "shard": index, "uid": snap.owner_of(index), "first": proof}
