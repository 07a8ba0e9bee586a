"""The file of a RUN_JOBS task: what `swarm run -f` submits, and what operators read of it again from the ledger.

Its keys are our own (no other system has this form); they are closed like those of `wire/taskfile`. Guarantees: what is
returned is complete and within its bounds; a file with faults is refused with all of them, each with its line; what a
file says comes back from the ledger unchanged.

    Name: digits                    Body:
    TaskType: RUN_JOBS                Command: [python, train.py]     or Exec: "one line", with Shell: true for a shell
    Author: alice    (may be left out)  Envvars: {EPOCHS: 10}
                                      Data: {"%DATA": user.alice.mnist}     or a path: what is put for %DATA
                                      ForEach: {"%IN": configs}     one job for each file (`wire/foreach`)
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from swarm.core.dataset import is_reference, reference
from swarm.core.datasets import USED_MAX
from swarm.core.task_kinds import ARTIFACT_NAME, JOBS_MAX, ROOM_MAX
from swarm.core.terms import Terms
from swarm.errors import BadInput
from swarm.wire import documents, tags
from swarm.wire.fitting import fit
from swarm.wire.foreach import EachOf, Tag, values_of
from swarm.wire.shapes import CLOSED, Sentence, TaskName, Text, Value, Variable, Words, fits
from swarm.wire.taskfile import without_secrets

LONGEST_S = 30 * 24 * 3600
_FOR_A_SHELL = re.compile(r"(?<!\S)(?:&&?|\|\|?|[0-9]?>>?|<)(?=\s)|;(?=\s)")
_QUOTED = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
_QUOTES = "'\""
_LEFT_OPEN = re.compile(r"""['"]|\\\Z""")
"""Of what `_QUOTED` leaves: all that is closed, or has its backslash, is gone."""
_NO_PROGRAM = re.compile(r"""(?:''|"")*(?:\s|$)""")
_Word = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=4000)]


@dataclass(frozen=True, config=CLOSED)
class Resources:
    cpu: Annotated[int, Field(strict=True, ge=0, le=ROOM_MAX)] = 1
    gpu: Annotated[int, Field(strict=True, ge=0, le=ROOM_MAX)] = 0

    @model_validator(mode="after")
    def _needs_something(self) -> Resources:
        if not self.cpu + self.gpu:
            raise Sentence("a job needs a cpu or a gpu: of what needs nothing an operator would start any number")
        return self


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or not words[0].strip():
        raise Sentence("names no program")
    return words


def _data(text: str) -> str:
    if is_reference(text):
        try:
            reference(text)
        except BadInput as error:
            raise Sentence(error.message) from None
    return text


CommandWords = Annotated[tuple[Annotated[Value, Field(max_length=4000)], ...], AfterValidator(_command)]
"""A program and its arguments."""


@dataclass(frozen=True, config=CLOSED)
class RunJobs:
    """One program, once or several times."""

    Description: Words | None = None
    """What the task is for, for people."""
    Command: CommandWords | None = None
    Exec: _Word | None = None
    """In place of Command: one line, split as a shell does, and with ``Shell`` given to one."""
    Shell: Annotated[bool, Field(strict=True)] = False
    Code: Text | None = None
    """A directory on the operator's host, in the file also relative to it; each job begins in a copy of it."""
    CodeHash: Annotated[str, StringConstraints(strict=True, pattern="^sha256:[0-9a-f]{64}$")] | None = None
    """Of the code that is meant (`nodes/code`): put in when the task is submitted, for operators to hold it against."""
    Envvars: Annotated[dict[Variable, Value], AfterValidator(without_secrets)] = field(default_factory=dict)
    Data: Annotated[dict[Tag, Annotated[Text, AfterValidator(_data)]], Field(max_length=USED_MAX)] = field(
        default_factory=dict
    )
    """What tags of the command and of Envvars stand for in every job: a dataset (`core/dataset`), or a path, of a file
    or directory on the operator's host."""
    ForEach: EachOf | None = None
    """What each job is about, in place of Replicas."""
    Output: Annotated[Text, fits(ARTIFACT_NAME)] | None = None
    """The artifact that it makes (`core/artifacts`): what each job puts out is a version of it."""
    Replicas: Annotated[int, Field(strict=True, ge=1, le=JOBS_MAX)] = 1
    Rendezvous: Annotated[bool, Field(strict=True)] = False
    """The replicas are the ranks of one program: all run at once or none, on one host."""
    Probe: Annotated[int, Field(strict=True, ge=0, le=JOBS_MAX)] = 0
    """So many of the jobs, the first (with ForEach: or all), have to succeed before any other starts."""
    Restart: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    Resources: Resources = field(default_factory=Resources)
    MaxRunTime: Annotated[int, Field(strict=True, ge=1, le=LONGEST_S)] | None = None
    """Of one attempt of one job, in seconds."""

    @model_validator(mode="after")
    def _says_what_to_run(self) -> RunJobs:
        if (self.Command is None) == (self.Exec is None):
            raise Sentence("needs either Command (a list) or Exec (one line)")
        if self.Shell and self.Exec is None:
            raise Sentence("Shell is for Exec: Command goes to no shell")
        if self.CodeHash is not None and self.Code is None:
            raise Sentence("CodeHash is of Code, and there is none")
        if (self.Probe > self.Replicas and self.ForEach is None) or (self.Probe and self.Rendezvous):
            raise Sentence("Probe is a number of testers: no more than Replicas, and none with Rendezvous")
        if self.ForEach is not None and (self.Replicas > 1 or self.Rendezvous):
            raise Sentence("ForEach makes a job for each of its values: leave Replicas and Rendezvous out")
        return self

    @model_validator(mode="after")
    def _has_a_value_for_each_tag(self) -> RunJobs:
        given = (*self.Data, *(self.ForEach or ()))
        words = self.Command or (self.Exec or "",)
        named = tags.named(words)
        for tag in given:
            if tag not in (*named, *tags.named(self.Envvars.values())):
                raise Sentence(f"{tag} stands for something, and the command does not name it")
        if len(set(given)) < len(given):
            raise Sentence(f"{given[-1]} stands both in Data and in ForEach")
        if given and (foreign := [tag for tag in named if tag not in (*given, tags.OUT)]):
            raise Sentence(f"{foreign[0]} has no value: the command may name {', '.join((*given, tags.OUT))}")
        inside = [tag for tag in tags.quoted(words[0]) if tag in (*given, tags.OUT)] if self.Shell else []
        if inside:
            raise Sentence(f"{inside[0]} stands inside quotes: leave them out, a value is quoted where it is put in")
        return self

    @property
    def datasets(self) -> dict[str, str]:
        """By tag, those that it names in Data and in ForEach."""
        said = {**self.Data, **(self.ForEach or {})}
        return {tag: text for tag, text in said.items() if isinstance(text, str) and is_reference(text)}

    def terms(self, files: int = 0) -> Terms:
        """What the ledger has to know of them; ``files``: how many a dataset holds that ForEach names."""
        slots = files or len(values_of(self.ForEach)) or self.Replicas
        return Terms(
            slots=slots,
            gang=self.Rendezvous,
            probe=min(self.Probe, slots),
            restart=self.Restart,
            cpu=self.Resources.cpu,
            gpu=self.Resources.gpu,
        )


