"""Models as files by digest: complete or not there, found again, kept in small number."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from swarm.errors import InternalError, ModelError
from swarm.nodes.models import ModelFile, Models

ONE, TWO, THREE = (f"blake3:{digit * 64}" for digit in "123")


def held(models: Models, digest: str, content: bytes) -> None:
    file = models.incoming()
    file.bytes[:] = content
    models.hold(file, digest)


def test_a_model_is_found_by_its_digest_and_only_so(tmp_path: Path) -> None:
    models = Models(tmp_path / "models", 4)
    held(models, ONE, b"abcd")
    assert bytes(models.bytes_of(ONE)) == b"abcd"
    assert models.get(TWO) is None
    with pytest.raises(InternalError):
        models.bytes_of(TWO)


def test_a_later_process_finds_what_an_earlier_one_stored(tmp_path: Path) -> None:
    held(Models(tmp_path / "models", 4), ONE, b"abcd")
    later = Models(tmp_path / "models", 4)
    assert later.get(ONE) is None  # until its bytes are verified
    stored = later.stored(ONE)
    assert stored is not None
    assert bytes(stored.bytes) == b"abcd"
    later.hold(stored, ONE)
    assert bytes(later.bytes_of(ONE)) == b"abcd"


def test_a_file_of_another_size_is_no_model(tmp_path: Path) -> None:
    held(Models(tmp_path / "models", 4), ONE, b"abcd")
    assert Models(tmp_path / "models", 8).stored(ONE) is None


def test_results_in_the_making_do_not_survive_a_restart(tmp_path: Path) -> None:
    Models(tmp_path / "models", 4).incoming()
    Models(tmp_path / "models", 4)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_stored_model_that_is_opened_twice_stays_where_it_is(tmp_path: Path) -> None:
    held(Models(tmp_path / "models", 4), ONE, b"abcd")
    models = Models(tmp_path / "models", 4)
    for file in [models.stored(ONE), models.stored(ONE)]:
        assert file is not None
        models.hold(file, ONE)
    assert [path.name for path in (tmp_path / "models").iterdir()] == [f"{ONE.replace(':', '-')}.bin"]


def test_a_model_without_room_leaves_nothing_behind(tmp_path: Path) -> None:
    models = Models(tmp_path / "models", 2**62)
    with pytest.raises(ModelError, match="no room"):
        models.incoming()
    assert list((tmp_path / "models").iterdir()) == []


def test_a_model_is_written_to_disk_once_and_dropped_at_any_time(tmp_path: Path) -> None:
    models = Models(tmp_path / "models", 4)
    held(models, ONE, b"abcd")
    file = models.get(ONE)
    assert file is not None
    file.sync()
    models.keep_only([])
    file.sync()
    assert models.get(ONE) is None


def test_only_the_wanted_models_are_kept(tmp_path: Path) -> None:
    held(Models(tmp_path / "models", 4), THREE, b"left")
    models = Models(tmp_path / "models", 4)
    held(models, ONE, b"abcd")
    held(models, TWO, b"efgh")
    models.keep_only([TWO])
    assert [path.name for path in (tmp_path / "models").glob("*.bin")] == [f"{TWO.replace(':', '-')}.bin"]
    assert bytes(models.bytes_of(TWO)) == b"efgh"


def test_the_next_result_is_written_into_the_file_of_a_model_that_nobody_reads_any_more(tmp_path: Path) -> None:
    models = Models(tmp_path / "models", 4)
    held(models, ONE, b"abcd")
    held(models, TWO, b"efgh")
    inode = models.file_of(ONE).path.stat().st_ino
    models.keep_only([TWO])
    file = models.result()
    assert file.path.stat().st_ino == inode
    file.write(2, memoryview(b"kl"))
    file.write(0, memoryview(b"ij"))
    models.hold(file, THREE)
    assert bytes(models.bytes_of(THREE)) == b"ijkl"
    assert sorted(path.suffix for path in (tmp_path / "models").iterdir()) == [".bin", ".bin"]
    assert models.result().path.stat().st_ino != inode, "there is no other to spare"


def test_a_model_that_somebody_reads_stays_as_it_is_for_them_when_it_is_dropped(tmp_path: Path) -> None:
    models = Models(tmp_path / "models", 4)
    held(models, ONE, b"abcd")
    read = models.bytes_of(ONE)[1:3]
    models.keep_only([])
    assert list((tmp_path / "models").iterdir()) == []
    models.result().write(0, memoryview(b"efgh"))
    assert bytes(read) == b"bc"


def test_who_is_late_neither_writes_nor_reads_a_file_that_has_become_another_models(tmp_path: Path) -> None:
    models = Models(tmp_path / "models", 4)
    held(models, ONE, b"abcd")
    late = models.file_of(ONE)
    models.keep_only([])
    models.hold(models.result(), TWO)
    for use in (lambda: late.write(0, memoryview(b"late")), lambda: late.whole):
        with pytest.raises(ModelError, match="not held any more"):
            use()
    assert bytes(models.bytes_of(TWO)) == b"abcd"


def test_a_model_whose_file_somebody_has_removed_is_dropped_like_any_other(tmp_path: Path) -> None:
    models = Models(tmp_path / "models", 4)
    held(models, ONE, b"abcd")
    models.file_of(ONE).path.unlink()
    models.keep_only([])
    models.result().write(0, memoryview(b"efgh"))
    assert models.get(ONE) is None


def test_a_spare_file_does_not_survive_a_restart(tmp_path: Path) -> None:
    models = Models(tmp_path / "models", 4)
    held(models, ONE, b"abcd")
    models.keep_only([])
    assert len(list((tmp_path / "models").iterdir())) == 1
    Models(tmp_path / "models", 4)
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's /proc")
def test_a_model_that_is_on_disk_takes_no_memory_until_it_is_read(tmp_path: Path) -> None:
    models, content = Models(tmp_path / "models", 1 << 20), bytes(range(256)) * 4096
    held(models, ONE, content)
    file = models.get(ONE)
    assert resident(file.path) == 1 << 20
    file.sync()
    assert resident(file.path) == 0
    assert bytes(file.bytes) == content
    assert resident(file.path) == 1 << 20


def resident(path: Path) -> int:
    """Bytes of this file that this process has in memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    of_path = next(line for line in lines if line.endswith(str(path)))
    rss = next(line for line in lines if line.startswith("Rss:"))
    assert of_path
    return int(rss.split()[1]) * 1024


