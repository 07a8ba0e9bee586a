"""The command of a training program, looked at before anything is started for it.

Used by `swarm run`, `swarm compat` and `nodes/worker`. Guarantee: only what the command itself says is judged; what it
runs is never read.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from swarm.errors import BadInput

_PYTHON = re.compile(r"python[0-9.]*")
_TAKES_A_WORD = ("-W", "-X", "--check-hash-based-pycs")


def must_exist(command: Sequence[str], hint: str, cwd: Path | None = None) -> None:
    """Raise BadInput when there is no such program, or when it is a Python that has no such script to run."""
    if shutil.which(command[0]) is None:
        raise BadInput(f"the program {command[0]!r} was not found", hint=hint)
    script = _script(command)
    if script is not None and not Path(cwd or Path.cwd(), script).exists():
        where = "" if os.path.isabs(script) else f" in {cwd or Path.cwd()}"
        raise BadInput(f"the program {script!r} was not found{where}", hint=hint)


def _script(command: Sequence[str]) -> str | None:
    """The file that a Python is to run; None for a module, for text, for its standard input, and for other programs."""
    if not _PYTHON.fullmatch(os.path.basename(command[0])):
        return None
    words = iter(command[1:])
    for word in words:
        if word == "--":
            return next(words, None)
        if word == "-" or (word[:1] == "-" and word[:2] != "--" and set(word) & set("cm")):
            return None
        if word in _TAKES_A_WORD:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None
