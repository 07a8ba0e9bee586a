"""How a training program ends on an error that a person can mend: by its sentence, as the commands do.

Installed by every session (``callbacks/base``). Guarantees: a SwarmError that nobody caught ends the program with
``error: …`` and ``hint: …`` on stderr and the exit code of its class, without a traceback (SWARM_DEBUG=1 shows it);
every other exception ends it as ever, and so does whatever hook the program had installed before.
"""

from __future__ import annotations

import contextlib
import os
import sys
from types import TracebackType

from swarm.errors import SwarmError

_installed = False


def tell_errors_as_sentences() -> None:
    """Once a process: a hook of another that was installed later is not covered again."""
    global _installed
    if _installed:
        return
    _installed = True
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, SwarmError):
            before(kind, error, trace)
            return
        if os.environ.get("SWARM_DEBUG") == "1":
            before(kind, error, trace)
        tell(error)
        if not sys.flags.interactive and not hasattr(sys, "ps1"):  # a console goes on
            sys.exit(error.code)  # Python ends with the code of a SystemExit that its hook raises

    sys.excepthook = hook


def tell(error: SwarmError) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()  # what was said before stands before it, also where both go into one file
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr, flush=True)
