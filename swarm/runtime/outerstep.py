"""What others sent, held against the outer step that follows the merge.

Used by `runtime/clipping` for what one exchange merges. Guarantee: who sends what takes a step with momentum beyond the
range of its element type is named, by whoever merges that, before anybody has taken the step (`nodes/stepping`).
"""

from __future__ import annotations

from swarm.core import outer
from swarm.core.tensors import Schema
from swarm.core.wireform import Base
from swarm.runtime.exchange_merging import BadContribution, BytesOf


def steppable(schema: Schema, base: Base, bytes_of: BytesOf) -> BytesOf:
    """The same bytes; raises BadContribution for those that take an outer step with momentum beyond the range."""

    def held(contributor: str, start: int, stop: int) -> memoryview:
        part = bytes_of(contributor, start, stop)
        if (tensor := outer.too_far(schema, start, stop, part, base(start, stop))) is not None:
            raise BadContribution(
                contributor, f'its tensor "{tensor}" is too far from the last model for an outer step'
            )
        return part

    return held
