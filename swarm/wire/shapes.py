"""The shapes of single values in documents: texts, ports, paths, and lists of pairs that are maps in our hands.

Used by the dataclasses of `wire/profile` and `wire/taskfile`, which `wire/fitting` holds documents against. Guarantees:
what a person may write in several ways (numbers and booleans as environment, labels as list or map) comes out in one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from swarm.core.fields import Field as Expectation
from swarm.core.task_kinds import TASK_NAME, TEXT
from swarm.wire.documents import Real, Whole

CLOSED = ConfigDict(extra="forbid")
"""For every dataclass of a document: a key that is not a field is unknown."""

_VARIABLE = re.compile(r"[^\s=]+")


class Sentence(PydanticCustomError):
    """A fault that says itself; where it is comes before it."""

    def __new__(cls, text: str) -> Sentence:
        return super().__new__(cls, "sentence", "{text}", {"text": text})


def misfit(expected: str) -> PydanticCustomError:
    return PydanticCustomError("misfit", "{expected}", {"expected": expected})


def fits(expectation: Expectation) -> AfterValidator:
    """As the ledger checks it: what a document may say and what an entry may say is one rule."""

    def check(text: str) -> str:
        if not expectation.fits(text):
            raise misfit(expectation.expected)
        return text

    return AfterValidator(check)


def _absolute(text: str) -> str:
    if not text.startswith("/") or ".." in text.split("/"):
        raise misfit("an absolute path without '..'")
    return text


TaskName = Annotated[str, Field(strict=True), fits(TASK_NAME)]
"""Of a task, a taskrunner."""
Words = Annotated[str, Field(strict=True), fits(TEXT)]
"""Printable, 1 to 160 characters."""
Text = Annotated[str, Field(strict=True)]
Text160 = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=160)]
Text240 = Annotated[str, StringConstraints(strict=True, min_length=2, max_length=240)]
Host = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=253)]
Target160 = Annotated[str, StringConstraints(strict=True, min_length=2, max_length=160), AfterValidator(_absolute)]
Target240 = Annotated[str, StringConstraints(strict=True, min_length=2, max_length=240), AfterValidator(_absolute)]
"""Where something is inside a worker."""
Port = Annotated[int, Field(strict=True, ge=0, le=65535)]
MountType = Literal["BIND", "VOLUME"]


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name) or not name.isprintable():
        raise misfit("the name of a variable, without blanks and '='")
    return name


def _as_environment(value: Any) -> Any:
    """What a program reads in its environment: numbers as they are written, booleans and nothing as HPE gives them."""
    if value is None:
        return ""
    if isinstance(value, Whole | Real):
        return value.written
    return str(value) if isinstance(value, bool | int | float) else value


class Pairs:
    """On paper nothing, or a list of maps, commonly of one pair each; in our hands one map."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        listed = core_schema.nullable_schema(core_schema.list_schema(handler(source)))
        written = core_schema.plain_serializer_function_ser_schema(_apart)
        return core_schema.no_info_after_validator_function(_merged, listed, serialization=written)


def _merged(maps: Sequence[dict[str, Any]] | None) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for one in maps or ():
        for key, value in one.items():
            if key in merged:
                raise Sentence(f"{key} stands twice")
            merged[key] = value
    return merged


def _apart(merged: dict[str, Any]) -> list[dict[str, Any]] | None:
    return [{key: value} for key, value in merged.items()] or None


class OrNothing:
    """On paper nothing, or a list; in our hands a tuple."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.wrap_serializer_function_ser_schema(lambda value, inner: inner(value) or None)
        either = core_schema.nullable_schema(handler(source))
        return core_schema.no_info_after_validator_function(lambda value: value or (), either, serialization=written)


class Under:
    """On paper a map with this one key; in our hands what it holds."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {self.key: core_schema.typed_dict_field(handler(source))}
        wrapper = core_schema.typed_dict_schema(fields, extra_behavior="forbid")
        return core_schema.no_info_after_validator_function(itemgetter(self.key), wrapper)


class Labelled:
    """On paper nothing, a map, or a list of names; in our hands a map, of names without text when it was a list."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        names = core_schema.list_schema(core_schema.str_schema(strict=True))
        forms = {
            "map": handler(source),
            "list": core_schema.no_info_after_validator_function(lambda listed: dict.fromkeys(listed, ""), names),
        }
        form: Callable[[Any], str] = lambda value: "list" if isinstance(value, list) else "map"  # noqa: E731
        either = core_schema.nullable_schema(core_schema.tagged_union_schema(forms, form))
        return core_schema.no_info_after_validator_function(lambda value: value or {}, either)


Variable = Annotated[str, AfterValidator(_variable)]
Value = Annotated[str, BeforeValidator(_as_environment), Field(strict=True)]
Environment = Annotated[dict[Variable, Value], Pairs()]
Labels = Annotated[dict[str, Value], Labelled()]
EngineOptions = Annotated[dict[str, Any], Pairs()]
"""Handed to a container engine as they are."""
