"""The file of a RUN_SWARM task with roles: what `swarm run -f` submits, and what operators read of it again.

A RUN_SWARM body is HPE's form (`wire/taskfile`) or this one, never a mix. Guarantees: what is returned is complete and
within its bounds, its roles fit together (`core/roles`); a file with faults is refused with all of them, each with its
line; what a file says comes back from the ledger unchanged.

    Name: cartpole                  Body:
    TaskType: RUN_SWARM               Code: .
                                      Roles:
                                        - {Name: learner, Command: [python, learn.py], Replicas: 2, Merge: cartpole}
                                        - {Name: collector, Command: [python, collect.py], Needs: [learner],
                                           Replicas: {min: 1, max: 8, start: 2}}
"""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from swarm.core.dataset import is_reference
from swarm.core.fields import CONTRACT
from swarm.core.names import METRIC_MAX
from swarm.core.role_kinds import ORGANISATION, RUN_S_MAX, START_S_MAX
from swarm.core.roles import ORGANISATIONS_MAX, ROLES_MAX, SLOTS_MAX, Role, fault, surplus
from swarm.errors import BadInput
from swarm.wire import channels, documents, tags
from swarm.wire.channels import Channel, RoleName
from swarm.wire.fitting import fit
from swarm.wire.foreach import EachOf
from swarm.wire.jobsfile import CommandWords, JobsName, Resources
from swarm.wire.shapes import CLOSED, Sentence, Text, Value, Variable, Words, fits
from swarm.wire.taskfile import without_secrets

START_S = 120
HPES_KEYS = ("Command", "Entrypoint", "WorkingDir", "PrivateContent", "SharedContent")
"""Of a RUN_SWARM body in HPE's form."""

_Organisation = Annotated[str, Field(strict=True), fits(ORGANISATION)]
_Count = Annotated[int, Field(strict=True, ge=0, le=SLOTS_MAX)]
_Restart = Annotated[int, Field(strict=True, ge=0, le=100)]
_Environment = Annotated[dict[Variable, Value], AfterValidator(without_secrets)]


@dataclass(frozen=True, config=CLOSED)
class Bounds:
    """How many slots there have to be, may be, and are at first; left out: as many as there have to be."""

    min: _Count
    max: Annotated[int, Field(strict=True, ge=1, le=SLOTS_MAX)]
    start: _Count | None = None


def _form(value: Any) -> str:
    return "bounds" if isinstance(value, dict | Bounds) else "number"


_Number = Annotated[int, Field(strict=True, ge=1, le=SLOTS_MAX)]
_Replicas = Annotated[Annotated[_Number, Tag("number")] | Annotated[Bounds, Tag("bounds")], Discriminator(_form)]


@dataclass(frozen=True, config=CLOSED)
class RoleBody:
    Name: RoleName
    Command: CommandWords
    Replicas: _Replicas = 1
    Owner: Literal["swop", "participant"] = "swop"
    """Who runs its slots: operators, or people with data and compute of their own (`swarm join`)."""
    Organisations: Annotated[tuple[_Organisation, ...], Field(max_length=ORGANISATIONS_MAX)] = ()
    """Whose participants may join it, by name or by sha256: and the hash of their CA's key; left out: everybody's."""
    Needs: tuple[RoleName, ...] = ()
    Lead: Annotated[bool, Field(strict=True)] = False
    """The task ends when it is done."""
    Restart: _Restart | None = None
    """How often a slot that failed is tried again; left out: what the body says."""
    Resources: Resources = field(default_factory=Resources)
    Merge: Annotated[str, Field(strict=True), fits(CONTRACT)] | None = None
    """The contract in which its slots merge: each has a learning node beside it."""
    Envvars: _Environment = field(default_factory=dict)

    def role(self, restart: int) -> Role:
        """What the ledger has to know of it."""
        bounds = self.Replicas if isinstance(self.Replicas, Bounds) else Bounds(self.Replicas, self.Replicas)
        return Role(
            name=self.Name,
            owner=self.Owner,
            low=bounds.min,
            high=bounds.max,
            start=bounds.min if bounds.start is None else bounds.start,
            needs=self.Needs,
            lead=self.Lead,
            restart=restart if self.Restart is None else self.Restart,
            cpu=self.Resources.cpu,
            gpu=self.Resources.gpu,
            contract=self.Merge or "",
            organisations=self.Organisations,
        )


