"""The profile of an operator (SWOP): which taskrunner it listens on, and the learning nodes that it starts.

Read by ``run-swop``. The names are those of HPE's profiles. Guarantees: what `parse` returns is complete and within its
bounds; a file with faults is refused with all of them; keys that nobody knows are errors where HPE's schema is closed,
warnings below ``nodes``, as is a placeholder that was not replaced.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from swarm.core.task_kinds import ROOM_MAX
from swarm.wire import documents
from swarm.wire.fitting import fit
from swarm.wire.shapes import (
    CLOSED,
    EngineOptions,
    Environment,
    Host,
    Labels,
    MountType,
    OrNothing,
    Port,
    Sentence,
    Target240,
    TaskName,
    Text,
    Text240,
    Under,
    Words,
)

_OPEN_BELOW = "nodes"


@dataclass(frozen=True, config=CLOSED)
class AccessInfo:
    accesstype: Literal["FROMENV"]


@dataclass(frozen=True, config=CLOSED)
class ResourceManager:
    """``DOCKER`` is HPE's; ``PROCESS`` needs nothing to be reached."""

    mgrtype: Literal["DOCKER", "PROCESS"]
    accessinfo: AccessInfo | None = None

    @model_validator(mode="after")
    def _docker_is_reached_somehow(self) -> ResourceManager:
        if self.mgrtype == "DOCKER" and self.accessinfo is None:
            raise Sentence('"accessinfo" is missing: DOCKER is reached by "accesstype: FROMENV"')
        return self


@dataclass(frozen=True, config=CLOSED)
class LicenceServer:
    """Read, and never asked for anything."""

    host: Text
    port: Port | None = None


@dataclass(frozen=True, config=CLOSED)
class ApiServer:
    """A network node; where nothing is said, the flags of ``run-swop`` count."""

    host: Host | None
    service: Host | None
    port: Port | None = None


@dataclass(frozen=True, config=CLOSED)
class Attribute:
    """One piece of a learning node's identity: ``src`` of the host, seen at ``tgt`` (and ``subPath`` below it)."""

    aType: Literal["KEY", "CERT", "CACERT", "CAPATH", "SPIFFE_SOCKETPATH"]
    mType: MountType
    src: Text240
    tgt: Target240
    subPath: Text240 | None = None


@dataclass(frozen=True, config=CLOSED)
class PrivateData:
    """A node's own data; where the worker sees them is the task's ``PrivateContent``."""

    src: Text240
    mType: MountType


def _each_once(attributes: tuple[Attribute, ...]) -> tuple[Attribute, ...]:
    kinds = [attribute.aType for attribute in attributes]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise Sentence(f"{kind} stands twice")
    return attributes


@dataclass(frozen=True, config=CLOSED)
class SlNode:
    """A learning node with its worker."""

    idx: Annotated[int, Field(strict=True, ge=0)]
    identity: Annotated[tuple[Annotated[Attribute, Under("attribute")], ...], AfterValidator(_each_once)]
    slhostname: Text240 | None
    privatedata: PrivateData | None
    slenvvars: Environment
    usrhostname: Text240 | None
    usrenvvars: Environment
    slhostip: Text240 | None = None
    slport: Port | None = None
    slfsservice: Annotated[Host, Field(min_length=2)] | None = None
    sllabels: Labels = dataclasses.field(default_factory=dict)
    usrlabels: Labels = dataclasses.field(default_factory=dict)
    slnetworkopts: EngineOptions = dataclasses.field(default_factory=dict)
    usrnetworkopts: EngineOptions = dataclasses.field(default_factory=dict)
    usrcontaineropts: EngineOptions = dataclasses.field(default_factory=dict)

    def attribute(self, kind: str) -> Attribute | None:
        return next((attribute for attribute in self.identity if attribute.aType == kind), None)


def _told_apart(nodes: tuple[SlNode, ...]) -> tuple[SlNode, ...]:
    indices = [node.idx for node in nodes]
    for index in indices:
        if indices.count(index) > 1:
            raise Sentence(f"idx {index} stands twice")
    return nodes


@dataclass(frozen=True, config=CLOSED)
class Capacity:
    """Our own: the room of this host for jobs. An operator whose profile has none takes none."""

    cpu: Annotated[int, Field(strict=True, ge=0, le=ROOM_MAX)]
    gpu: Annotated[int, Field(strict=True, ge=0, le=ROOM_MAX)] = 0


@dataclass(frozen=True, config=CLOSED)
class Written:
    """What the file says."""

    groupname: Words
    taskrunner: TaskName
    policyuri: Text | None
    resourcemgr: ResourceManager
    network: Text
    apls: Annotated[LicenceServer, Under("locator")]
    apisrv: Annotated[ApiServer, Under("locator")]
    envvars: Environment
    nodes: Annotated[
        tuple[Annotated[SlNode, Under("slnodedef")], ...],
        Field(min_length=1, max_length=1000),
        AfterValidator(_told_apart),
    ]
    dns: Annotated[tuple[Host, ...], OrNothing()] = ()
    capacity: Capacity | None = None


@dataclasses.dataclass(frozen=True)
class Profile(Written):
    warnings: tuple[str, ...] = ()


def parse(data: bytes, name: str) -> Profile:
    """The profile in a file's bytes; `name` is the file's in messages. Raises BadInput with all faults."""
    written, warnings = fit(documents.read(data, name), Written, open_below=_OPEN_BELOW)
    return Profile(**vars(written), warnings=warnings)
