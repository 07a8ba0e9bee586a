"""Documents that people write: the text of a YAML file as plain values that know their lines.

Read by `wire/profile` and `wire/taskfile` through `wire/fitting`. Guarantees: whatever the bytes are, in bounded time
and memory either a tree of maps, lists and single values comes out, or one BadInput that names the file and the lines
of all faults. Nothing in a document makes an object, expands an alias, or puts control characters on a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NoReturn

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from swarm.errors import BadInput
from swarm.wire.certnames import printable

BYTES_MAX = 1 << 20
NODES_MAX = 20_000
DEPTH_MAX = 32
FAULTS_SHOWN = 20
_NUMBER_LENGTH_MAX = 40

Path = tuple[str | int, ...]
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_FORBIDDEN_IN_VALUES = re.compile(_FORBIDDEN.pattern[:-1] + "\r]")
_END_OF_LINE = re.compile("\r\n|\r|\n")
_TABBED = re.compile(" *\t")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_YAML = "tag:yaml.org,2002:"
_RESOLVER: Any = Resolver()


class Whole(int):
    """A whole number that remembers how it was written."""

    written: str


class Real(float):
    """A number that remembers how it was written."""

    written: str


@dataclass(frozen=True, slots=True)
class Fault:
    line: int
    """0 = of the document as a whole."""
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """``value`` is made of dict, list, str, bool, None, Whole and Real; keys are texts, as they are written."""

    name: str
    value: dict[str, Any]
    lines: dict[Path, int] = field(default_factory=dict)
    faults: Sequence[Fault] = ()
    """Those that do not keep us from reading on."""

    def line(self, path: Path) -> int:
        """Where the value stands, or the nearest map or list that holds it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


def texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text among the values, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts(inner, (*path, key))


def given(value: dict[str, Any], name: str) -> Document:
    """The document `name` that came as plain values, not as text; without lines, and with no less care."""
    hits = [_FORBIDDEN_IN_VALUES.search(text) for _, text in texts(value)]
    return Document(name, value, faults=[Fault(0, _character(hit[0])) for hit in hits if hit])


def refuse(name: str, faults: Sequence[Fault], count: int | None = None) -> NoReturn:
    """One BadInput for all faults of a document; `count`: how many there are, if not all are given."""
    listed = sorted(faults, key=lambda fault: fault.line)[:FAULTS_SHOWN]
    count = count or len(faults)
    if count == 1:
        raise BadInput(sentence(name, listed[0], hint=False), hint=listed[0].hint)
    lines = [f"{name}: {count} faults", *(f"  {sentence(name, fault)}" for fault in listed)]
    if count > len(listed):
        lines.append(f"  and {count - len(listed)} more")
    raise BadInput("\n".join(lines))


def sentence(name: str, fault: Fault, *, hint: bool = True) -> str:
    place = f"{name}:{fault.line}" if fault.line else name
    return f"{place}: {fault.text}" + (f" ({fault.hint})" if hint and fault.hint else "")


def read(data: bytes, name: str) -> Document:
    """The document in a file's bytes. Faults that let us read on are kept in it, to be told with those of its keys."""
    text = _decode(data, name)
    builder = _Builder(name)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.YAMLError as error:
        _refuse_unparsable(name, text, error, builder.faults)
    except (ValueError, OverflowError):  # pyyaml's own scanner, on an escape beyond Unicode
        refuse(name, [*builder.faults, Fault(0, "is not YAML")])
    if not isinstance(builder.root, dict):
        found = "nothing" if builder.root is None else "a list" if isinstance(builder.root, list) else "one value"
        line = builder.lines.get((), 1)
        refuse(name, [*builder.faults, Fault(line, f"holds {found}, expected keys with their values")])
    return Document(name, builder.root, builder.lines, builder.faults)


