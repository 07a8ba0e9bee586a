"""A private temporary directory that is gone when its process is, whatever ended the process.

Used by `swarm demo|run`, which keep certificates, keys and weights there, and for zips of code. Guarantee: the
directory (0700) is removed on leaving the context; if the process is SIGKILLed, a small watcher, which waits for
nothing but that, removes it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Reads a line from its parent; end of file instead means that the parent is dead. The parent's children die at the same
# moment and may still write for an instant: so it goes over it again for a second.
_WATCHER = """trap '' INT TERM HUP; read -r line && exit 0
for turn in 1 2 3 4 5; do rm -rf -- "$1"; sleep 0.2; done"""


@contextlib.contextmanager
def scratch_directory(prefix: str, below: Path | None = None) -> Iterator[Path]:
    """``below``: where to make it; None: where the system has temporary files."""
    path = (below or Path(tempfile.gettempdir())).absolute() / f"{prefix}{secrets.token_hex(6)}"
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", _WATCHER, "watcher", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    assert watcher.stdin is not None
    try:
        path.mkdir(mode=0o700)  # after the watcher is there
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(BrokenPipeError):
            if not path.exists():
                os.write(watcher.stdin.fileno(), b"done\n")
            watcher.stdin.close()
        watcher.wait()
