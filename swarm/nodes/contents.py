"""Contents for a task: fetches what MAKE_SWARM_USER_CONTENT names, checks it, unpacks it, and puts it in its place.

Called by `nodes/preparing`, in a thread. Guarantees: a named directory has the whole content or is as it was before; no
byte is used whose hash is not the one that the task says; what is unpacked stays below the directory, whatever an
archive holds, and has no devices, no set-uid bits and no links that lead out; sizes and numbers are bounded.

A download that breaks off goes on where it ended, if its server can, a few times.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import url2pathname

from swarm.engines.paths import COPY, volume_name
from swarm.errors import BadInput, ModelError, Unreachable
from swarm.nodes.unpacking import Limits, unpack
from swarm.wire.contents import MakeSwarmUserContent, Operation, Pinned, pinned

TRIES = 5
SILENCE_S = 60.0
"""Without a byte for so long, a try is over."""
PIECE = 1 << 20
BYTES_MAX = 200 * 10**9
LENGTH_DIGITS = 18
"""Of a Content-Length; more than that is none."""
_RETRIED = (urllib.error.URLError, HTTPException, OSError)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What this host's disk says: another try ends there, too."""
_UNUSABLE = (ValueError, OverflowError)
"""What Python's client makes of ports, names and paths that are none."""


class Cancelled(Exception):
    """Nobody asks for the content any more."""


@dataclass(frozen=True)
class Contents:
    """``volumes``: where named directories are. ``nodes``: the numbers of the learning nodes that get a copy each."""

    volumes: Path
    nodes: tuple[int, ...]
    report: Callable[[str], None]
    cancelled: Callable[[], bool]

    def make(self, body: MakeSwarmUserContent, outcome: str) -> str:
        """Make or replace the directory `outcome`; what was made, in one line. Raises SwarmError or Cancelled."""
        volume_name(outcome, "Outcome of the task")
        part = self.volumes / f".{outcome}.part"
        _remove(part)
        try:
            self.volumes.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.mkdir(mode=0o700)
            for operation in body.OpsList:
                self._do(operation, part)
            files, size = _measure(part)
            places = [outcome]
            if body.ContentType == "SWARMCONTENT":
                places = [COPY.format(volume=outcome, node=node) for node in self.nodes]
            for place in places[:-1]:
                self._copy(part, place)
            _replace(part, self.volumes / places[-1])
        except OSError as error:
            raise BadInput(f"the content {outcome} cannot be written on this host: {error.strerror or error}") from None
        finally:
            _remove(part)
        copies = f", a copy for each of {len(self.nodes)} learning nodes" if len(places) > 1 else ""
        return f"{outcome}: {files} files, {size} bytes{copies}"

    def _copy(self, whole: Path, place: str) -> None:
        part = self.volumes / f".{place}.part"
        _remove(part)
        try:
            shutil.copytree(whole, part, symlinks=True)
            _replace(part, self.volumes / place)
        finally:
            _remove(part)

    def _do(self, operation: Operation, place: Path) -> None:
        if operation.Operation == "DOWNLOAD":
            self._download(pinned(operation.Target), _inside(place, operation.out))
            return
        archive = _inside(place, operation.archive)
        if not archive.is_file():
            raise BadInput(f"EXTRACT {operation.Target}: no DOWNLOAD before it has made this file")
        room = Limits(BYTES_MAX - _measure(place)[1])
        self.report(f"unpacking {operation.Target}")
        unpack(archive, _inside(place, operation.out), room, self._go_on)

    def _go_on(self) -> None:
        if self.cancelled():
            raise Cancelled

    # ---- downloads

    def _download(self, wanted: Pinned, file: Path) -> None:
        """Raises Unreachable, ModelError for other bytes than the task's, OSError where there is no room for them."""
        file.parent.mkdir(parents=True, exist_ok=True)
        for left in reversed(range(TRIES)):
            try:
                self._fetch(wanted.uri, file)
                break
            except urllib.error.HTTPError as error:
                if error.code < 500 or not left:
                    raise Unreachable(f"{wanted.uri} answered {error.code} {error.reason}") from None
            except _RETRIED as error:
                if isinstance(error, OSError) and error.errno in _FULL:
                    raise
                if not left or not wanted.uri.startswith("http"):
                    why = getattr(error, "reason", "") or str(error) or type(error).__name__
                    raise Unreachable(f"{wanted.uri} could not be fetched: {why}") from None
                self.report(f"{wanted.uri} broke off ({error}), trying again")
            except _UNUSABLE as error:
                raise BadInput(f"{wanted.uri} is no place that can be fetched from: {error}") from None
        self._check(wanted, file)

    def _fetch(self, uri: str, file: Path) -> None:
        if uri.startswith("file:"):
            _must_be_a_file(uri)
        have = file.stat().st_size if file.exists() else 0
        request = urllib.request.Request(uri, headers={"Range": f"bytes={have}-"} if have else {})
        with urllib.request.urlopen(request, timeout=SILENCE_S) as answer:
            goes_on = have > 0 and getattr(answer, "status", None) == 206
            total = have if goes_on else 0
            expected = answer.headers.get("Content-Length", "")
            told = expected.isdecimal() and len(expected) <= LENGTH_DIGITS
            expected_bytes = total + int(expected) if told else None
            self.report(f"fetching {uri}" + (f", {expected_bytes} bytes" if expected_bytes else ""))
            with file.open("ab" if goes_on else "wb") as written:
                while piece := answer.read1(PIECE):
                    self._go_on()
                    total += len(piece)
                    if total > BYTES_MAX:
                        raise BadInput(f"{uri} has more than {BYTES_MAX} bytes")
                    written.write(piece)
        if expected_bytes is not None and total != expected_bytes:
            raise HTTPException(f"{total} of {expected_bytes} bytes came")

    def _check(self, wanted: Pinned, file: Path) -> None:
        with file.open("rb") as data:
            found = hashlib.file_digest(data, "sha256").hexdigest()
        if found != wanted.sha256:
            self.report(f"{wanted.uri} has {file.stat().st_size} bytes with sha256 {found}")  # for the operator alone:
            raise ModelError(  # all members read this, and the file may be any that this host can read
                f"{wanted.uri} has bytes with another sha256, and the task says {wanted.sha256}",
                hint="whoever offers the file has changed it, or the task was written for another",
            )


def _must_be_a_file(uri: str) -> None:
    """No pipe, which would be waited for, and no device, which may have no end."""
    path = url2pathname(uri.removeprefix("file://").partition("?")[0])
    if os.path.exists(path) and not os.path.isfile(path):
        raise BadInput(f"{uri} is no plain file")


def _inside(place: Path, name: str) -> Path:
    """A path below the directory, through no link that an archive has brought."""
    path = place / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(place)):
        raise BadInput(f"{name} leads out of the content's directory")
    return path


def _measure(place: Path) -> tuple[int, int]:
    """How many files are there, and their bytes."""
    paths = [Path(folder, name) for folder, _, names in os.walk(place) for name in names]
    sizes = [path.lstat().st_size for path in paths if not path.is_symlink()]
    return len(sizes), sum(sizes)


def _replace(part: Path, place: Path) -> None:
    old = place.with_name(f".{place.name}.old")
    _remove(old)
    if place.exists():
        place.rename(old)  # who has it open goes on with it
    part.rename(place)
    _remove(old)


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
