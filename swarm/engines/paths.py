"""Container paths: what a profile and a task name as sources and targets, checked before anything is started.

Used by `nodes/pairing` for both kinds of documents; `engines/enter` shows the result to the program. Guarantees: a
target is an absolute path that leads nowhere but down; a source exists, and one with a `subPath` does not leave what it
is part of; a named volume is a directory of the operator's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from swarm.errors import BadInput

COPY = "{volume}@{node}"
"""A volume of which each learning node has a copy of its own (SWARMCONTENT); no volume that is named has this form."""
_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,239}")


@dataclass(frozen=True, slots=True)
class Mount:
    """``source`` of this host is seen at ``target`` by one worker. ``what`` names it in sentences."""

    what: str
    source: Path
    target: str
    read_only: bool = False
    own: bool = False
    """The worker's own, gone with its slot."""


def target_of(text: str, what: str) -> str:
    """A path inside the worker in its one spelling."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not text.startswith("/") or "\0" in text or not parts:
        raise BadInput(f"{what} is {text!r}, expected an absolute path below / inside the worker")
    if ".." in parts:
        raise BadInput(f"{what} {text!r} leads out of the worker's directories: '..' is not possible there")
    return "/" + "/".join(parts)


def source_of(kind: str, text: str, what: str, *, volumes: Path, sub_path: str = "", node: int | None = None) -> Path:
    """The host's path that a BIND or VOLUME means; raises BadInput when there is none, or it is left by its subPath.

    ``node``: the index of the learning node for which it is, which may have a copy of the volume.
    """
    whole = _volume(text, what, volumes, node) if kind == "VOLUME" else _bound(text, what)
    if not sub_path:
        return whole
    part = _real(whole / sub_path.lstrip("/"))
    if not part.is_relative_to(_real(whole)):
        raise BadInput(f"subPath {sub_path!r} of {what} leads out of {whole}")
    return _existing(part, what)


def _bound(text: str, what: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or "\0" in text:
        hint = "replace the placeholder by a directory of this host" if text.startswith("<") else ""
        raise BadInput(f"{what} is {text!r}, expected an absolute path on the operator's host", hint=hint)
    if _real(path) == Path("/"):
        raise BadInput(f"{what} is {text!r}: a whole host is not given to a worker")
    return _existing(path, what)


def _real(path: Path) -> Path:
    """As `Path.resolve`, which raises RuntimeError for links that lead in a circle."""
    return Path(os.path.realpath(path))


def _existing(path: Path, what: str) -> Path:
    try:
        path.stat()
    except OSError as error:
        raise BadInput(f"{what} {path} cannot be used: {error.strerror or error}") from None
    return path


def volume_name(name: str, what: str) -> str:
    """The name of a volume as it is; raises BadInput for a text that could lead anywhere else."""
    if not _VOLUME.fullmatch(name):
        raise BadInput(f"{what} is {name!r}, which is not the name of a volume: expected letters, digits and . _ -")
    return name


def _volume(name: str, what: str, volumes: Path, node: int | None) -> Path:
    volume_name(name, what)
    own = volumes / COPY.format(volume=name, node=node)
    if own.is_dir():
        return own
    path = volumes / name
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"the volume {path} of {what} cannot be made: {error.strerror}") from None
    return path


def in_order(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """Outer targets before those inside them; raises BadInput when two claim one target."""
    ordered = sorted(mounts, key=lambda mount: (mount.target.count("/"), mount.target))
    for one, next_ in pairwise(ordered):
        if one.target == next_.target:
            raise BadInput(f"{one.what} and {next_.what} both claim {one.target}: a target shows one source")
    return tuple(ordered)


def covered(target: str, mounts: Iterable[Mount]) -> bool:
    """Whether the target lies in one of the mounts."""
    return any(f"{target}/".startswith(f"{mount.target}/") for mount in mounts)
