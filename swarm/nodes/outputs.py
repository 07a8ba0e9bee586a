"""What the jobs of an operator have put out: a directory a task, named like it, and in it one a job, by its number.

Used by `nodes/jobbing` before a job begins, by `nodes/jobdirectory` when it has ended well, by `nodes/artifacts` when
it is fetched, by `nodes/swop` when its task was deleted. Guarantees: a job does not begin where an earlier task of its
name has left something, so nothing is overwritten and no work is done for nothing; what is removed is the deleted
task's own.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from swarm.core.filelist import FileEntry
from swarm.errors import BadInput
from swarm.nodes.holdings import hash_of
from swarm.nodes.trees import removed

OWNER = ".run"
"""The file that says whose the directory is: the number of a run."""


def entries(directory: Path) -> list[FileEntry]:
    """The files below it, hashed; links and pipes are none. Raises OSError."""
    found = (Path(place, name) for place, _, names in os.walk(directory) for name in names)
    files = [path for path in found if path.is_file() and not path.is_symlink()]
    return [FileEntry(str(path.relative_to(directory)), hash_of(path), path.stat().st_size) for path in files]


def no_files(directory: str, names: list[str]) -> set[str]:
    """What `entries` leaves out, as `shutil.copytree` asks: links, and what is neither a file nor a directory."""
    paths = {name: Path(directory, name) for name in names}
    return {name for name, path in paths.items() if path.is_symlink() or not (path.is_file() or path.is_dir())}


class Outputs:
    """Of one task. ``runs``: where those of all tasks of this operator are."""

    def __init__(self, runs: Path, task: str, run: int) -> None:
        self.path = runs / task
        self._run = run

    def claim(self) -> None:
        """Have the place before anything begins. Raises BadInput when something of an earlier task lies there."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.ours:
                return
            if os.listdir(self.path) not in ([], [OWNER]):
                raise BadInput(
                    f"in {self.path} there is output already, of an earlier task of this name",
                    hint="move it away, or choose another name; swarm task rm --outputs removes it with its task",
                )
            (self.path / OWNER).write_text(str(self._run), encoding="ascii")
        except OSError as error:
            raise BadInput(f"the place for output, {self.path}, cannot be made: {error.strerror}") from None

    @property
    def ours(self) -> bool:
        try:
            return (self.path / OWNER).read_text(encoding="ascii") == str(self._run)
        except OSError:
            return False

    def discard(self, *, all_of_it: bool) -> None:
        """The task is gone: what it put out goes too, or stays as it is."""
        if not self.ours:
            return
        if all_of_it:
            removed(self.path)
        elif os.listdir(self.path) == [OWNER]:
            with contextlib.suppress(OSError):
                (self.path / OWNER).unlink()
                self.path.rmdir()