@dataclass(frozen=True, config=CLOSED)
class Goal:
    """The task has reached what it is for once a slot logs this metric, and it is at least so much."""

    metric: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=METRIC_MAX)]
    ge: float


@dataclass(frozen=True, config=CLOSED)
class RolesBody:
    Roles: Annotated[tuple[RoleBody, ...], Field(min_length=1, max_length=ROLES_MAX)]
    Description: Words | None = None
    """What the task is for, for people."""
    Channels: Annotated[tuple[Channel, ...], Field(max_length=ROLES_MAX)] = ()
    """Who merges with whom, in place of Merge in each role."""
    ForEach: EachOf | None = None
    """A swarm for each of these values, with contracts and slots of its own: all of them are one sweep
    (`wire/variants`). The ledger holds each swarm with its own value put in."""
    Code: Text | None = None
    """A directory on the operator's host, or a zip of one, in the file also relative to it; each slot begins in a copy
    of it."""
    CodeHash: Annotated[str, StringConstraints(strict=True, pattern="^sha256:[0-9a-f]{64}$")] | None = None
    """Of the code that is meant: put in when the task is submitted, for whoever runs it to hold it against."""
    Envvars: _Environment = field(default_factory=dict)
    Restart: _Restart = 0
    Clean: Literal["running", "all", "none"] = "running"
    """What becomes of slots that still run when the task has ended well: they are ended; they are, and no operator
    keeps anything but logs; they go on until they end by themselves."""
    StopOn: Goal | None = None
    StartWithin: Annotated[int, Field(strict=True, ge=1, le=START_S_MAX)] = START_S
    """So many seconds all minimums may take to run; then the task fails."""

    MaxRunTime: Annotated[int, Field(strict=True, ge=1, le=RUN_S_MAX)] | None = None
    """So many seconds the task may run once its first slot was dealt; then it is ended."""

    @model_validator(mode="after")
    def _fits_together(self) -> RolesBody:
        if wrong := self._wrong_channel():
            raise Sentence(wrong)
        if wrong := fault(self.roles()):
            raise Sentence(wrong)
        if self.CodeHash is not None and self.Code is None:
            raise Sentence("CodeHash is of Code, and there is none")
        if wrong := self._wrong_sweep():
            raise Sentence(wrong)
        return self

    def _wrong_sweep(self) -> str:
        """Why there cannot be a swarm for each value, in one sentence; empty: there can, or nobody asks for it."""
        for tag, listing in (self.ForEach or {}).items():
            if isinstance(listing, str) and is_reference(listing):
                return f"ForEach names the dataset {listing}: not every host of a swarm holds it; list values instead"
            if people := [role.Name for role in self.Roles if role.Owner == "participant"]:
                return f"the role {people[0]} is of participants, who join one swarm: leave ForEach out"
            said = [*self.Envvars.values()]
            for role in self.Roles:
                said += [*role.Command, *role.Envvars.values()]
            if tag not in tags.named(said):
                return f"{tag} stands for something, and no role's Command or Envvars name it"
        return ""

    def roles(self) -> tuple[Role, ...]:
        replace = dataclasses.replace
        return tuple(replace(each, contract=each.contract or self._channel(each.name)) for each in self._own())

    def _own(self) -> tuple[Role, ...]:
        return tuple(role.role(self.Restart) for role in self.Roles)

    def _channel(self, role: str) -> str:
        found, _ = channels.of_role(self.Channels, role)
        return found.Name if found else ""

    def _wrong_channel(self) -> str:
        """What is wrong with the graph of the channels, in one sentence; empty: nothing."""
        if not self.Channels:
            return ""
        for role in self.Roles:
            name = self._channel(role.Name)
            if name and role.Merge not in (None, name):
                return f"the role {role.Name} merges in {role.Merge} and is in the channel {name}"
        return channels.fault(self.Channels, {role.name: role for role in self._own()}) or self._unconnected()

    def _unconnected(self) -> str:
        """Which role nothing leads to: neither a channel nor that one needs the other."""
        edges = [set(channel.Between) for channel in self.Channels]
        edges += [{role.Name, *role.Needs} for role in self.Roles]
        first, reached = self.Roles[0].Name, {self.Roles[0].Name}
        while more := {name for edge in edges if edge & reached for name in edge - reached}:
            reached |= more
        alone = [role.Name for role in self.Roles if role.Name not in reached]
        return f"no channel leads from {first} to {alone[0]}, and neither needs the other" if alone else ""

    def named(self, role: str) -> RoleBody:
        """The role with this name, which there has to be."""
        return next(each for each in self.Roles if each.Name == role)


