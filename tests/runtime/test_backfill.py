"""Old entries for the archive: what can go wrong on the way ends nothing."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import trio

from swarm.core.ordering import NO_HASH
from swarm.runtime import backfill as module
from swarm.runtime.archive import Archive
from swarm.runtime.backfill import Backfill
from swarm.wire.signed import make_entry


def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    entry = make_entry(1, 1, 0, NO_HASH, b"")
    write, failures = Archive.write, [OSError(errno.ENOSPC, "no space left")] * 2

    def full(self: Archive, first: int, raws: list[bytes]) -> None:
        if failures:
            raise failures.pop()
        write(self, first, raws)

    monkeypatch.setattr(Archive, "write", full)

    async def ask(uid: str, after: int) -> Any:
        return {"entries": [entry.raw]}

    archive = Archive(tmp_path / "archive")

    async def fill() -> None:
        with trio.fail_after(10):
            await Backfill(archive, ask, lambda: ["somebody"]).fill(entry.hash, 1, entry.hash)

    trio.run(fill)
    assert list(archive.after(0)) == [entry.raw]
    assert not failures


def test_answers_of_one_entry_each_make_no_file_each(tmp_path: Path) -> None:
    entries, previous = [], NO_HASH
    for index in range(1, 101):
        entries.append(make_entry(index, 1, 0, previous, b""))
        previous = entries[-1].hash

    async def ask(uid: str, after: int) -> Any:
        return {"entries": [entries[after].raw]}

    archive = Archive(tmp_path / "archive")

    async def fill() -> None:
        with trio.fail_after(10):
            await Backfill(archive, ask, lambda: ["somebody"]).fill(entries[0].hash, 100, previous)

    trio.run(fill)
    assert [(segment.first, segment.last) for segment in archive.segments()] == [(1, 100)]
    assert list(archive.after(0)) == [entry.raw for entry in entries]
