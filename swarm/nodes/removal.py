"""Everything that nodes on this host have kept, ended and removed; certificates stay.

Used by `swarm uninstall`. Guarantee: nothing is removed of a process that runs, and no file of a certificate or its
key.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from swarm.nodes.detached import detached, forget, stop
from swarm.nodes.standing import Standing
from swarm.runtime.statedir import in_use

UP = "up"


def leftover(base: Path) -> list[Path]:
    """What lies in the directory of all state directories."""
    return sorted(base.iterdir()) if base.is_dir() else []


def still_running(base: Path) -> list[Path]:
    """State directories of processes that nobody left running on purpose; those that were are ended first."""
    left = detached()
    stop(left)
    forget(left, keep=True)
    if (base / UP).is_dir():
        with Standing(base / UP) as standing:
            standing.down()
    return [path for path in leftover(base) if path.is_dir() and in_use(path)]


def remove(base: Path) -> list[Path]:
    """Remove it all; what was kept."""
    kept = []
    for path in leftover(base):
        certificates = sorted(path.glob("org-*")) if path.name == UP else []
        if certificates:
            kept += certificates
            for inner in set(path.iterdir()) - set(certificates):
                _remove(inner)
        else:
            _remove(path)
    return kept


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