@dataclass(frozen=True, config=CLOSED)
class Written:
    """What the file says."""

    Name: JobsName
    TaskType: Literal["RUN_SWARM"]
    Body: RolesBody
    Author: Words | None = None
    Prereq: Literal["ROOTTASK"] = "ROOTTASK"
    Outcome: Words | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class RolesFile:
    name: str
    author: str
    body: RolesBody
    warnings: tuple[str, ...] = ()
    outcome: str = ""
    """What people call what comes of it; empty: by the task's own name."""


def is_meant(document: documents.Document) -> bool:
    """Whether the document is of a task with roles, well written or not. Raises BadInput for HPE's form and a mix."""
    if document.value.get("TaskType") != "RUN_SWARM":
        return False
    body = document.value.get("Body")
    hpes = [key for key in HPES_KEYS if isinstance(body, dict) and key in body]
    if isinstance(body, dict) and "Roles" in body and hpes:
        raise BadInput(
            f"{document.name}: Body has Roles and {hpes[0]}: a RUN_SWARM task is of HPE's form or has roles, not both",
            hint="say in each role which Command it runs, or leave Roles out",
        )
    if isinstance(body, dict) and "Roles" in body and "Data" in body:
        raise BadInput(
            f"{document.name}: Body has Roles and Data: datasets are of one organisation, and roles run at all of them",
            hint="name in Command or Envvars where each host has its own; a participant says it with --data",
        )
    if hpes:
        raise BadInput(
            f"{document.name}: this RUN_SWARM task is of HPE's form, which is assigned to a taskrunner",
            hint="run-swci: CREATE TASK FROM FILE, FINALIZE TASK, ASSIGN TASK; or give it Roles",
        )
    return True


def of_document(document: documents.Document) -> RolesFile:
    """The task in it; raises BadInput with all faults."""
    said, warnings = fit(document, Written)
    if wrong := surplus(said.Body.roles()):
        raise BadInput(f"{document.name}: Body: {wrong}")
    return RolesFile(said.Name, said.Author or "", said.Body, warnings, said.Outcome or "")


def parse(data: bytes, name: str) -> RolesFile:
    """The task in a file's bytes; `name` is the file's in messages. Raises BadInput with all faults."""
    return of_document(documents.read(data, name))


def to_wire(body: RolesBody) -> dict[str, Any]:
    """As the ledger holds it, and as a file would say it: without what is as it would be anyway."""
    said: dict[str, Any] = TypeAdapter(RolesBody).dump_python(body, mode="json", exclude_defaults=True)
    return said


def body_of(body: dict[str, Any], name: str) -> RolesBody:
    """The body that the ledger holds for the task `name`; raises BadInput if its author's client did not check it."""
    return fit(documents.given(body, name), RolesBody)[0]


def body_of_run(body: dict[str, Any], name: str, roles: tuple[Role, ...]) -> RolesBody:
    """The same, where it has the ``roles`` by which the ledger deals its slots: what people read is what is run."""
    said = body_of(body, name)
    if said.ForEach is not None:
        raise BadInput(f"task {name} was submitted as one swarm and has ForEach: nobody should run it")
    own = said.roles()
    if len(own) != len(roles) or not all(map(_is_meant_by, roles, own)):
        raise BadInput(f"task {name} was submitted with other roles than its body says: nobody should run it")
    return said


def _is_meant_by(role: Role, said: Role) -> bool:
    """Whether the ledger's role is the one that the body says. The ledger holds organisations by the hashes of their
    keys: of those that the body names there are no more, and none where it names none."""
    if dataclasses.replace(role, organisations=()) != dataclasses.replace(said, organisations=()):
        return False
    hashes = {text for text in said.organisations if text.startswith("sha256:")}
    names, others = set(said.organisations) - hashes, set(role.organisations) - hashes
    return (
        hashes <= set(role.organisations)
        and len(others) <= len(names)
        and bool(role.organisations) == bool(said.organisations)
    )
