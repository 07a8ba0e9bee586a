"""Where a command interface stands: its working directory, as ``cd``, ``pwd``, ``ls`` and file names see it.

Used by the session. HPE's SWCI runs in a container that has the user's directory at /platform/swarm/usr, and its
scripts go there by that name; here the same name leads to ``--usr-dir``. Everything else is where it is on this host.
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from swarm.errors import BadInput

USER_DIRECTORY = "/platform/swarm/usr"


class Directory:
    def __init__(self, usr_dir: Path | None) -> None:
        self._usr_dir = usr_dir.absolute() if usr_dir else None
        self.current = USER_DIRECTORY if usr_dir else str(Path.cwd())
        """As `pwd` says it."""

    def change(self, path: str) -> None:
        target = self._named(path)
        place = self._on_host(target)
        if not place.is_dir():
            raise BadInput(f"there is no directory {target}{self._meaning(target)}")
        self.current = target

    def file(self, path: str) -> Path:
        """Where a file that a command names is on this host; raises BadInput if there is none."""
        target = self._named(path)
        place = self._on_host(target)
        if not place.is_file():
            raise BadInput(f"there is no file {target}{self._meaning(target)}", hint=f"pwd says {self.current}")
        return place

    def entries(self, path: str, *, hidden: bool) -> list[str]:
        """The names in a directory, sorted; directories with a slash."""
        target = self._named(path)
        place = self._on_host(target)
        if not place.exists():
            raise BadInput(f"there is no {target}{self._meaning(target)}")
        found = sorted(place.iterdir()) if place.is_dir() else [place]
        return [f"{one.name}/" if one.is_dir() else one.name for one in found if hidden or one.name[0] != "."]

    def _named(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.current, posixpath.expanduser(path)))

    def _on_host(self, target: str) -> Path:
        if self._usr_dir and (target == USER_DIRECTORY or target.startswith(f"{USER_DIRECTORY}/")):
            return self._usr_dir / target[len(USER_DIRECTORY) :].lstrip("/")
        return Path(target)

    def _meaning(self, target: str) -> str:
        """What the name stands for, where that is not the name itself."""
        place = str(self._on_host(target))
        if place != target:
            return f" (which is {place})"
        return "" if self._usr_dir or not target.startswith(USER_DIRECTORY) else " (it stands for --usr-dir)"
