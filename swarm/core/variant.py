"""Which of the swarms of a sweep a task with roles is; kept by its run, read by `core/sweeps`."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Variant:
    """Number ``index`` of ``of`` swarms of the sweep ``sweep``, whose id is ``id``: the one with this ``value``."""

    sweep: str
    id: int
    index: int
    of: int
    value: str

    def owns(self, contract: str) -> bool:
        """Whether it has the name of one of this swarm's contracts, or of a group's in it (`wire/variants`)."""
        return contract.endswith(f".{self.index}") or f".{self.index}-" in contract

    def to_state(self) -> list[Any]:
        return list(astuple(self))
