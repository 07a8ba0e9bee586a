"""What a command interface says: prompts, echoed commands, indented answers; and the same once more as plain data.

Used by the session and the shell. Guarantees: what goes to `out` looks as HPE's SWCI has it (``SWCI:<n> > ``, answers
indented by four); `commands` holds every command with its answer lines and its error, for --json.
"""

from __future__ import annotations

from typing import Any, TextIO

from swarm.errors import SwarmError

INDENT = "    "


class Transcript:
    def __init__(self, out: TextIO) -> None:
        self.commands: list[dict[str, Any]] = []
        self._out = out
        self._marking = False
        self._forgotten = 0

    @property
    def prompt(self) -> str:
        """The number counts the commands so far: neither comments nor blank lines."""
        return f"SWCI:{self._count} > "

    @property
    def _count(self) -> int:
        return self._forgotten + len(self.commands)

    def forget(self) -> None:
        """Drop the commands so far, and go on counting: for sessions that have no end."""
        self._forgotten = self._count
        self.commands.clear()

    def ask(self) -> None:
        """Show the prompt, for a person to type behind it."""
        self._write(self.prompt)

    def echo(self, line: str) -> None:
        """Show a line of a script, as if it was typed."""
        self._write(f"{self.prompt}{line.rstrip()}\n")

    def begin(self, line: str) -> None:
        self.commands.append({"number": self._count, "command": line.strip(), "ok": True, "output": []})

    def say(self, text: str) -> None:
        self._end_of_marks()
        for line in text.splitlines():
            self.commands[-1]["output"].append(line)
            self._write(f"{INDENT}{line}\n")

    def mark(self) -> None:
        """One step of a progress bar."""
        self._write("#" if self._marking else f"{INDENT}#")
        self._marking = True

    def fail(self, error: SwarmError) -> None:
        self.commands[-1] |= {"ok": False, "error": error.to_wire()}
        self.say(f"ERROR : {error.message}")
        if error.hint:
            self.say(f"HINT : {error.hint}")

    def note(self, text: str) -> None:
        """What is no answer to a command."""
        self._end_of_marks()
        self._write(f"{text}\n")

    def _end_of_marks(self) -> None:
        if self._marking:
            self._marking = False
            self._write("\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
