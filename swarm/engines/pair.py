"""What an engine is asked to start for one slot: a learning node and, beside it, the program.

Made by `nodes/pairing` from a profile and a task; taken by every engine. An engine starts it, finds it again after its
operator has been away, and ends it with everything that it has started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from swarm.engines.job import Job
from swarm.engines.paths import Mount


@dataclass(frozen=True, slots=True)
class Program:
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    """What the task and the profile add to the operator's own."""
    working_dir: str
    mounts: tuple[Mount, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    learning_node: tuple[str, ...]
    """The arguments of ``run-sl``, but for its state directory and its program."""
    environment: Mapping[str, str]
    """What the profile adds for the learning node."""
    program: Program


class Worker(Protocol):
    """A learning node with its program, running or ended; perhaps started by an operator before this one."""

    @property
    def pid(self) -> int:
        """Of the learning node."""

    def poll(self) -> bool:
        """Whether it has ended."""

    @property
    def exit_code(self) -> int | None:
        """Once it has ended, as a shell says it (128 + the signal that ended it); None: nobody was there to see."""

    def terminate(self) -> None:
        """Ask it to end; its program is ended first."""

    def kill(self) -> None:
        """End it and whatever it has left running. After its end: only the latter."""


class Engine(Protocol):
    @property
    def name(self) -> str: ...

    def start(self, work: Pair | Job, place: Path) -> Worker:
        """Start it with ``place`` as its directory, for its state and logs; raises SwarmError if that cannot be."""

    def find(self, place: Path) -> Worker | None:
        """What was started there and has not ended."""

    def sweep(self, place: Path) -> None:
        """End what a worker whose learning node has ended left running there."""

    def python(self, environment: Mapping[str, str]) -> str:
        """Which Python a program with these variables runs on."""
