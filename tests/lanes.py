"""Which tests may run beside each other, when several processes share them (`pytest -n`, as `make test` does).

Called by conftest around every test. A test marked `alone` promises something about time, as in "ends within two
seconds": while it runs, no other does. All others run side by side. Guarantees: whoever waits gets its turn, as all go
through one door, one after the other; a process that dies gives its turn back.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class Lanes:
    def __init__(self, directory: Path) -> None:
        """``directory`` is the same for all processes of one run."""
        self._door = (directory / "lanes-door").open("w")
        self._road = (directory / "lanes-road").open("w")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else is on the road, and nobody comes through the door."""
        with _locked(self._door, fcntl.LOCK_EX), _locked(self._road, fcntl.LOCK_EX):
            yield

    @contextmanager
    def beside_others(self) -> Iterator[None]:
        with _locked(self._door, fcntl.LOCK_EX):  # else a stream of these would keep an `alone` waiting for ever
            fcntl.flock(self._road, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._road, fcntl.LOCK_UN)


@contextmanager
def _locked(file: IO[str], how: int) -> Iterator[None]:
    fcntl.flock(file, how)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # closing would not do: a forked child may hold the file open, too
