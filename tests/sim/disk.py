"""Disks: what survives a crash of the process, and what a cut of the power.

`SnDisk` behaves as `runtime/store` promises: everything that waits becomes one transaction, reported only when it is
through; a crash leaves the one under way whole or not at all, and may have forgotten what was committed since the
snapshot; a flipped bit is noticed at the start.
`ModelDisk` is a learning node's directory of models: files outlive the process at once, the power only when synced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from random import Random

from swarm.core.asking import Installed
from swarm.core.ordering import Append, Stored
from swarm.core.snapshot import Snapshot
from tests.core.storedlog import Mark, StoredLog
from tests.sim.history import Values

KEPT_BEHIND = 12
"""Entries that stay behind a snapshot, for those who are a little late."""
LOW_S, SPREAD_S = 0.0003, 0.002
"""How long a transaction takes, at least, and what chance adds at most."""


Done = Stored | Installed
"""What the machine is told when a write is through."""


class SnDisk(StoredLog):
    """An SN's store. What is submitted while a transaction is under way becomes the next one, in one piece."""

    def __init__(self, random: Random, note: Callable[..., None]) -> None:
        super().__init__()
        self._random = random
        self._note = note
        self.snapshot: Snapshot | None = None
        self.archive: list[bytes] = []
        """The raw entries from the first on, as far as this disk ever had them in a row and dropped them."""
        self.full = False
        self.damaged = False
        self._waiting: list[Append | Snapshot] = []
        self._under_way: list[Append | Snapshot] = []

    @property
    def snapshot_index(self) -> int:
        return self.snapshot.index if self.snapshot else 0

    @property
    def known(self) -> int:
        """What is known to be committed at a start: nobody stores a first entry that is not."""
        return max(self.commit, min(1, self.last_index))

    # ---- writing

    def submit(self, write: Append | Snapshot) -> None:
        self._waiting.append(write)

    def begin(self) -> float:
        """Write what waits, unless there is nothing or a transaction is under way: how long it takes; 0: not begun."""
        if self._under_way or not self._waiting:
            return 0.0
        self._under_way, self._waiting = self._waiting, []
        return LOW_S + SPREAD_S * self._random.random()

    def end(self) -> Iterator[Done]:
        """The transaction is through: what is to be told, of each kind that follow one another the last. What is shown
        of the log is what was told: a snapshot takes its place when the machine comes to hear of it."""
        writes, self._under_way = self._under_way, []
        return self._told(writes)

    def _told(self, writes: list[Append | Snapshot]) -> Iterator[Done]:
        for _, alike in groupby(writes, type):
            for write in alike:
                self._carry_out(write)
            yield Installed(write) if isinstance(write, Snapshot) else Stored(write.number)

    def _carry_out(self, write: Append | Snapshot) -> None:
        if isinstance(write, Snapshot):
            self.snapshot = write
            self.replace(Mark(write.index, write.term, write.hash, write.voters))
            return
        if write.entries and write.after < self.last_index:
            self._note("replaced", self.entry(write.after + 1).hash, write.entries[0].hash)
        self.write(write)

    def note_commit(self, commit: int) -> None:
        """In passing, with other writes; a crash loses as much of it as chance wants."""
        self.commit = max(self.commit, min(commit, self.last_index))

    def keep(self, snapshot: Snapshot) -> None:
        """Entries far enough behind the snapshot go to the archive."""
        self.snapshot = snapshot
        gone = self.raise_floor(snapshot.index - KEPT_BEHIND)
        if gone and len(self.archive) == gone[0].index - 1:
            self.archive.extend(entry.raw for entry in gone)

    def published(self) -> tuple[int, list[bytes]]:
        """The entries up to the snapshot for those who follow, and behind which index they begin."""
        if self.snapshot is None:
            return 0, []
        if len(self.archive) < self.floor.index:
            return self.snapshot.index, []
        return 0, [*self.archive, *(entry.raw for entry in self.entries)][: self.snapshot.index]

    # ---- crashing

    def crash(self, *, torn: bool) -> tuple[int, int]:
        """The transaction under way is through or not. How many writes were lost, and how many of these were begun."""
        if not (self.full or torn) and self._random.random() < 0.5:
            deque(self.end(), maxlen=0)
        self.commit = self._random.randint(min(self.snapshot_index, self.commit), self.commit)
        begun, waiting = len(self._under_way), len(self._waiting)
        self._under_way, self._waiting = [], []
        return begun + waiting, int(torn and begun > 0)


@dataclass(slots=True)
class ModelFile:
    values: Values
    synced: bool = False


@dataclass
class ModelDisk:
    """Models by digest."""

    random: Random
    files: dict[str, ModelFile] = field(default_factory=dict)
    full: bool = False

    def hold(self, digest: str, values: Values) -> bool:
        """Whether there was room. What lay there damaged is replaced."""
        if self.full:
            return False
        if digest not in self.files or self.files[digest].values != values:
            self.files[digest] = ModelFile(values)
        return True

    def keep_only(self, digests: Iterable[str]) -> None:
        wanted = set(digests)
        self.files = {digest: file for digest, file in self.files.items() if digest in wanted}

    def cut_power(self, *, torn: bool) -> tuple[int, int]:
        """What was not synced is lost, torn or there all the same. How many were lost, and how many torn."""
        lost = damaged = 0
        for digest, file in list(self.files.items()):
            if file.synced:
                continue
            chance = self.random.random()
            if chance < 0.4 and not torn:
                del self.files[digest]
                lost += 1
            elif chance < 0.7 or torn:
                half = len(file.values) // 2
                file.values = (*file.values[:half], *(0.0 for _ in file.values[half:]))
                damaged += 1
        return lost, damaged

    def flip_bit(self, digest: str) -> bool:
        file = self.files[digest]
        at = self.random.randrange(len(file.values))
        file.values = (*file.values[:at], file.values[at] + 0.5, *file.values[at + 1 :])
        return True
