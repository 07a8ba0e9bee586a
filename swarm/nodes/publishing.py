"""The code of a task with roles: checked against what its roles run, and published for those that participants join.

Used where such a task is submitted, and by a participant with a copy of its own. Guarantees: what a role would not find
in the code is said before anything is proposed; what is published is what was hashed; code that nobody but operators
runs is not published: they have it on their hosts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swarm.errors import BadInput
from swarm.nodes.code import manifest_of
from swarm.nodes.codefetch import publish
from swarm.nodes.codesource import must_hold, opened
from swarm.wire.manifest import Manifest, digest_of
from swarm.wire.rolesfile import RolesBody

Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]


@dataclass(frozen=True)
class Publishing:
    """``body``: as it is to be submitted; ``contents``: of the files to publish, by their hash; none: nothing is."""

    body: RolesBody
    code: Manifest | None = None
    contents: tuple[tuple[str, bytes], ...] = ()

    async def publish(self, ask: Ask) -> None:
        if self.code is not None and self.contents:
            await publish(ask, self.contents, self.code)


def prepared(body: RolesBody, base: Path) -> Publishing:
    """``base``: from where the task names its code. Raises BadInput for code that is not what it or a role says."""
    if body.Code is None:
        return Publishing(body)
    place = (base / body.Code).resolve()
    with opened(place) as directory:
        code = manifest_of(directory)
        for role in body.Roles:
            must_hold(code, role.Name, role.Command, body.Code)
        if body.CodeHash not in (None, code.digest):
            raise BadInput(f"the code {place} has the hash {code.digest}, and the task says CodeHash {body.CodeHash}")
        said = replace(body, Code=str(place), CodeHash=code.digest)
        if all(role.Owner == "swop" for role in body.Roles):
            return Publishing(said)
        code.must_be_publishable()
        contents = tuple((each.hash, (directory / each.name).read_bytes()) for each in code.files)
    if changed := [digest for digest, data in contents if digest_of(data) != digest]:
        raise BadInput(f"the code {place} changed while it was read: a file with the hash {changed[0]} is gone")
    return Publishing(said, code, contents)
