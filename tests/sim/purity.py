"""What the simulator stands on: of the product only the pure rooms, and none of them patched in a clean run."""

from __future__ import annotations

import sys
from pathlib import Path

import swarm

ALLOWED = ("swarm", "swarm.errors", "swarm.core", "swarm.wire")


def version() -> str:
    return str(swarm.__version__)


def check() -> None:
    """Raises AssertionError when anything else of the product was imported, or from another place than this tree."""
    home = Path(__file__).resolve().parents[2] / "swarm"
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "swarm":
            continue
        assert name in ALLOWED or name.startswith(("swarm.core.", "swarm.wire.")), f"the simulator imports {name}"
        assert module.__file__ is None or Path(module.__file__).is_relative_to(home), module.__file__
