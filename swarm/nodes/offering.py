"""What an offer says besides what the member machine decides: roots, rates, and what the sync interval follows.

Used by ``nodes/learning``. An offer tells a measurement (`core/interval`) of the round before it: the loss that the
program has found for the model that came of it, or how far its own change was from the merged one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import trio

from swarm.core import clip
from swarm.core.contract import Contract
from swarm.core.interval import MEASURED_MAX
from swarm.nodes.climbing import GroupSession
from swarm.nodes.contribution import Offers
from swarm.nodes.models import Models
from swarm.runtime.channel_server import Session
from swarm.runtime.data_rates import Rates

MILLION = 1_000_000
THOUSAND = 1_000
LOSSES = ("val_loss", "loss")
"""Under which name a program tells its loss: the first of them that is there."""


class Offering:
    """Of one program in one contract."""

    def __init__(
        self,
        session: Session | GroupSession,
        contract: Contract,
        models: Models,
        offers: Offers,
        rates: Rates,
    ) -> None:
        self._session = session
        self._contract = contract
        self._models = models
        self._offers = offers
        self._rates = rates
        self._rule = contract.options.useAdaptiveSync
        self._measured: int | None = None
        self._coming: int | None = None
        """What the next ask's offer is to tell."""

    @property
    def drifts(self) -> bool:
        """`drift` is wanted of every merge."""
        return self._rule == "drift"

    def asked(self, metrics: Mapping[str, float]) -> None:
        """The program stands at a sync point, with these metrics."""
        self._measured, self._coming = self._coming, None
        if self._rule == "hpe":
            loss = next((metrics[name] for name in LOSSES if name in metrics), math.nan)
            self._measured = _whole(loss * MILLION) if loss >= 0 else None

    def merged(self, base: memoryview, merged: memoryview) -> None:
        """The program's weights were offered on this base, and merged. Takes a pass over all three."""
        schema = self._contract.schema
        own, all_ = (clip.squares(schema, 0, schema.nbytes, model, base) for model in (self._session.out, merged))
        self._coming = _whole(own / all_ * THOUSAND) if all_ > 0 else None

    def came_to_nothing(self) -> None:
        """The round was given up, or went on without this member: the others' merge is not what was measured."""
        self._coming = None

    def keeps(self, body: Mapping[str, Any], origin: str) -> None:
        """Models that neither this offer nor anybody else rests on go; ``origin``: what a late change is made of.

        An offer that is out of date by now would throw away what a later one rests on.
        """
        contract = self._contract
        if (body["round"], body["base"]) == (contract.round, contract.base):
            kept = (commit.digest for commit in contract.kept)
            self._models.keep_only([body["base"], origin, body["digest"], *kept])

    async def completed(self, body: Mapping[str, Any], before: Mapping[str, int]) -> dict[str, Any]:
        """The body of an Offer with all that it says; ``before``: the rates of the last round's members, by uid."""
        held, model = self._models.get(body["digest"]), self._models.get(body["base"])
        content = self._session.out if held is None else held.bytes
        of = (body["digest"], body["base"], content, model and model.read)
        root = await trio.to_thread.run_sync(self._offers.root, *of)
        known = [rate for rate in before.values() if rate] or [each.rate for each in self._contract.offers.values()]
        rates, seen = self._rates.told(known), self._rates.doubted(before)
        measured = {} if self._measured is None else {"measured": self._measured}
        return {**body, **root, **({"rates": rates} if rates else {}), **({"seen": seen} if seen else {}), **measured}


def _whole(value: float) -> int | None:
    return min(round(value), MEASURED_MAX) if math.isfinite(value) else None
