"""The tags in the command of a job, as %IN and %OUT: each job's own values are put in their place.

Used by `wire/jobsfile` (whether every tag has a value) and `nodes/jobbing` (the values). Guarantees: a value stays one
word of the command whatever is in it; a shell sees it quoted, and what would undo the quotes is refused.

A tag is a % and at least two capitals, digits or _ that begin with a capital: %Y of `date` is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

OUT = "%OUT"
"""Where a job puts what is to stay: every job has one."""
_TAG = re.compile(r"%[A-Z][A-Z0-9_]+(?![A-Za-z0-9_])")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
"""What a shell takes as it is."""
_QUOTES = "'\"`"


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def named(texts: Iterable[str]) -> list[str]:
    """The tags in these texts, each once, in their order."""
    return list(dict.fromkeys(tag for text in texts for tag in _TAG.findall(text)))


def quoted(line: str) -> list[str]:
    """The tags that stand inside quotes of a line for a shell, where its own quotes would end those of a value, or
    behind a backslash."""
    found, quote, at = [], "", 0
    while at < len(line):
        character = line[at]
        if character == "\\" and quote != "'":
            if tag := _TAG.match(line, at + 1):  # what it would take is the first quote of the value
                found.append(tag[0])
            at += 2
            continue
        if not quote and character in _QUOTES:
            quote = character
        elif character == quote:
            quote = ""
        elif quote and (tag := _TAG.match(line, at)):
            found.append(tag[0])
        at += 1
    return found


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with values in place of their tags; what has no value stays as it is."""
    return _TAG.sub(lambda tag: values.get(tag[0], tag[0]), text)


def fill_for_shell(line: str, values: Mapping[str, str]) -> str:
    """The same of a line that a shell reads: each value is one word of it."""
    return fill(line, {tag: _as_word(value) for tag, value in values.items()})


def _as_word(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else "'" + value.replace("'", "'\\''") + "'"