def _decode(data: bytes, name: str) -> str:
    if len(data) > BYTES_MAX:
        refuse(name, [Fault(0, f"has {len(data)} bytes, expected at most {BYTES_MAX} (1 MiB)")])
    if data.startswith(_UTF_16) or b"\0" in data[:2]:
        refuse(name, [Fault(0, "is written in UTF-16 or UTF-32, expected UTF-8", "save the file as UTF-8")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _line_of(data[: error.start].decode("latin-1"))
        refuse(name, [Fault(line, f"the byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8")])
    if not text.strip():
        refuse(name, [Fault(0, "is empty")])
    hits = islice(_FORBIDDEN.finditer(text), FAULTS_SHOWN)
    if forbidden := [Fault(_line_of(text[: hit.start()]), _character(hit[0])) for hit in hits]:
        refuse(name, list(dict.fromkeys(forbidden)))
    return text


def _line_of(before: str) -> int:
    return 1 + len(_END_OF_LINE.findall(before))


def _character(character: str) -> str:
    return f"holds the control character U+{ord(character):04X}"


def _refuse_unparsable(name: str, text: str, error: yaml.YAMLError, faults: list[Fault]) -> NoReturn:
    """Say of a text that is no YAML which tabs are why, or else what the parser says."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        refuse(name, [*faults, Fault(0, "is not YAML")])
    line = error.problem_mark.line + 1
    tabbed = [number for number, one in enumerate(_END_OF_LINE.split(text), 1) if _TABBED.match(one)]
    if tabbed and tabbed[0] <= line:
        shown = [Fault(number, "a tab in the indentation", "indent with spaces") for number in tabbed[:FAULTS_SHOWN]]
        refuse(name, [*faults, *shown], len(faults) + len(tabbed))
    problem = printable(error.problem or "")
    if error.context and error.context_mark and error.context_mark.line + 1 != line:
        problem += f", {error.context} that begins on line {error.context_mark.line + 1}"
    refuse(name, [*faults, Fault(line, f"not YAML: {problem}")])


@dataclass(slots=True)
class _Open:
    """A map or list whose end has not come yet."""

    container: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None


class _Builder:
    """From the parser's events to values, one at a time, so that nothing is built beyond the limits."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Any = None
        self.lines: dict[Path, int] = {}
        self.faults: list[Fault] = []
        self._open: list[_Open] = []
        self._nodes = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        assert event.start_mark is not None
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                refuse(self.name, [*self.faults, Fault(line, "a second document begins, expected one a file")])
        elif isinstance(event, yaml.AliasEvent):
            text = f"the alias *{printable(str(event.anchor))}: aliases are not read here"
            self.faults.append(Fault(line, text, "write the value out"))
            self._place(None, line, key=None)
        elif isinstance(event, yaml.ScalarEvent):
            value = self._single(event, line)
            self._place(value, line, key=event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()

    def _begin(self, event: yaml.CollectionStartEvent, line: int) -> None:
        if len(self._open) >= DEPTH_MAX:
            refuse(self.name, [Fault(line, f"holds over {DEPTH_MAX} maps and lists inside each other")])
        self._check_tag(event.tag, line)
        container: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        path = self._place(container, line, key=None)
        self._open.append(_Open(container, path))

    def _place(self, value: Any, line: int, *, key: str | None) -> Path:
        """Put a value where it belongs; it is a key if a map waits for one."""
        self._nodes += 1
        if self._nodes > NODES_MAX:
            refuse(self.name, [Fault(line, f"holds over {NODES_MAX} values")])
        if not self._open:
            self.root = value
            self.lines[()] = line
            return ()
        inside = self._open[-1]
        if isinstance(inside.container, list):
            path: Path = (*inside.path, len(inside.container))
            inside.container.append(value)
            self.lines[path] = line
        elif inside.key is None:
            path = self._key(inside, line, key)
        else:
            path = (*inside.path, inside.key)
            inside.container[inside.key] = value
            inside.key = None
        return path

    def _key(self, inside: _Open, line: int, key: str | None) -> Path:
        if key is None:
            refuse(self.name, [*self.faults, Fault(line, "a key that is a map, a list or an alias, expected a text")])
        if key == "<<":
            self.faults.append(Fault(line, "the key <<: maps are not merged here", "write its keys out"))
        assert isinstance(inside.container, dict)
        path = (*inside.path, key)
        if key in inside.container:
            fault = f'the key "{printable(key)}" stands twice, first on line {self.lines[path]}'
            self.faults.append(Fault(line, fault))
        self.lines.setdefault(path, line)
        inside.key = key
        return path

    def _single(self, event: yaml.ScalarEvent, line: int) -> Any:
        self._check_tag(event.tag, line)
        hit = _FORBIDDEN_IN_VALUES.search(event.value)
        if hit:
            self.faults.append(Fault(line, _character(hit[0])))
        plain = event.implicit[0] and event.tag is None
        return _resolved(event.value) if plain and len(event.value) <= _NUMBER_LENGTH_MAX else event.value

    def _check_tag(self, tag: str | None, line: int) -> None:
        if tag not in (None, _YAML + "str"):
            short = printable(str(tag).replace(_YAML, "!!"))
            self.faults.append(Fault(line, f"the tag {short}: tags are not read here", "write the plain value"))


def _resolved(text: str) -> Any:
    """A plain word as YAML 1.1 takes it, but for dates, which nobody means."""
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False)).removeprefix(_YAML)
    node = yaml.ScalarNode(_YAML + tag, text)
    if tag == "null":
        return None
    if tag == "bool":
        return SafeConstructor.bool_values[text.lower()]
    try:
        if tag == "int":
            number: Whole | Real = Whole(SafeConstructor().construct_yaml_int(node))
        elif tag == "float":
            number = Real(SafeConstructor().construct_yaml_float(node))
        else:
            return text
    except ValueError:
        return text
    number.written = text
    return number
