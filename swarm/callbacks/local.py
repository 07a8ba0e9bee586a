"""What stays in the training program: the tensors that ``local_only`` names.

Used by ``callbacks/base``. Batch normalisation's tensors where sites' data differ in kind (FedBN: Li et al. 2021),
heads and adapters of one's own. Guarantees: what is named here is no part of the contract and is never handed to the
learning node; a pattern that names nothing is refused, since what it was meant to keep would leave this program.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from itertools import islice

from swarm.callbacks.checkpoint import Arrays
from swarm.errors import BadInput

LOOKED_AT = 5000
Names = Callable[[Iterable[str]], frozenset[str]]
"""Of these names those that are meant."""


def staying(patterns: Sequence[str], names: Iterable[str]) -> frozenset[str]:
    """Which of a model's tensors stay; raises BadInput for a pattern that fits none, and when all would."""
    known = list(names)
    kept: set[str] = set()
    for pattern in patterns:
        fitting = [name for name in known if fnmatchcase(name, pattern)]
        if not fitting:
            hint = f'the nearest is "{_nearest(pattern, known)}"; * stands for any characters' if known else ""
            raise BadInput(f'local_only: the pattern "{pattern}" fits none of the {len(known)} tensors', hint=hint)
        kept.update(fitting)
    if kept and len(kept) == len(set(known)):
        raise BadInput(
            f"local_only keeps all {len(known)} tensors of this model here: there is nothing to merge",
            hint="name only what is not to be shared",
        )
    return frozenset(kept)


def parted(arrays: Arrays, local: Collection[str]) -> tuple[Arrays, Arrays]:
    """What is shared, and what stays here."""
    return (
        {name: array for name, array in arrays.items() if name not in local},
        {name: array for name, array in arrays.items() if name in local},
    )


def _nearest(pattern: str, names: Sequence[str]) -> str:
    """The name, or a part of it between slashes and dots, that looks most like the pattern."""
    letters = re.sub(r"[*?\[\]!]", "", pattern).lower()

    def likeness(name: str) -> float:
        parts = (name, *re.split(r"[/.:]", name))
        return max(SequenceMatcher(None, letters, part.lower()).ratio() for part in parts)

    return max(islice(names, LOOKED_AT), key=likeness)
