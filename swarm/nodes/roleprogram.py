"""What a role of a task would run on a participant's host, and whether the participant has said that it may.

Used by `nodes/participant`. Guarantees: the hash that a person trusts covers everything that decides what runs there
(commands, variables, roles, and by its own hash the code), so that none of it can be another one; the program begins in
a copy that holds nothing else of the code; nothing is trusted because of who wrote it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm.core.ledger import Ledger
from swarm.core.task import Task
from swarm.errors import BadInput, Refused
from swarm.nodes.code import copied, must_be
from swarm.nodes.codesource import opened
from swarm.nodes.publishing import prepared
from swarm.wire import rolesfile
from swarm.wire.rolesfile import RoleBody

DATA = "%DATA"
"""In a command: where the participant's own data are."""


def hash_of(body: Mapping[str, Any]) -> str:
    """Names all that a task would run; not where its author had the code."""
    said = {name: value for name, value in body.items() if name != "Code"}
    text = json.dumps(said, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RoleProgram:
    """Of the task `task` by `author`, the role `role`; ``roles``: the names of all of them."""

    task: str
    author: str
    role: RoleBody
    environment: Mapping[str, str]
    roles: tuple[str, ...]
    code: str | None
    digest: str

    @classmethod
    def of(cls, ledger: Ledger, task: Task, role: str) -> RoleProgram:
        body = rolesfile.body_of(task.body, task.name)
        creator = ledger.nodes[task.creator].identity
        author = f"{task.author} ({creator})" if task.author not in ("", creator.name) else str(creator)
        found, names = body.named(role), tuple(each.Name for each in body.Roles)
        environment = {**body.Envvars, **found.Envvars}
        return cls(task.name, author, found, environment, names, body.CodeHash, hash_of(task.body))

    def must_be_trusted(self, trusted: str | None, own: str | None, code: Path | None) -> None:
        """``trusted``: what the person has named; ``own``: the hash of the person's own copy; ``code``: where the code
        lies here. Raises Refused."""
        if self.digest in (trusted, own):
            return
        said = own or trusted
        named = f", not {said}" if said else ""
        shown = f" of the code {self.code}, which lies in {code}," if code else ""
        variables = (f"{name}={value}" for name, value in self.environment.items())
        words = shlex.join((*variables, *self.command(Path(DATA))))
        raise Refused(
            f"task {self.task} by {self.author} would run {words}{shown} here as {self.role.Name}: "
            f"the hash of that is {self.digest}{named}",
            hint=f"look at it, then join with --trust {self.digest}, or with --file and your own copy of the task",
        )

    def command(self, data: Path | None) -> list[str]:
        """With the place of the participant's data put in."""
        return [word.replace(DATA, str(data or "")) for word in self.role.Command]

    def must_have_data(self, data: Path | None) -> None:
        wanted = any(DATA in word for word in self.role.Command)
        if wanted and data is None:
            raise BadInput(
                f"the role {self.role.Name} of task {self.task} trains on data of your own",
                hint="name them with --data",
            )


def lay_out(work: Path, code: Path | None, digest: str | None) -> None:
    """Make the place where the program begins: a copy of the code, beside what an earlier attempt wrote there.

    ``digest``: the hash of what lies in ``code``, where a person may have changed it; None: there is no code. For a
    thread: it takes its time. Raises BadInput when it has another hash by now.
    """
    part = work.with_name(f"{work.name}.part")
    try:
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        if code is None or digest is None:
            return
        shutil.rmtree(part, ignore_errors=True)  # of a start that came to nothing
        copied(code, part)
        must_be(digest, part, code)
        shutil.copytree(part, work, dirs_exist_ok=True)
    except OSError as error:
        raise BadInput(f"the code {code} cannot be copied to {work}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def own_copy(file: Path | None) -> Iterator[tuple[str | None, Path | None]]:
    """The hash of the person's own copy of the task, and the directory with its code; nothing without a file."""
    if file is None:
        yield None, None
        return
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadInput(f"the task {file} cannot be read: {error.strerror}") from None
    body = prepared(rolesfile.parse(data, str(file)).body, file.parent).body
    digest = hash_of(rolesfile.to_wire(body))
    if body.Code is None:
        yield digest, None
        return
    with opened(Path(body.Code)) as directory:
        yield digest, directory
