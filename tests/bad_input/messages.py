"""The golden file `tests/messages.txt`: every message, with its exit code and its hint, one block a case.

A case is a function that does something wrong on a stage and returns what came of it:

    @case("r093 port in use: run-sn's API", process=True)
    def _(stage: Stage) -> Told: ...

`check` compares it with the file; with UPDATE_MESSAGES=1 in the environment the file is written instead:

    UPDATE_MESSAGES=1 pytest tests/test_bad_input.py

What differs from run to run (ports, pids, paths, hashes, times) stands there as <port>, <pid>, …
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.errors import SwarmError

if TYPE_CHECKING:
    from tests.bad_input.stage import Stage

GOLDEN = Path(__file__).parents[1] / "messages.txt"
HEAD = """\
# What people are told when something is wrong: case, exit code, message, hint. Compared by tests/test_bad_input.py;
# UPDATE_MESSAGES=1 pytest tests/test_bad_input.py writes it anew.
"""
UPDATING = os.environ.get("UPDATE_MESSAGES") == "1"

_HEX = "0-9a-f"
_VARIABLE = [
    (rf"(sha256|blake3):[{_HEX}]{{64}}", r"\1:<hash>"),
    (rf"\b[{_HEX}]{{8}}(-[{_HEX}]{{4}}){{3}}-[{_HEX}]{{12}}\b", "<uid>"),
    (r"\b12D3Koo\w+", "<PeerId>"),
    (rf"\bnetwork [{_HEX}]{{16}}", "network <id>"),
    (rf"this node to [{_HEX}]{{16}}", "this node to <id>"),
    (r"<dir>/\d+/", "<dir>/"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
    (r"\b(port:?) \d+", r"\1 <port>"),
    (r"\bprocess \d+", "process <pid>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( UTC|,\d{3})", "<time>"),
    (r"in \d+ tries over \d+ s", "in <n> tries over <s> s"),
    (r"line \d+", "line <n>"),
    (r"\b\d{4,6} bytes was presented", "<n> bytes was presented"),
]


@dataclass(frozen=True)
class Told:
    """What a person got: the exit code, one sentence, and perhaps a hint."""

    code: int
    message: str
    hint: str = ""

    @classmethod
    def by(cls, error: SwarmError) -> Told:
        return cls(error.code, error.message, error.hint)


@dataclass(frozen=True)
class Case:
    name: str
    act: Callable[[Stage], Told]
    process: bool
    slow: bool


CASES: dict[str, Case] = {}


def case(
    name: str, *, process: bool = False, slow: bool = False
) -> Callable[[Callable[[Stage], Told]], Callable[[Stage], Told]]:
    """`process`: real processes are started, so it takes a second or more."""

    def add(act: Callable[[Stage], Told]) -> Callable[[Stage], Told]:
        assert name not in CASES, name
        CASES[name] = Case(name, act, process, slow)
        return act

    return add


def refused(call: Callable[[], object]) -> Told:
    """What the error says that the call raises."""
    try:
        call()
    except SwarmError as error:
        return Told.by(error)
    raise AssertionError("nothing was refused")


def written(told: Told, places: dict[str, str]) -> str:
    """The block of a case, without what differs from run to run."""
    text = f"exit {told.code}\nerror: {told.message}\n" + (f"hint: {told.hint}\n" if told.hint else "")
    for path, name in sorted(places.items(), key=lambda place: -len(place[0])):
        text = text.replace(path, name)
    for pattern, name in _VARIABLE:
        text = re.sub(pattern, name, text)
    return text


def golden() -> dict[str, str]:
    """The blocks of the file, by case."""
    text = GOLDEN.read_text(encoding="utf-8") if GOLDEN.exists() else ""
    blocks = re.split(r"^\[(.+)\]\n", text, flags=re.MULTILINE)[1:]
    return {name: block.rstrip("\n") + "\n" for name, block in zip(blocks[::2], blocks[1::2], strict=True)}


def write_golden(blocks: dict[str, str]) -> None:
    """What was told now, and what the file said of cases that were not played."""
    known = {**golden(), **blocks}
    GOLDEN.write_text(HEAD + "".join(f"\n[{name}]\n{known[name]}" for name in CASES if name in known), encoding="utf-8")
