"""The file of a task: its name, type and prerequisite, and the body that goes into the ledger as it is.

Read by SWCI (``CREATE TASK FROM``); bodies that the ledger holds are read again by operators (`body_of`). The names are
those of HPE's task files. Guarantees: what is returned is complete and within its bounds; a file with faults is refused
with all of them; every body comes back from its wire form unchanged; no password gets into the ledger.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from swarm.errors import BadInput
from swarm.wire import documents
from swarm.wire.contents import MakeSwarmUserContent
from swarm.wire.fitting import fit
from swarm.wire.secrets import PREFIX, secret_name, tells_a_secret
from swarm.wire.shapes import CLOSED, Environment, MountType, OrNothing, Sentence, Target160, TaskName, Text160, Words

_Volume = Annotated[str, StringConstraints(strict=True, min_length=3, max_length=160)]
_Line = Annotated[str, StringConstraints(strict=True, max_length=160)]
_Source = Annotated[str, StringConstraints(strict=True, min_length=2, max_length=160)]


@dataclass(frozen=True, config=CLOSED)
class Shared:
    Src: _Source
    Tgt: Target160
    MType: MountType


_READABLE = "what a task says stands in the ledger for everybody to read: expected secret:NAME"


def without_secrets(environment: dict[str, str]) -> dict[str, str]:
    """What a task may say of variables, which everybody reads; raises Sentence for a password."""
    for name, value in environment.items():
        if tells_a_secret(name, value):
            raise Sentence(f"{name}: {_READABLE}, which every operator resolves from its own run-swop --secrets FILE")
        _well_named(value)
    return environment


def _well_named(text: str) -> str:
    try:
        secret_name(text)
    except ValueError as error:
        raise Sentence(str(error)) from None
    return text


@dataclass(frozen=True, config=CLOSED)
class RunSwarm:
    """Pairs of a learning node and a worker train together."""

    Command: Text160
    Entrypoint: Text160
    WorkingDir: Target160
    Envvars: Annotated[Environment, AfterValidator(without_secrets)]
    PrivateContent: Target160 | None
    SharedContent: Annotated[tuple[Shared, ...], Field(min_length=1, max_length=10), OrNothing()]


@dataclass(frozen=True, config=CLOSED)
class MakeUserContainer:
    BuildContext: _Volume | None
    BuildType: Literal["INLINE", "REMOTE"]
    BuildSteps: Annotated[tuple[_Line, ...], Field(min_length=1, max_length=80)]


def _no_secret(password: str) -> str:
    if password and not password.startswith(PREFIX):
        raise Sentence(_READABLE)
    return _well_named(password)


@dataclass(frozen=True, config=CLOSED)
class Login:
    Username: Text160
    Password: Annotated[_Line, AfterValidator(_no_secret)]


def _form(value: Any) -> str:
    return "login" if isinstance(value, dict | Login) else "file"


@dataclass(frozen=True, config=CLOSED)
class PullImage:
    OrgAndReg: Text160
    RepoName: Text160
    Tag: Text160
    Auth: Annotated[Annotated[Text160, Tag("file")] | Annotated[Login, Tag("login")], Discriminator(_form)] | None
    """Nothing, the path of a config.json, or a user and a password."""


Body = RunSwarm | MakeUserContainer | PullImage | MakeSwarmUserContent
BODIES: dict[str, type[Body]] = {
    "RUN_SWARM": RunSwarm,
    "MAKE_USER_CONTAINER": MakeUserContainer,
    "PULL_IMAGE": PullImage,
    "MAKE_SWARM_USER_CONTENT": MakeSwarmUserContent,
}

B = TypeVar("B")


@dataclass(frozen=True, config=CLOSED)
class Envelope(Generic[B]):
    """What the file says."""

    Name: TaskName
    TaskType: Literal["RUN_SWARM", "MAKE_USER_CONTAINER", "PULL_IMAGE", "MAKE_SWARM_USER_CONTENT"]
    Author: Words
    Prereq: TaskName
    Outcome: Words
    Body: B

    @model_validator(mode="after")
    def _comes_after_another(self) -> Envelope[B]:
        if self.Prereq == self.Name:
            raise Sentence(f"Prereq is the task itself, {self.Name}: expected another task, or ROOTTASK")
        return self


@dataclasses.dataclass(frozen=True, slots=True)
class TaskFile:
    name: str
    type: str
    author: str
    prereq: str
    outcome: str
    body: Body
    warnings: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """The fields of a TaskCreated."""
        fields = {name: getattr(self, name) for name in ("name", "type", "author", "prereq", "outcome")}
        return {**fields, "body": body_to_wire(self.body)}


def parse(data: bytes, name: str) -> TaskFile:
    """The task in a file's bytes; `name` is the file's in messages. Raises BadInput with all faults."""
    document = documents.read(data, name)
    type_ = document.value.get("TaskType")
    kind = BODIES.get(type_) if isinstance(type_, str) else None
    said, warnings = fit(document, Envelope[kind] if kind else Envelope[dict[str, Any]])  # type: ignore[valid-type]
    return TaskFile(said.Name, said.TaskType, said.Author, said.Prereq, said.Outcome, said.Body, warnings)


def parse_body(type_: str, lines: Sequence[str], name: str) -> tuple[Body, tuple[str, ...]]:
    """The body that was written by hand for the task `name`, and warnings; raises BadInput with all faults."""
    document = documents.read("\n".join(lines).encode(), name)
    return fit(document, BODIES[type_])


def body_to_wire(body: Body) -> dict[str, Any]:
    """As the ledger holds it, and as a file would say it."""
    said: dict[str, Any] = TypeAdapter(type(body)).dump_python(body, mode="json")
    return said


def body_of(type_: str, body: dict[str, Any], name: str = "the task") -> Body:
    """The body that the ledger holds for the task `name`; raises BadInput if its author's SWCI did not check it."""
    if type_ not in BODIES:
        raise BadInput(f"{name} is of the type {type_!r}, expected one of {', '.join(BODIES)}")
    return fit(documents.given(body, name), BODIES[type_])[0]