def _no_id(name: str) -> str:
    if name.isdecimal():
        raise Sentence("is made of digits alone, as ids are: a task is asked for by either")
    return name


JobsName = Annotated[TaskName, AfterValidator(_no_id)]
"""Of a task that has an id, too."""


@dataclass(frozen=True, config=CLOSED)
class Written:
    """What the file says."""

    Name: JobsName
    TaskType: Literal["RUN_JOBS"]
    Body: RunJobs
    Author: Words | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class JobsFile:
    name: str
    author: str
    body: RunJobs
    warnings: tuple[str, ...] = ()


def parse(data: bytes, name: str) -> JobsFile:
    """The task in a file's bytes; `name` is the file's in messages. Raises BadInput with all faults."""
    return of_document(documents.read(data, name))


def made(said: dict[str, Any], name: str) -> JobsFile:
    """The same of a task that was not written by hand: ``name`` is what made it."""
    return of_document(documents.given(said, name))


def of_document(document: documents.Document) -> JobsFile:
    """The task in it; raises BadInput with all faults."""
    said, warnings = fit(document, Written)
    if said.Body.Exec is not None and not said.Body.Shell:
        _must_be_words(said.Body.Exec, document.name)
    return JobsFile(said.Name, said.Author or "", said.Body, warnings)


def _must_be_words(line: str, name: str) -> None:
    """Refuse an Exec that is not a program and its arguments: with a shell that would be its own matter."""
    bare = _QUOTED.sub("_", line)
    if left := _LEFT_OPEN.search(bare):
        lacks = "its end" if left[0] in _QUOTES else "a character behind it"
        raise BadInput(
            f"{name}: Exec has {left[0]} without {lacks}: expected words as a shell would split them, received "
            f"{line!r:.200}",
            hint="close it, put a backslash before what is meant as it is, or give Command, a list of words",
        )
    if _NO_PROGRAM.match(line.lstrip()):
        raise BadInput(
            f"{name}: Exec names no program: expected one and its arguments, received {line!r:.200}",
            hint="Exec: python train.py",
        )
    if found := _FOR_A_SHELL.search(bare):
        raise BadInput(
            f"{name}: Exec has {found[0]}, which only a shell understands: {line!r}",
            hint="Shell: true (swarm sweep --shell) gives it to /bin/sh",
        )


def to_wire(body: RunJobs) -> dict[str, Any]:
    """As the ledger holds it, and as a file would say it: without what is as it would be anyway."""
    said: dict[str, Any] = TypeAdapter(RunJobs).dump_python(body, mode="json", exclude_defaults=True)
    return said


def body_of(body: dict[str, Any], name: str) -> RunJobs:
    """The body that the ledger holds for the task `name`; raises BadInput if its author's client did not check it."""
    return fit(documents.given(body, name), RunJobs)[0]
