"""The models that a learning node holds: files by digest in its state directory.

Used by ``nodes/learning`` (results, adopted bases) and, through regions, by the data server's threads. Guarantees: a
model named by its digest is complete; the last two committed ones are kept; a result in the making has another name
and is gone after a restart.

A file that is not needed any more is kept for the next result: to fill pages that are there costs a copy, fresh ones
cost several.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from swarm.errors import InternalError, ModelError


class ModelFile:
    """One model's canonical bytes. They outlive this process as soon as they are written.

    ``state_nbytes`` lie behind the model: the momentum of a contract that has one.
    """

    def __init__(self, path: Path, nbytes: int, state_nbytes: int = 0) -> None:
        self._nbytes = nbytes
        self._size = nbytes + state_nbytes
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._map: mmap.mmap | None = None
        try:
            if os.fstat(self._file).st_size != self._size:
                os.posix_fallocate(self._file, 0, self._size)  # a full disk says so here, not as SIGBUS in a merge
                os.ftruncate(self._file, self._size)
        except OSError as error:
            os.close(self._file)
            raise ModelError(
                f"no room for a model of {self._size} bytes in {path.parent}: {error.strerror}",
                hint="free space there, or choose another directory with --state",
            ) from error
        self._lock = threading.Lock()
        self._unused = threading.Condition(self._lock)
        self._users = 0
        """Threads that are reading or writing."""
        self._syncing = threading.Lock()
        self._synced = False

    @property
    def whole(self) -> memoryview:
        """The model and its state, mapped and writable."""
        with self._lock:
            if self._map is None:
                self._map = self._mapped()
            return memoryview(self._map)

    @property
    def bytes(self) -> memoryview:
        return self.whole[: self._nbytes]

    @property
    def state(self) -> memoryview:
        return self.whole[self._nbytes :]

    def _mapped(self) -> mmap.mmap:
        if self._file < 0:
            raise ModelError(f"the model {self.path} is not held any more")
        try:
            return mmap.mmap(self._file, self._size)
        except OSError as error:
            raise ModelError(f"the model {self.path} cannot be read: {error.strerror}") from error

    def read(self, start: int, stop: int) -> memoryview:
        """These bytes of the model, without taking memory for a map. Any thread."""
        with self._in_use() as file:
            try:
                content = os.pread(file, stop - start, start)
            except OSError as error:
                raise ModelError(f"the model {self.path} cannot be read: {error.strerror}") from error
        if len(content) != stop - start:
            raise ModelError(f"the model {self.path} ends at byte {start + len(content)} of at least {stop}")
        return memoryview(content)

    def write(self, start: int, content: memoryview) -> None:
        """These bytes from ``start`` on, without taking memory for a map. Any thread."""
        with self._in_use() as file:
            try:
                while content:
                    count = os.pwrite(file, content, start)
                    start, content = start + count, content[count:]
            except OSError as error:
                raise ModelError(f"the model {self.path} cannot be written: {error.strerror}") from error

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[int]:
        """The descriptor, which is not closed meanwhile: it might be another file's then. Users wait for nobody."""
        with self._lock:
            if self._file < 0:
                raise ModelError(f"the model {self.path} is not held any more")
            file, self._users = self._file, self._users + 1
        try:
            yield file
        finally:
            with self._lock:
                self._users -= 1
                self._unused.notify_all()

    def name(self, path: Path) -> None:
        os.replace(self.path, path)
        self.path = path

    def sync(self) -> None:
        """The bytes, and the name, survive a power cut when this returns. Any thread; again costs nothing.

        They take no memory of this process from then on, until somebody reads them.
        """
        with self._syncing:
            if self._synced or self._file < 0:
                return
            try:
                os.fsync(self._file)
                _sync_directory(self.path.parent)
                # of a shared map this gives back memory, and loses nothing
                if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
                    self._map.madvise(mmap.MADV_DONTNEED)
            except OSError as error:
                raise ModelError(f"the model {self.path} could not be written to disk: {error.strerror}") from error
            self._synced = True

    def close(self) -> bool:
        """Give the descriptor back; nothing is written any more. Whether nobody looks at the bytes any more, either.

        The memory goes when the last view of it does.
        """
        with self._syncing, self._lock:
            if self._file >= 0:
                file, self._file = self._file, -1
                self._unused.wait_for(lambda: not self._users)
                os.close(file)
            try:
                if self._map is not None:
                    self._map.close()
            except BufferError:
                return False
            self._map = None
            return True


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Models:
    """The models of one contract's schema size in ``directory``, by digest, with ``state_nbytes`` of momentum each."""

    def __init__(self, directory: Path, nbytes: int, state_nbytes: int = 0) -> None:
        self.sizes = (nbytes, state_nbytes)
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in directory.glob("incoming-*"):
            leftover.unlink()
        self._held: dict[str, ModelFile] = {}
        self._spare: Path | None = None
        self._numbers = itertools.count(1)

    def result(self) -> ModelFile:
        """A file for a model every byte of which is going to be written."""
        if self._spare is None:
            return self.incoming()
        path, self._spare = self._spare, None
        return self._opened(path, *self.sizes)

    def incoming(self, *, state: bool = True) -> ModelFile:
        """A fresh file for a result or a model on its way here, zeros until it is written. Any thread."""
        return self._opened(self._unnamed(), *(self.sizes if state else self.sizes[:1]))

    def _opened(self, path: Path, *sizes: int) -> ModelFile:
        try:
            return ModelFile(path, *sizes)
        except ModelError:
            path.unlink(missing_ok=True)
            raise

    def hold(self, file: ModelFile, digest: str) -> None:
        """The file is complete and has this digest."""
        known = self._held.get(digest)
        if known is not None and known is not file:
            if file.path == known.path:
                file.close()  # the stored model, opened twice
            else:
                self.drop(file)
            return
        if file.path != self._path(digest):
            file.name(self._path(digest))
        self._held[digest] = file

    def holds(self, file: ModelFile) -> bool:
        return file in self._held.values()

    def drop(self, file: ModelFile) -> None:
        """Any thread."""
        file.close()
        file.path.unlink(missing_ok=True)

    def _retire(self, file: ModelFile) -> None:
        """It is not needed any more; its pages may be, for the next result."""
        if file.close() and self._spare is None and not self.sizes[1]:
            with contextlib.suppress(OSError):  # somebody has removed it
                file.name(self._unnamed())
                self._spare = file.path
                return
        file.path.unlink(missing_ok=True)

    def get(self, digest: str) -> ModelFile | None:
        return self._held.get(digest)

    def bytes_of(self, digest: str) -> memoryview:
        return self.file_of(digest).bytes

    def file_of(self, digest: str) -> ModelFile:
        file = self._held.get(digest)
        if file is None:
            raise InternalError(f"the model {digest} was to be handed over, and this node does not hold it")
        return file

    def stored(self, digest: str) -> ModelFile | None:
        """The file that an earlier process left under this digest. Its bytes are to be verified before it is held."""
        path = self._path(digest)
        if digest in self._held or not path.exists() or path.stat().st_size != sum(self.sizes):
            return None
        return ModelFile(path, *self.sizes)

    def keep_only(self, digests: Iterable[str]) -> None:
        """Drop all other models, also what earlier processes left."""
        wanted = {digest: self._path(digest) for digest in digests}
        for digest in [held for held in self._held if held not in wanted]:
            self._retire(self._held.pop(digest))
        for path in set(self.directory.glob("*.bin")) - set(wanted.values()):
            path.unlink(missing_ok=True)

    def _unnamed(self) -> Path:
        return self.directory / f"incoming-{next(self._numbers)}"

    def _path(self, digest: str) -> Path:
        return self.directory / f"{digest.replace(':', '-')}.bin"
