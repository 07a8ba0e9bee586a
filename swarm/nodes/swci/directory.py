"""Where a command interface stands: its working directory, as ``cd``, ``pwd``, ``ls`` and file names see it.

Used by the session. HPE's SWCI runs in a container that has the user's directory at /platform/swarm/usr, and its
scripts go there by that name; here the same name leads to ``--usr-dir``. Everything else is where it is on this host.
"""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from swarm.errors import BadInput

USER_DIRECTORY = "/platform/swarm/usr"


class Directory:
    """``confined``: nothing but the user directory is there, for sessions that are held from elsewhere."""

    def __init__(self, usr_dir: Path | None, *, confined: bool = False) -> None:
        self._usr_dir = usr_dir.absolute() if usr_dir else None
        self._confined = confined
        self.current = USER_DIRECTORY if usr_dir or confined else str(Path.cwd())
        """As `pwd` says it."""

    def change(self, path: str) -> None:
        target = self._named(path)
        place = self._on_host(target)
        if not os.path.isdir(place):
            raise BadInput(f"there is no directory {target}{self._meaning(target)}")
        self.current = target

    def file(self, path: str) -> Path:
        """Where a file that a command names is on this host; raises BadInput if there is none."""
        target = self._named(path)
        place = self._on_host(target)
        if not os.path.isfile(place):
            raise BadInput(f"there is no file {target}{self._meaning(target)}", hint=f"pwd says {self.current}")
        return place

    def read(self, path: str) -> bytes:
        """What is in a file that a command names."""
        try:
            return self.file(path).read_bytes()
        except OSError as error:
            raise BadInput(f"the file {self._named(path)} cannot be read: {error.strerror}") from error

    def entries(self, path: str, *, hidden: bool) -> list[str]:
        """The names in a directory, sorted; directories with a slash."""
        target = self._named(path)
        place = self._on_host(target)
        if not os.path.exists(place):
            raise BadInput(f"there is no {target}{self._meaning(target)}")
        try:
            found = sorted(place.iterdir()) if os.path.isdir(place) else [place]
        except OSError as error:
            raise BadInput(f"the directory {target} cannot be read: {error.strerror}") from error
        return [f"{one.name}/" if os.path.isdir(one) else one.name for one in found if hidden or one.name[:1] != "."]

    def _named(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.current, posixpath.expanduser(path)))

    def _on_host(self, target: str) -> Path:
        inside = target == USER_DIRECTORY or target.startswith(f"{USER_DIRECTORY}/")
        place = self._usr_dir / target[len(USER_DIRECTORY) :].lstrip("/") if self._usr_dir and inside else Path(target)
        if self._confined and not self._holds(place):
            raise BadInput(f"{target} is not in the user directory, and nothing else is seen from the web")
        return place

    def _holds(self, place: Path) -> bool:
        """Wherever links lead."""
        try:
            return self._usr_dir is not None and place.resolve().is_relative_to(self._usr_dir.resolve())
        except (OSError, ValueError):  # no path at all
            return False

    def _meaning(self, target: str) -> str:
        """What the name stands for, where that is not the name itself."""
        place = str(self._on_host(target))
        if place != target:
            return f" (which is {place})"
        return "" if self._usr_dir or not target.startswith(USER_DIRECTORY) else " (it stands for --usr-dir)"