def test_a_piece_of_a_model_is_read_without_a_map_until_the_file_is_given_back(tmp_path):
    models = Models(tmp_path / "models", 4096)
    file = models.incoming()
    file.write(100, memoryview(b"hello"))
    assert bytes(file.read(98, 107)) == b"\0\0hello\0\0"
    assert file._map is None
    with pytest.raises(ModelError, match="ends at byte 4096 of at least 5000"):
        file.read(4000, 5000)
    models.drop(file)
    with pytest.raises(ModelError, match="is not held any more"):
        file.read(0, 1)


def test_who_reads_waits_for_no_other_reader_and_the_file_is_closed_when_the_last_is_done(tmp_path: Path, monkeypatch):
    file = Models(tmp_path / "models", 4).incoming()
    file.write(0, memoryview(b"abcd"))
    inside, go_on, read = threading.Barrier(3), threading.Event(), os.pread

    def slow(*of: int) -> bytes:
        inside.wait(10)
        assert go_on.wait(10)
        return read(*of)

    monkeypatch.setattr(os, "pread", slow)
    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(file.read, 0, 4), pool.submit(file.read, 1, 3)]
        inside.wait(10)
        closing = pool.submit(file.close)
        while not is_refused(file):  # closing has begun
            assert not closing.done()
        go_on.set()
        assert [bytes(reader.result(10)) for reader in readers] == [b"abcd", b"bc"]
        assert closing.result(10)


def is_refused(file: ModelFile) -> bool:
    try:
        file.write(0, memoryview(b""))
    except ModelError:
        return True
    return False
