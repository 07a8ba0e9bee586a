"""A document held against a dataclass: all its faults at once, each with its line, or the typed value.

Used by `wire/profile` and `wire/taskfile`. The rules are the dataclass's own, checked by pydantic; here they become
sentences. Guarantees: BadInput or a value that keeps every rule; what was written and is not read is in the warnings.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from swarm.wire.documents import Document, Fault, Path, Real, Whole, printable, refuse, sentence

T = TypeVar("T")

_PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_-]*>")
_WRAPPERS = ("slnodedef", "attribute")  # maps of one key, which say nothing to people
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
_A_MAP, _A_LIST = "keys with their values", "a list"
_EXPECTED = {
    "string_type": "text",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "int_type": "a whole number",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "misfit": "{expected}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "list_type": _A_LIST,
    "tuple_type": _A_LIST,
    "dict_type": _A_MAP,
    "dataclass_type": _A_MAP,
}


def fit(document: Document, kind: type[T], *, open_below: str = "") -> tuple[T, tuple[str, ...]]:
    """The typed value and its warnings; uses the document up.

    Unknown keys below the key `open_below` are taken out of it and warned of; everywhere else they are faults.
    """
    adapter = TypeAdapter(kind)
    told = _placeholders(document)
    if open_below:
        told += [
            _without(document, adapter, error)
            for error in _errors(adapter, document)
            if error["type"] in _UNKNOWN and error["loc"][0] == open_below
        ]
    faults = [*document.faults, *(_fault(document, adapter, error) for error in _errors(adapter, document))]
    if faults:
        refuse(document.name, faults)
    told.sort(key=lambda fault: fault.line)
    return adapter.validate_python(document.value), tuple(sentence(document.name, fault) for fault in told)


def _errors(adapter: TypeAdapter[Any], document: Document) -> list[ErrorDetails]:
    try:
        adapter.validate_python(document.value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # pydantic also calls a list too short when what is wrong is inside it
        within = {one["loc"][:length] for one in errors for length in range(len(one["loc"]))}
        return [one for one in errors if one["type"] != "too_short" or one["loc"] not in within]
    return []


def _placeholders(document: Document) -> list[Fault]:
    """What HPE's files hold for their users to replace, and still holds it."""
    return [
        Fault(document.line(path), f"{_spelled(path)} holds the placeholder {hit}: replace it")
        for path, text in _texts(document.value, ())
        for hit in dict.fromkeys(_PLACEHOLDER.findall(text))
    ]


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inner, (*path, key))


def _without(document: Document, adapter: TypeAdapter[Any], error: ErrorDetails) -> Fault:
    fault = _fault(document, adapter, error)
    *above, key = _path(document, error)
    inside: Any = document.value
    for step in above:
        inside = inside[step]
    del inside[key]
    return Fault(fault.line, f"{fault.text}, which is not read", fault.hint)


def _path(document: Document, error: ErrorDetails) -> Path:
    """Where in the document an error is: its location without the steps that only the rules know."""
    path: list[str | int] = []
    inside: Any = document.value
    for step in error["loc"]:
        within = inside if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else ()
        if step in within:
            path.append(step)
            inside = inside[step]
    return (*path, error["loc"][-1]) if error["type"] == "missing" else tuple(path)


def _fault(document: Document, adapter: TypeAdapter[Any], error: ErrorDetails) -> Fault:
    path = _path(document, error)
    line = document.line(path)
    if error["type"] == "missing":
        return Fault(line, f'"{path[-1]}" is missing{_inside(path)}')
    if error["type"] in _UNKNOWN:
        near = _nearest(str(path[-1]), _known(adapter.json_schema(), path[:-1]))
        return Fault(line, f'unknown key "{printable(str(path[-1]))}"{_inside(path)}', near)
    context = error.get("ctx", {})
    if error["type"] == "sentence":
        return Fault(line, f"{_spelled(path)}: {context['text']}" if path else context["text"])
    expected = _EXPECTED.get(error["type"], error["msg"]).format_map(context)
    if error["loc"][-1] == "[key]":
        return Fault(line, f'the key "{printable(str(path[-1]))}"{_inside(path)}, expected {expected}')
    return Fault(line, f"{_spelled(path)} is {_received(error['input'])}, expected {expected}", _hint(error, context))


def _inside(path: Path) -> str:
    spelled = _spelled(path[:-1])
    return f" in {spelled}" if spelled else ""


def _spelled(path: Path) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step not in _WRAPPERS:
            text += f".{step}" if text else step
    return printable(text)


def _received(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, dict | list):
        return ("a map" if isinstance(value, dict) else "a list") if value else "empty"
    if isinstance(value, Whole | Real):
        return f"the number {value.written}"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    return f'"{printable(value, 60)}"' + (f" … ({len(value)} characters)" if len(value) > 60 else "")


def _hint(error: ErrorDetails, context: dict[str, Any]) -> str:
    value = error["input"]
    if error["type"] == "string_type" and isinstance(value, Whole | Real):
        return f'put it in quotes: "{value.written}"'
    if error["type"] == "string_type" and isinstance(value, bool):
        return "put it in quotes"
    if error["type"] == "literal_error" and isinstance(value, str):
        return _nearest(value, re.findall(r"'([^']+)'", context["expected"]))
    return ""


def _nearest(word: str, known: Iterable[str]) -> str:
    """A hint at what was meant, if anything is near, whatever its case."""
    spelled = {one.lower().replace("_", ""): one for one in known}
    near = difflib.get_close_matches(word[:100].lower().replace("_", ""), spelled, n=1)
    return f'did you mean "{spelled[near[0]]}"?' if near else ""


def _known(schema: dict[str, Any], path: Path) -> list[str]:
    """The keys that the map at `path` may have."""
    here = schema
    for step in path:
        here = _inner(schema, here)
        here = here["items"] if isinstance(step, int) else here["properties"][step]
    return list(_inner(schema, here)["properties"])


def _inner(schema: dict[str, Any], here: dict[str, Any]) -> dict[str, Any]:
    """The form of a value that has something inside: behind references, beside "nothing" or a single value."""
    if "$ref" in here:
        return _inner(schema, schema["$defs"][here["$ref"].rpartition("/")[2]])
    for form in [*here.get("anyOf", ()), *here.get("oneOf", ())]:
        inner = _inner(schema, form)
        if "properties" in inner or "items" in inner:
            return inner
    return here
