"""A document held against a dataclass: all its faults at once, each with its line, or the typed value.

Used by `wire/profile` and `wire/taskfile`. The rules are the dataclass's own, checked by pydantic; here they become
sentences. Guarantees: BadInput or a value that keeps every rule; what was written and is not read is in the warnings.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from swarm.wire.certnames import printable
from swarm.wire.documents import FAULTS_SHOWN, Document, Fault, Path, Real, Whole, refuse, sentence, texts

T = TypeVar("T")

_PLACEHOLDER = re.compile(r"<[A-Z][A-Za-z0-9]*(?:[_-][A-Za-z0-9]+)*>")
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
        told += _ignored(document, adapter, open_below)
    misfits = _misfits(document, adapter)
    if misfits or document.faults:
        schema = adapter.json_schema() if misfits else {}
        faults = [_fault(misfit, schema) for misfit in misfits[:FAULTS_SHOWN]]
        refuse(document.name, [*document.faults, *faults], len(document.faults) + len(misfits))
    told.sort(key=lambda fault: fault.line)
    return adapter.validate_python(document.value), tuple(sentence(document.name, fault) for fault in told)


@dataclass(frozen=True, slots=True)
class _Misfit:
    """One rule that one place of a document does not keep; pydantic's words for it."""

    line: int
    path: Path
    error: ErrorDetails


def _misfits(document: Document, adapter: TypeAdapter[Any]) -> list[_Misfit]:
    try:
        adapter.validate_python(document.value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    else:
        return []
    # pydantic also calls a list too short when what is wrong is inside it
    holding = {one["loc"][:length] for one in errors for length in range(len(one["loc"]))}
    apt = [one for one in errors if one["type"] != "too_short" or one["loc"] not in holding]
    placed = [(_path(document, one), one) for one in apt]
    return sorted((_Misfit(document.line(path), path, one) for path, one in placed), key=lambda misfit: misfit.line)


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


def _ignored(document: Document, adapter: TypeAdapter[Any], open_below: str) -> list[Fault]:
    """Take the unknown keys below the key `open_below` out of the document, and name them."""
    unknown = [misfit for misfit in _misfits(document, adapter) if misfit.error["type"] in _UNKNOWN]
    unknown = [misfit for misfit in unknown if misfit.path[0] == open_below]
    schema = adapter.json_schema() if unknown else {}
    faults = [_fault(misfit, schema) for misfit in unknown[:FAULTS_SHOWN]]
    for misfit in unknown:
        *above, key = misfit.path
        inside: Any = document.value
        for step in above:
            inside = inside[step]
        del inside[key]
    told = [replace(fault, text=f"{fault.text}, which is not read") for fault in faults]
    rest = len(unknown) - len(told)
    return [*told, Fault(0, f"{rest} more unknown keys below {open_below} are not read")] if rest else told


def _placeholders(document: Document) -> list[Fault]:
    """What HPE's files hold for their users to replace, and still holds it."""
    found: dict[str, list[Path]] = {}
    for path, text in texts(document.value):
        for hit in _PLACEHOLDER.findall(text):
            found.setdefault(hit, []).append(path)
    return [_left(hit, paths, document) for hit, paths in list(found.items())[:FAULTS_SHOWN]]


def _left(placeholder: str, paths: list[Path], document: Document) -> Fault:
    line, *others = dict.fromkeys(document.line(path) for path in paths)
    too = f" (as on line {', '.join(map(str, others[:FAULTS_SHOWN]))})" if others else ""
    return Fault(line, f"{_spelled(paths[0])} holds the placeholder {printable(placeholder)}{too}: replace it")


def _fault(misfit: _Misfit, schema: dict[str, Any]) -> Fault:
    line, path, error = misfit.line, misfit.path, misfit.error
    key = printable(str(path[-1])) if path else ""
    context = error.get("ctx", {})
    if error["type"] == "missing":
        return Fault(line, f'"{key}" is missing{_inside(path)}')
    if error["type"] in _UNKNOWN:
        near = _nearest(str(path[-1]), _known(schema, path[:-1]))
        return Fault(line, f'unknown key "{key}"{_inside(path)}', near)
    if error["type"] == "sentence":
        return Fault(line, f"{_spelled(path)}: {context['text']}" if path else context["text"])
    expected = _EXPECTED.get(error["type"], error["msg"]).format_map(context)
    if error["loc"][-1] == "[key]":
        return Fault(line, f'the key "{key}"{_inside(path)}, expected {expected}')
    where = _spelled(path) or "the document"
    return Fault(line, f"{where} is {_received(error['input'])}, expected {expected}", _hint(error, context))


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
    if isinstance(value, str):
        return f'"{printable(value, 60)}"' + (f" … ({len(value)} characters)" if len(value) > 60 else "")
    if value is None or value in ({}, []):
        return "empty"
    if isinstance(value, dict | list):
        return "a map" if isinstance(value, dict) else f"a list of {len(value)}"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, Whole | Real):
        return f"the number {value.written}"
    return f"the {type(value).__name__} {printable(repr(value), 60)}"


def _hint(error: ErrorDetails, context: dict[str, Any]) -> str:
    kind, value = error["type"], error["input"]
    if kind == "string_type" and isinstance(value, Whole | Real):
        return f'put it in quotes: "{value.written}"'
    if kind == "string_type" and isinstance(value, bool):
        return "put it in quotes"
    if kind in ("list_type", "tuple_type") and isinstance(value, dict):
        return 'begin each of its keys with "- "'
    if kind == "literal_error" and isinstance(value, str):
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
        if isinstance(step, int):
            here = here["items"]
        else:
            here = here.get("properties", {}).get(step) or here["additionalProperties"]
    return list(_inner(schema, here)["properties"])


def _inner(schema: dict[str, Any], here: dict[str, Any]) -> dict[str, Any]:
    """The form of a value that has something inside: behind references, beside "nothing" or a single value."""
    if "$ref" in here:
        return _inner(schema, schema["$defs"][here["$ref"].rpartition("/")[2]])
    for form in [*here.get("anyOf", ()), *here.get("oneOf", ())]:
        inner = _inner(schema, form)
        if any(inside in inner for inside in ("properties", "items", "additionalProperties")):
            return inner
    return here
