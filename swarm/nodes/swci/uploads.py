"""Task files that come over the web: into the user directory, under a checked name, whole or not at all.

Used by `nodes/swci/webapp`. Guarantees: nothing is written but a file ``NAME.yaml`` or ``.yml`` directly in the user
directory; what was there under that name is replaced in one step, a link is not followed.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from swarm.errors import BadInput, Refused

BYTES_MAX = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,154}\.ya?ml", re.ASCII)


def keep(usr_dir: Path | None, name: str, data: bytes) -> str:
    """Write the file; its name."""
    if usr_dir is None:
        raise Refused("there is no user directory to upload to", hint="start run-swci with --usr-dir DIR")
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name[:80]!r} is no name for a task file: letters, digits, . _ and -, with .yaml or .yml at its end",
            hint="files go directly into the user directory: a name, without any path",
        )
    if len(data) > BYTES_MAX:
        raise BadInput(f"{name} has {len(data)} bytes, expected at most {BYTES_MAX} (1 MiB)")
    target, fresh = usr_dir / name, usr_dir / f".{name}.{secrets.token_hex(6)}"
    try:
        fresh.write_bytes(data)
        os.replace(fresh, target)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise Refused(f"{name} cannot be written in the user directory: {error.strerror}") from error
    return name
