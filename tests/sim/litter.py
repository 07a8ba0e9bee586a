"""What worlds leave behind: it is thrown away when few of them have been played, and never in between.

Used by the command and by those who look for planted bugs. A world is one great ring of references, most of which
`Scenario.throw_away` lets go of; the less of the rest lies about, the nearer at hand memory is.
"""

from __future__ import annotations

import gc

EVERY = 4
"""Worlds."""


def begin() -> None:
    """What is loaded by now stays: no search for litter looks at it again. Holds for children of this process, too."""
    gc.disable()
    gc.freeze()


def clear(world: int) -> None:
    """Before each world."""
    if world % EVERY == 0:
        gc.collect()
