"""The merge methods that a learning node has: the product's, and those in files that its owner names.

Used by ``nodes/sl`` before it enrols and by ``nodes/learning`` at each attempt. Guarantees: code comes from files that
the owner of this host has named in SWARM_MERGE_METHODS, never from the network; what is run is what the contract's
digest names; a method that is not here is refused before anything is enrolled.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.abc import SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path

from swarm.core.merge import METHODS, Method
from swarm.core.merge.own import is_name, name_of
from swarm.errors import BadInput, Refused

VARIABLE = "SWARM_MERGE_METHODS"
"""Files of Python code, between them the separator of PATH. Each says METHOD = a `swarm.core.merge.Method`."""


def find(name: str) -> Method:
    """The method of this name in a contract; raises Refused when this node does not have it."""
    known = {**METHODS, **own(os.environ.get(VARIABLE, ""))}
    if name not in known:
        stem = name.partition("@")[0]
        others = [other for other in known if is_name(other) and other.startswith(f"{stem}@")]
        why = "has another version of it" if others else "does not have it"
        raise Refused(
            f"the contract merges with {name[:80]}, this learning node {why}",
            hint=f"put the file of {stem} that all members have into {VARIABLE}, and start the node again",
        )
    return known[name]


@cache
def own(files: str) -> dict[str, Method]:
    """The methods in these files, by their names in contracts."""
    return dict(_loaded(Path(file)) for file in files.split(os.pathsep) if file)


class _TheseBytes(SourceLoader):
    """Imports what was read and is named by its digest, whatever becomes of the file meanwhile."""

    def __init__(self, path: Path, source: bytes) -> None:
        self._path = path
        self._source = source

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_data(self, path: str | bytes) -> bytes:
        return self._source


def _loaded(path: Path) -> tuple[str, Method]:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise BadInput(f"the merge method {path} of {VARIABLE} cannot be read: {error.strerror}") from error
    loader = _TheseBytes(path, source)
    module = module_from_spec(ModuleSpec(path.stem, loader, origin=str(path)))
    try:
        loader.exec_module(module)
    except Exception as error:
        raise BadInput(f"the merge method {path} fails as it is loaded: {error!r}") from error
    method = getattr(module, "METHOD", None)
    if not isinstance(method, Method):
        raise BadInput(f"the merge method {path} has no METHOD", hint="METHOD = by_element(…), see docs/MERGING.md")
    return name_of(path.stem, source), method
