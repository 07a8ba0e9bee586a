"""Who waits to read the ledger as it is by now: until who leads has made sure of that, and all of it is applied here.

Used by the orderer. Guarantees: a read is ready once, at the earliest with all that was acknowledged before it came.
"""

from __future__ import annotations


class Reads:
    def __init__(self) -> None:
        self._needed: dict[int, int | None] = {}  # by number: the index that a read needs, once that is known

    def __bool__(self) -> bool:
        return bool(self._needed)

    def begin(self, number: int) -> None:
        self._needed[number] = None

    def confirm(self, number: int, index: int) -> None:
        self._needed[number] = index

    def ready(self, head: int) -> list[int]:
        """Those that need no more than this; nobody waits for them any longer."""
        ready = [number for number, needed in self._needed.items() if needed is not None and needed <= head]
        for number in ready:
            del self._needed[number]
        return ready

    def forget(self, number: int) -> None:
        self._needed.pop(number, None)

    def release(self) -> list[int]:
        numbers, self._needed = list(self._needed), {}
        return numbers
