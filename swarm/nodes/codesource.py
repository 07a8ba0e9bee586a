"""Where the code of a task comes from on its author's host: a directory, or a zip of one.

Used where a task is submitted, where an operator's slots begin in a copy of it, and where a participant has a copy of
its own. Guarantees: a zip is read as nothing but a zip, and unpacked below a directory that is gone afterwards; nothing
in it leads out of there or is larger than code may be (`nodes/unpacking`); what a role would not find in the code is
said before anything is submitted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from swarm.errors import BadInput
from swarm.nodes.archive import zip_members
from swarm.nodes.code import BYTES_MAX
from swarm.nodes.scratch import scratch_directory
from swarm.nodes.unpacking import Limits, unpack
from swarm.wire.manifest import FILES_MAX, Manifest, folder_of

_PROGRAMS = (".py", ".sh")


@contextlib.contextmanager
def opened(code: Path, below: Path | None = None) -> Iterator[Path]:
    """The directory with the code; of a zip, for as long as the block lasts, and ``below`` this one."""
    if not code.is_file():
        yield code
        return
    if code.suffix != ".zip":
        raise BadInput(f"the code {code} is a file and no .zip", hint="Code names a directory, or a zip of one")
    with scratch_directory("swarm-code-", below) as place:
        unpack(code, place / "code", Limits(BYTES_MAX, FILES_MAX), lambda: None, zip_members)
        yield place / "code"


def must_hold(code: Manifest, role: str, command: Sequence[str], said: str) -> None:
    """Raise BadInput when the role's command names a program that the code, ``said`` in the task, does not hold."""
    there = {file.name for file in code.files}
    for word in command:
        path = word.removeprefix("./")
        if not path.endswith(_PROGRAMS) or path.startswith("/") or path in there:
            continue
        folders = {folder_of(file) for file in code.files}
        outer = next(iter(folders)) if len(folders) == 1 else ""
        if outer and f"{outer}/{path}" in there:
            raise BadInput(
                f"the role {role} runs {path}, and the code {said} is one folder too deep: it holds {outer}/{path}",
                hint=f"Code: {said}/{outer}, or a zip of what is in {outer}",
            )
        raise BadInput(
            f"the role {role} runs {path}, and the code {said} holds no such file",
            hint=f"it holds {', '.join(sorted(there)[:5])}{' …' if len(there) > 5 else ''}",
        )
