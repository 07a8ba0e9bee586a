"""What the notebook has the store write, and how often that says how much is committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swarm.core.ordering import Append
from swarm.runtime.notebook import NOTE_COMMIT_S, Notebook
from swarm.runtime.store import Store
from tests.runtime.test_store import chain


class Disk:
    """A store that takes everything, at once or (slow) by its thread."""

    def __init__(self, *, slow: bool = False) -> None:
        self.slow = slow
        self.jobs: list[Any] = []

    def write_now(self, writes: list[Any]) -> bool:
        if not self.slow:
            self.jobs += writes
        return not self.slow

    def submit(self, job: Any) -> None:
        self.jobs.append(job)

    def commits(self) -> list[Any]:
        return [job.meta.get("commit") for job in self.jobs]


@pytest.mark.parametrize("slow", [False, True])
def test_writes_note_what_is_committed_once_a_second_and_term_and_vote_when_they_change(slow: bool) -> None:
    disk: Any = Disk(slow=slow)
    notebook = Notebook(disk)
    for number in range(1, 6):
        term = 1 if number < 5 else 2
        notebook.take(Append(number, term, "v", number, ()), number, 100.0 + number * NOTE_COMMIT_S * 0.4)
        assert notebook.write() == (0 if slow else number)
    assert disk.commits() == [1, None, None, 4, None]
    assert [job.meta.get("term") for job in disk.jobs] == [1, None, None, None, 2]


def test_what_no_write_has_noted_is_noted_within_a_second_and_nothing_twice() -> None:
    disk: Any = Disk()
    notebook = Notebook(disk)
    notebook.take(Append(1, 1, "v", 0, ()), 7, 100.0)
    notebook.write()
    for now_s in (100.0, 100.9):
        notebook.note_commit(9, now_s)
    assert disk.commits() == [7]
    for now_s in (101.0, 102.0, 103.0):
        notebook.note_commit(9, now_s)
    assert disk.commits() == [7, 9]


def test_entries_whose_commit_was_not_noted_are_there_and_not_known_to_be_committed(tmp_path: Path) -> None:
    entries = chain(3)
    with Store(tmp_path / "ledger.db") as store:
        store.start(lambda number: None, lambda: None)
        notebook = Notebook(store)
        for place, entry in enumerate(entries):
            notebook.take(Append(place + 1, 1, "v", place, (entry,)), place + 1, 100.0 + place / 10)
        notebook.submit()
    with Store(tmp_path / "ledger.db") as store:
        assert (store.last_index, store.commit, store.term, store.vote) == (3, 1, 1, "v")
