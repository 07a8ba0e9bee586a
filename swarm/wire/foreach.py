"""What the jobs of one task differ by: ``ForEach`` of a task's file, one tag and what it stands for in each job.

Used by `wire/jobsfile`. On paper the tag is given a dataset or a directory (a job for each file in it) or a list of
values; the ledger holds a dataset with the hash of its version, a directory with the names of its files, written once
for all jobs, so that everybody knows which job is about which file.

    ForEach: {"%IN": user.alice.configs}                             as people write it
    ForEach: {"%IN": user.alice.configs@sha256:5f0c…}                as the ledger has it
    ForEach: {"%IN": configs}                                        as people write it
    ForEach: {"%IN": {Directory: /home/a/configs, Files: [1.json]}}  as the ledger has it
    ForEach: {"%LR": [0.1, 0.01]}
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, GetCoreSchemaHandler
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema, core_schema

from swarm.core.task_kinds import JOBS_MAX
from swarm.wire.shapes import CLOSED, Sentence, Text, Value
from swarm.wire.tags import OUT, is_tag

NAMES_BYTES = 48 * 1024
"""Of a task's body, which holds 64 KiB."""


@dataclass(frozen=True, config=CLOSED)
class Files:
    Directory: Text
    """On the operator's host."""
    Files: Annotated[tuple[Text, ...], Field(min_length=1, max_length=JOBS_MAX)]

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(f"{self.Directory}/{name}" for name in self.Files)


Values = tuple[Value, ...]
Listing = str | Values | Files
"""A dataset, or on paper a directory; values; or a directory's files."""


class _Listed:
    """Told apart by what is written, so that a fault in one form is not also said of the others."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        values = Annotated[Values, Field(min_length=1, max_length=JOBS_MAX)]
        forms = {
            "map": handler.generate_schema(Files),
            "list": handler.generate_schema(values),
            "text": core_schema.str_schema(strict=True, min_length=1),
        }
        return core_schema.tagged_union_schema(forms, _form)


def _form(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "list"
    return "map" if isinstance(value, dict | Files) else "text"


def _one(tags: dict[str, Listing]) -> dict[str, Listing]:
    if len(tags) != 1:
        raise Sentence('takes one tag and what it stands for, as {"%IN": configs}')
    return tags


def _tag(text: str) -> str:
    if not is_tag(text) or text == OUT:
        raise Sentence(f'"{text}" is no tag for it: one is a % and at least two capitals, as %IN, and not %OUT')
    return text


Tag = Annotated[str, AfterValidator(_tag)]
EachOf = Annotated[dict[Tag, Annotated[Listing, _Listed()]], AfterValidator(_one)]


def values_of(each: dict[str, Listing] | None) -> tuple[str, ...]:
    """What the tag stands for, job by job; nothing where only the ledger or a host knows, or where there is none."""
    listing = next(iter(each.values())) if each else ()
    if isinstance(listing, Files):
        return listing.places
    return () if isinstance(listing, str) else listing
