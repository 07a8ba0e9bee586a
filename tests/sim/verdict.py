"""What a checker is, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sim.history import Fact


@dataclass(frozen=True, slots=True)
class Violation:
    promise: str
    text: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.text}"


class Check:
    """``sees``: the kinds of facts that it looks at."""

    sees: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.found: list[Violation] = []

    def broken(self, promise: str, text: str) -> None:
        self.found.append(Violation(promise, text))

    def see(self, fact: Fact) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """The history is over."""
