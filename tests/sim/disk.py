"""Disks: what survives a crash of the process, and what a cut of the power.

`SnDisk` behaves as `runtime/store` promises: writes are transactions in order, and one is reported only when it is
through; a crash leaves a prefix of those under way, each whole or not at all; a flipped bit is noticed at the start.
`ModelDisk` is a learning node's directory of models: files outlive the process at once, the power only when synced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from swarm.core.ordering import Append, LogEntry
from swarm.core.snapshot import Snapshot
from tests.sim.history import Values

KEPT_BEHIND = 12
"""Entries that stay behind a snapshot, for those who are a little late."""
WRITE_S = (0.0003, 0.002)


class SnDisk:
    """An SN's store. It is the ``Log`` that consensus reads."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.term = 0
        self.vote = ""
        self.commit = 0
        self.entries: list[LogEntry] = []
        self.first_index = 1
        self.snapshot: Snapshot | None = None
        self.archive: list[bytes] = []
        """The raw entries from the first on, as far as this disk ever had them in a row and dropped them."""
        self.full = False
        self.damaged = False
        self._waiting: deque[tuple[Append | Snapshot, Callable[[], None]]] = deque()

    # ---- the log that is stored

    @property
    def last_index(self) -> int:
        return self.first_index + len(self.entries) - 1

    @property
    def snapshot_index(self) -> int:
        return self.snapshot.index if self.snapshot else 0

    def entry(self, index: int) -> LogEntry:
        assert index >= self.first_index, f"entry {index} is only in the snapshot"
        return self.entries[index - self.first_index]

    def read(self, after: int, upto: int, max_bytes: int) -> tuple[LogEntry, ...]:
        assert after + 1 >= self.first_index, f"entry {after + 1} is only in the snapshot"
        return tuple(self.entries[after + 1 - self.first_index : upto + 1 - self.first_index])

    def hash_at(self, index: int) -> bytes:
        if index == 0:
            return bytes(32)
        if self.snapshot is not None and index == self.snapshot.index:
            return self.snapshot.hash
        return self._before.hash if index == self.first_index - 1 else self.entry(index).hash

    def term_at(self, index: int) -> int:
        if index == 0:
            return 0
        if self.snapshot is not None and index == self.snapshot.index:
            return self.snapshot.term
        return self._before.term if index == self.first_index - 1 else self.entry(index).term

    def voters_at(self, index: int) -> tuple[str, ...]:
        for entry in reversed(self.entries[: max(0, index + 1 - self.first_index)]):
            if entry.voters is not None:
                return entry.voters
        return self._voters_before

    _before: LogEntry
    _voters_before: tuple[str, ...] = ()

    # ---- writing

    def submit(self, write: Append | Snapshot, done: Callable[[], None]) -> float:
        """Begin a write; ``settle`` after the seconds that this answers with finishes it."""
        self._waiting.append((write, done))
        low, spread = WRITE_S
        return low + spread * self._random.random()

    def settle(self) -> None:
        """The oldest write is through (unless the disk is full: then it waits)."""
        if self.full or not self._waiting:
            return
        write, done = self._waiting.popleft()
        self._write(write)
        done()

    def _write(self, write: Append | Snapshot) -> None:
        if isinstance(write, Snapshot):
            self._install(write)
            return
        self.term, self.vote = write.term, write.vote
        if write.entries:
            self.entries[write.after + 1 - self.first_index :] = write.entries

    def note_commit(self, commit: int) -> None:
        """In passing, with other writes: what is known to be committed may be older after a crash."""
        self.commit = max(self.commit, min(commit, self.last_index))

    def keep(self, snapshot: Snapshot) -> None:
        """Entries far enough behind the snapshot go to the archive."""
        first = max(self.first_index, snapshot.index - KEPT_BEHIND)
        self.snapshot = snapshot
        gone = self.entries[: first - self.first_index]
        if not gone:
            return
        voters = self.voters_at(first - 1)
        if len(self.archive) == gone[0].index - 1:
            self.archive.extend(entry.raw for entry in gone)
        self._before, self._voters_before = gone[-1], voters
        del self.entries[: len(gone)]
        self.first_index = first

    def _install(self, snapshot: Snapshot) -> None:
        self.snapshot, self.entries, self.first_index = snapshot, [], snapshot.index + 1
        self._before = LogEntry(snapshot.index, snapshot.term, snapshot.hash, b"", None)
        self._voters_before, self.commit = snapshot.voters, snapshot.index

    def published(self) -> tuple[int, list[bytes]]:
        """The entries up to the snapshot for those who follow, and behind which index they begin."""
        if self.snapshot is None:
            return 0, []
        if len(self.archive) < self.first_index - 1:
            return self.snapshot.index, []
        return 0, [*self.archive, *(entry.raw for entry in self.entries)][: self.snapshot.index]

    # ---- crashing

    def crash(self, *, torn: bool) -> tuple[int, int]:
        """A prefix of what is under way is through. How many writes were lost, and how many of these were begun."""
        through = 0 if self.full or torn else self._random.randint(0, len(self._waiting))
        for _ in range(through):
            self._write(self._waiting.popleft()[0])
        lost = len(self._waiting)
        self._waiting.clear()
        return lost, int(torn and lost > 0)


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
        """Whether there was room."""
        if self.full:
            return False
        self.files.setdefault(digest, ModelFile(values))
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
