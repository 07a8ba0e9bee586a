"""How a line becomes a command: tokens, the syntax of each command, and what to say when a line fits none.

Pure; used by the shell with the table of `commands`. Guarantees: words of a command are taken in any case, arguments as
they are written (in quotes where they hold blanks); a line that fits no syntax gets a sentence that names the word at
fault or the nearest command, and the syntax as hint.

A syntax is written as people read it: ``CREATE CONTEXT <name> WITH IP <ip> [port]``. Words in capitals stand for
themselves, ``<x>`` is an argument, ``[x]`` one that may be left out (at the end only), ``<x...>`` the rest of the line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from swarm.errors import BadInput

_TOKEN = re.compile(r'"([^"]*)"|\'([^\']*)\'|(\S+)')
_NEAR = 0.7
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    word: str
    """In capitals; empty for what stood in quotes, which is never a word of a command."""
    end: int


def tokens(line: str) -> list[Token]:
    found = []
    for match in _TOKEN.finditer(line):
        bare = match[3]
        text = next(group for group in match.groups() if group is not None)
        found.append(Token(text, bare.upper() if bare else "", match.end()))
    return found


def is_command(line: str) -> bool:
    """Whether there is anything to do: neither blank nor a comment."""
    return bool(line.strip()) and not line.lstrip().startswith("#")


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a line is not of a syntax: the sentence, and how many words fitted before."""

    reason: str
    fitted: int


@dataclass(frozen=True, slots=True)
class Syntax:
    text: str

    @property
    def parts(self) -> list[str]:
        return self.text.split()

    @property
    def head(self) -> list[str]:
        """The words that a line of this syntax begins with."""
        head = []
        for part in self.parts:
            if part[0] in "<[":
                break
            head.append(part)
        return head

    @property
    def own_words(self) -> int:
        return sum(part[0] not in "<[" for part in self.parts)

    def read(self, line: str) -> dict[str, str] | Misfit:
        """The arguments by name; those that may be left out and are, are missing."""
        given = tokens(line)
        arguments: dict[str, str] = {}
        for at, part in enumerate(self.parts):
            name = part.strip("<>[].").replace("-", "_")
            if at >= len(given):
                if part[0] == "[":
                    return arguments
                return Misfit(f"it ends where {part} is expected", at)
            if part.rstrip(">]").endswith("..."):
                arguments[name] = line[given[at - 1].end + 1 :]
                return arguments
            if part[0] in "<[":
                arguments[name] = given[at].text
            elif given[at].word != part:
                return Misfit(f"it says {given[at].text[:_SHOWN]!r} where {part} is expected", at)
        if len(given) > len(self.parts):
            extra = given[len(self.parts)]
            return Misfit(f"{extra.text[:_SHOWN]!r} is one word too many", len(self.parts))
        return arguments


class HasSyntax(Protocol):
    @property
    def syntax(self) -> Syntax: ...


R = TypeVar("R", bound=HasSyntax)


@dataclass(frozen=True)
class Grammar(Generic[R]):
    """All commands. Of those that a line fits, the one with the most words of its own is meant."""

    rows: Sequence[R]

    def read(self, line: str) -> tuple[R, dict[str, str]]:
        """The command and its arguments; raises BadInput for a line that is none."""
        fitting, meant = [], []
        for row in self.rows:
            arguments = row.syntax.read(line)
            if isinstance(arguments, dict):
                fitting.append((row, arguments))
            elif arguments.fitted >= len(row.syntax.head):
                meant.append((arguments, row))
        if fitting:
            return max(fitting, key=lambda each: each[0].syntax.own_words)
        raise self._misfit(meant) if meant else self.unknown(line)

    def about(self, words: str) -> list[R]:
        """The commands that begin with these words."""
        asked = [token.word for token in tokens(words)]
        return [row for row in self.rows if row.syntax.head[: len(asked)] == asked]

    def _misfit(self, meant: Iterable[tuple[Misfit, R]]) -> BadInput:
        """Of the commands with the longest head that fits: what is wrong with the one that fits furthest."""
        meant = list(meant)
        longest = max(len(row.syntax.head) for _, row in meant)
        meant = [(misfit, row) for misfit, row in meant if len(row.syntax.head) == longest]
        furthest = max((misfit for misfit, _ in meant), key=lambda misfit: misfit.fitted)
        syntaxes = dict.fromkeys(row.syntax.text for _, row in meant)
        command = " ".join(meant[0][1].syntax.head)
        return BadInput(f"{command}: {furthest.reason}", hint=f"syntax: {' | '.join(syntaxes)}")

    def unknown(self, line: str) -> BadInput:
        """That no command begins like this, and which one is nearest."""
        typed = [token.word for token in tokens(line)]
        shown = " ".join(line.split())[:_SHOWN]
        near = max(self.rows, key=lambda row: _likeness(row.syntax, typed))
        if _likeness(near.syntax, typed) >= _NEAR:
            return BadInput(f"there is no command {shown!r}", hint=f"did you mean {near.syntax.text}?")
        return BadInput(f"there is no command {shown!r}", hint="HELP lists the commands")


def _likeness(syntax: Syntax, typed: Sequence[str]) -> float:
    """Of the typed words and a command's own words, place by place; 1 = equal."""
    head = " ".join(syntax.head)
    begun = " ".join(typed[: len(syntax.head)])
    return difflib.SequenceMatcher(None, head, begun).ratio()
