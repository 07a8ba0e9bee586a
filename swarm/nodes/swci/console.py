"""A terminal with a person at it: a line that can be edited, completed, and found again.

Used by the shell when both standard input and output are terminals. Ctrl-C drops the line that is being typed, Ctrl-D
on an empty one ends the session. Guarantees: the history file is readable by its owner only and stays small; however
the wait for a line ends, the terminal is left as it was.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory

HISTORY_MAX = 256 * 1024
_RESTORE_S = 2.0


class Console:
    """``complete``: of the text before the cursor, how much is the word that is being typed, and what it may become."""

    def __init__(self, history: Path, complete: Callable[[str], tuple[int, Iterable[str]]]) -> None:
        _prepare(history)
        self._session: PromptSession[str] = PromptSession(
            history=FileHistory(str(history)), completer=_Completer(complete), complete_while_typing=False
        )

    async def ask(self, prompt: str) -> str | None:
        """The next line; None when the person is done."""
        while True:
            ended = threading.Event()
            try:
                return await trio.to_thread.run_sync(self._read, prompt, ended, abandon_on_cancel=True)  # type: ignore[call-arg]
            except KeyboardInterrupt:
                continue
            except EOFError:
                return None
            finally:
                self._give_up(ended)

    def _read(self, prompt: str, ended: threading.Event) -> str:
        try:
            return self._session.prompt(prompt)
        finally:
            ended.set()

    def _give_up(self, ended: threading.Event) -> None:
        """After a signal: the thread that reads puts the terminal back; the process must not end before."""
        app = self._session.app
        if not ended.is_set() and app.loop is not None:
            app.loop.call_soon_threadsafe(lambda: app.exit(exception=EOFError()) if app.is_running else None)
            ended.wait(_RESTORE_S)


class _Completer(Completer):
    def __init__(self, complete: Callable[[str], tuple[int, Iterable[str]]]) -> None:
        self._complete = complete

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        length, found = self._complete(document.text_before_cursor)
        return (Completion(text, start_position=-length) for text in found)


def _prepare(history: Path) -> None:
    """There, private, and with its newer half only once it has grown."""
    history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(history, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        os.fchmod(descriptor, 0o600)
        kept = file.read()
        if len(kept) > HISTORY_MAX:
            newer = kept[-HISTORY_MAX // 2 :]
            file.seek(0)
            file.truncate()
            file.write(newer[newer.find(b"\n#") + 1 :])
