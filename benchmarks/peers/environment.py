"""The environment of a measured system: a virtual environment of its own, made from its pinned requirements.

Called by `benchmarks.peers.__main__`. Environments lie in $SWARM_PEERS_DIR, else ~/.cache/swarm-peers, never in the
repository, under the name of the system and the hash of its requirements: other pins, another environment. Guarantee:
one that is there is complete; what cannot be installed is said in one sentence.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.peers.systems import HERE, System
from swarm.errors import BadInput

PATIENCE_S = 1800


def cache() -> Path:
    return Path(os.environ.get("SWARM_PEERS_DIR") or Path.home() / ".cache" / "swarm-peers").resolve()


def python_of(system: System, place: Path | None = None) -> Path:
    """The interpreter of its environment in ``place``, made now if it is not there.

    Raises BadInput if it cannot be made.
    """
    place = cache() if place is None else place
    if place.is_relative_to(HERE.parent.parent):
        raise BadInput(
            f"SWARM_PEERS_DIR: {place} lies in the repository", hint="environments of gigabytes belong elsewhere"
        )
    pins = system.requirements.read_bytes()
    folder = place / f"{system.name}-{hashlib.sha256(pins + sys.version.encode()).hexdigest()[:8]}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{system.name}: installing {system.requirements.name} into {folder}", file=sys.stderr)
    venv.create(folder, with_pip=False, symlinks=True)
    _install(system, python)
    (folder / "complete").touch()
    return python


def _install(system: System, python: Path) -> None:
    """Our own pip installs for the other interpreter."""
    quietly = ["install", "--quiet", "--disable-pip-version-check", "-r", str(system.requirements)]
    command = [sys.executable, "-m", "pip", "--python", str(python), *quietly]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"{system.name} cannot be installed here: pip has not ended after {PATIENCE_S} s") from error
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        why = (errors or done.stderr.splitlines() or ["it says nothing"])[-1].removeprefix("ERROR: ")
        raise BadInput(
            f"{system.name} cannot be installed here: pip ended with {done.returncode}: {why}",
            hint=f"it installs {system.requirements.relative_to(HERE.parent.parent)} from PyPI",
        )


def version(python: Path, package: str) -> str:
    """Of an installed package, with the mark of its build: 2.13.0+cpu."""
    ask = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
